"""Whether the kernels answer on this GPU as numpy does: a few simulated frames through both, before any stream.

A pipeline that answers otherwise is refused, and frames are prepared on the host. Knows nothing of the network: what it
answered is taken as it is.
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
from deepbid_rt.scan.directions import lines_of_views, merge_scan, to_image_order
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer
from deepbid_rt.scan.splitter import ScanSplitter

log = logging.getLogger(__name__)

FRAMES = 6
UNITS = 0.02
"""Standard deviations of the noise by which inputs of the network may differ and count as equal."""
_NORMALIZER = Normalizer(100.0, 10.0)
_MOST_PX = 3
_ALIGNED_PX = 0.4


class Difference(NamedTuple):
    """By how much kernels and numpy differ, at most over all frames."""

    shift_px: float
    """Of shifts and bends; infinite where they judge a frame differently."""
    inputs: float
    """Share of the network's inputs that differ by more than `UNITS`."""
    pixels: float
    """Share of the pixels that differ by more than one count."""
    mean_bias: float
    """Of the answers' mean, in units."""


LIMITS = Difference(shift_px=0.02, inputs=0.02, pixels=0.02, mean_bias=0.01)
"""From where on kernels are refused: a line at the edge of rounding enters the memory one place away, which is rare."""


def check(pipeline: KernelPipeline) -> None:
    """Refuse a pipeline that answers otherwise than numpy.

    Raises
    ------
    EngineError
        When they differ by more than `LIMITS`.
    StageError
        When the GPU fails.
    """
    found = compare(pipeline)
    wrong = [f"{name} by {got:.2g}" for name, got, most in zip(found._fields, found, LIMITS, strict=True) if got > most]
    if wrong:
        raise EngineError(
            f"kernels that answer otherwise on this GPU than numpy does ({', '.join(wrong)})",
            expected="the same answers to a few simulated frames",
            todo="report this with the GPU and the driver's version; frames are prepared on the host until then",
        )
    log.info("kernels and numpy agree: %s", ", ".join(f"{n} {v:.1g}" for n, v in found._asdict().items()))


def compare(pipeline: KernelPipeline) -> Difference:
    """Send simulated frames through a pipeline and through numpy; it has forgotten them when this returns.

    Raises
    ------
    StageError
        When the GPU fails.
    """
    info, card = pipeline.info, pipeline.card
    views, channels = ScanSplitter(info, pipeline.merge), info.shape[0]
    line_offset = LineOffset(info.scan, info.shape[2], _ALIGNED_PX) if info.scan.bidirectional else None
    pipeline.set_line_offset(line_offset)
    pipeline.set_scale([_NORMALIZER] * channels)
    pipeline.reset()
    history = MotionCompensatedHistory(card.memories, channels, views.size)
    worst = np.zeros(len(LIMITS))
    for pixels in simulated(info):
        image, note = pipeline.push(pixels)
        units = _NORMALIZER.apply(views.split(pixels, line_offset))
        motion, averages = history.push(units)
        given = pipeline.inputs()
        passes = given.reshape(channels, -1, *given.shape[1:])
        expected = [_passes(*pair, passes.shape[1], card.grid) for pair in zip(units, averages, strict=True)]
        off = ~(np.abs(passes - expected) <= UNITS)
        worst = np.maximum(
            worst, [_shift(note.motion, motion), off.mean(), *_answers(pipeline, views, units, image, note)]
        )
    pipeline.set_line_offset(None)
    pipeline.reset()
    return Difference(*worst.tolist())


def simulated(info: StreamInfo) -> Iterator[NDArray[Any]]:
    """Yield a few frames of a texture that moves as a whole and line by line, with noise, as they are scanned."""
    rng = np.random.default_rng(0)
    channels, lines, pixels = info.shape
    forward, backward = lines_of_views(lines, info.scan)
    rows = lines if info.scan.layout == "ordinary" else max(forward, backward)
    texture = rng.normal(0, 1, (rows + 2 * _MOST_PX, pixels + 6 * _MOST_PX)).astype(np.float32)
    for _ in range(4):
        texture = smooth(texture)
    texture *= np.float32(30 / texture.std())
    y = np.arange(rows)
    for number in range(FRAMES):
        dy, dx = (number % 3, -(number % 2)) if number else (0, 0)
        bend = np.rint(2 * np.sin(2 * np.pi * y / rows + number)).astype(int)
        columns = 3 * _MOST_PX + dx + bend[:, None] + np.arange(pixels)
        image = 100 + texture[(_MOST_PX - dy + y)[:, None], columns] + rng.normal(0, 10, (channels, rows, pixels))
        if info.scan.layout == "ordinary":
            raw = to_image_order(image, info.scan)  # turns backward lines, whichever way they stand
        else:
            raw = merge_scan(image[:, :forward], image[:, :backward], info.scan)
        yield np.clip(np.rint(raw), 0, 255).astype(info.dtype)


def _shift(got: Motion, expected: Motion) -> float:
    if got.status != expected.status:
        return math.inf
    places = [[*m.strip_dy, *m.strip_dx, m.dy, m.dx] for m in (got, expected)]
    return float(np.abs(np.subtract(places[0], places[1])).max())


def _passes(
    views: NDArray[np.float32], averages: NDArray[np.float32], count: int, grid: int
) -> list[NDArray[np.float32]]:
    """Return what the network is to be given for one channel (V, Y, X)."""
    if count == 1:
        return [pad(network_inputs(mean_views(views[None])[0], averages), grid)]
    if len(views) == 2:
        return [pad(network_inputs(view, averages), grid) for view in views]
    return [pad(network_inputs(views[0], averages, "even"), grid), pad(network_inputs(views[0], averages, "odd"), grid)]


def _answers(
    pipeline: KernelPipeline, views: ScanSplitter, units: NDArray[np.float32], image: NDArray[Any], note: FrameStats
) -> tuple[float, float]:
    """Compare what becomes of the network's answers, whatever they are."""
    channels, count, rows, columns = units.shape
    passes = pipeline.answers()[:, :rows, :columns].reshape(channels, -1, rows, columns)
    answers = passes if passes.shape[1] == count else np.repeat(passes.mean(axis=1, keepdims=True), count, axis=1)
    if not np.isfinite(answers).all():
        return 0.0, 0.0  # the network's fault, which the first real frame shows
    expected = views.join(_NORMALIZER.restore(answers, np.float32)).astype(np.float64)
    off = ~(np.abs(image - expected) <= 1)
    mean_bias = np.mean(answers - units, axis=(1, 2, 3), dtype=np.float64)
    return float(off.mean()), float(np.abs(note.mean_bias - mean_bias).max())
