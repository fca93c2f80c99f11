"""`check`: compares a `KernelPipeline` on this GPU with numpy on a few simulated frames, before any stream.

A pipeline whose results differ is refused, and frames are prepared on the host. The network's answers are taken as they
are; only what is done before and after the network is compared.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.device import FrameStats
from deepbid_rt.denoising.network_inputs import network_inputs, pad
from deepbid_rt.errors import EngineError
from deepbid_rt.frame import Motion, StreamInfo
from deepbid_rt.motion.history import MotionCompensatedHistory, mean_views
from deepbid_rt.motion.pyramid import smooth
from deepbid_rt.runtimes.gpu.kernel_pipeline import KernelPipeline
from deepbid_rt.scan.directions import merge_scan, to_image_order, view_line_counts
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer
from deepbid_rt.scan.splitter import ScanSplitter

log = logging.getLogger(__name__)

FRAMES = 6
"""Frames that are compared."""
TOLERANCE = 0.02
"""Largest difference of inputs of the network that count as equal, standard deviations of the noise."""
_NORMALIZER = Normalizer(100.0, 10.0)
_MOST_PX = 3
"""Room around the simulated frames, pixels: more than they move."""
_LINE_OFFSET_PX = 0.4
"""A fraction of a pixel, so that backward lines are interpolated."""


class KernelDifference(NamedTuple):
    """Largest differences of kernels and numpy over all frames."""

    shift_px: float
    """Of the shifts of frames and strips, pixels; infinite where the status of a frame differs."""
    inputs: float
    """Share of the network's inputs that differ by more than `TOLERANCE`."""
    pixels: float
    """Share of the pixels that differ by more than one count."""
    mean_bias: float
    """Of the mean bias, network units."""


LIMITS = KernelDifference(shift_px=0.02, inputs=0.02, pixels=0.02, mean_bias=0.01)
"""Larger differences refuse the kernels. Some difference is normal: a line whose shift is next to a rounding limit can
enter the temporal averages one pixel away."""


def check(pipeline: KernelPipeline) -> None:
    """Raise `EngineError` when the results of a pipeline differ from numpy's.

    Raises
    ------
    EngineError
        When they differ by more than `LIMITS`.
    StageError
        When the GPU fails.
    """
    found = compare_with_numpy(pipeline)
    wrong = [f"{name} by {got:.2g}" for name, got, most in zip(found._fields, found, LIMITS, strict=True) if got > most]
    if wrong:
        raise EngineError(
            f"kernels whose results on this GPU differ from numpy's ({', '.join(wrong)})",
            expected="the same results for a few simulated frames",
            todo="report this with the GPU and the driver's version; until then the host prepares frames",
        )
    log.info("kernels and numpy agree: %s", ", ".join(f"{n} {v:.1g}" for n, v in found._asdict().items()))


def compare_with_numpy(pipeline: KernelPipeline) -> KernelDifference:
    """Send simulated frames through a pipeline and through numpy; the pipeline is reset before and after.

    Raises
    ------
    StageError
        When the GPU fails.
    """
    info, card = pipeline.info, pipeline.card
    views, channels = ScanSplitter(info, pipeline.merge), info.shape[0]
    line_offset = LineOffset(info.scan, info.shape[2], _LINE_OFFSET_PX) if info.scan.bidirectional else None
    pipeline.set_line_offset(line_offset)
    pipeline.set_scale([_NORMALIZER] * channels)
    pipeline.reset()
    history = MotionCompensatedHistory(card.memories, channels, views.size)
    worst = np.zeros(len(LIMITS))
    for pixels in simulated_frames(info):
        image, stats = pipeline.push(pixels)
        units = _NORMALIZER.apply(views.split(pixels, line_offset))
        motion, averages = history.push(units)
        inputs = pipeline.inputs()
        inputs = inputs.reshape(channels, -1, *inputs.shape[1:])
        expected = [_inputs(*pair, inputs.shape[1], card.grid) for pair in zip(units, averages, strict=True)]
        unequal = ~(np.abs(inputs - expected) <= TOLERANCE)
        outputs = _compare_outputs(pipeline, views, units, image, stats)
        worst = np.maximum(worst, [_compare_motion(stats.motion, motion), unequal.mean(), *outputs])
    pipeline.set_line_offset(None)
    pipeline.reset()
    return KernelDifference(*worst.tolist())


def simulated_frames(info: StreamInfo) -> Iterator[NDArray[Any]]:
    """Yield frames as scanned: a texture with noise that moves as a whole and line by line."""
    rng = np.random.default_rng(0)
    channels, lines, pixels = info.shape
    forward, backward = view_line_counts(lines, info.scan)
    rows = lines if info.scan.layout == "ordinary" else max(forward, backward)
    texture = rng.normal(0, 1, (rows + 2 * _MOST_PX, pixels + 6 * _MOST_PX)).astype(np.float32)
    for _ in range(4):
        texture = smooth(texture)
    texture *= np.float32(30 / texture.std())
    y = np.arange(rows)
    for number in range(FRAMES):
        dy, dx = (number % 3, -(number % 2)) if number else (0, 0)
        wave = np.rint(2 * np.sin(2 * np.pi * y / rows + number)).astype(int)
        columns = 3 * _MOST_PX + dx + wave[:, None] + np.arange(pixels)
        image = 100 + texture[(_MOST_PX - dy + y)[:, None], columns] + rng.normal(0, 10, (channels, rows, pixels))
        if info.scan.layout == "ordinary":
            raw = to_image_order(image, info.scan)  # its own inverse: turns backward lines
        else:
            raw = merge_scan(image[:, :forward], image[:, :backward], info.scan)
        yield np.clip(np.rint(raw), 0, 255).astype(info.dtype)


def _compare_motion(got: Motion, expected: Motion) -> float:
    if got.status != expected.status:
        return math.inf
    places = [[*m.strip_dy, *m.strip_dx, m.dy, m.dx] for m in (got, expected)]
    return float(np.abs(np.subtract(places[0], places[1])).max())


def _inputs(
    views: NDArray[np.float32], averages: NDArray[np.float32], count: int, grid: int
) -> list[NDArray[np.float32]]:
    """Return the inputs of the network for the views (V, Y, X) of one channel."""
    if count == 1:
        return [pad(network_inputs(mean_views(views[None])[0], averages), grid)]
    if len(views) == 2:
        return [pad(network_inputs(view, averages), grid) for view in views]
    return [pad(network_inputs(views[0], averages, "even"), grid), pad(network_inputs(views[0], averages, "odd"), grid)]


def _compare_outputs(
    pipeline: KernelPipeline, views: ScanSplitter, units: NDArray[np.float32], image: NDArray[Any], stats: FrameStats
) -> tuple[float, float]:
    """Return `pixels` and `mean_bias` of `KernelDifference` for one frame."""
    channels, count, rows, columns = units.shape
    answers = pipeline.answers()[:, :rows, :columns].reshape(channels, -1, rows, columns)
    if answers.shape[1] != count:
        answers = np.repeat(answers.mean(axis=1, keepdims=True), count, axis=1)
    if not np.isfinite(answers).all():
        return 0.0, 0.0  # an error of the network, which the first real frame shows
    expected = views.join(_NORMALIZER.restore(answers, np.float32)).astype(np.float64)
    unequal = ~(np.abs(image - expected) <= 1)
    mean_bias = np.mean(answers - units, axis=(1, 2, 3), dtype=np.float64)
    return float(unequal.mean()), float(np.abs(stats.mean_bias - mean_bias).max())
