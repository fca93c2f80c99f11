"""Whether the kernels answer on this GPU as numpy does: a few simulated frames through both, before any stream.

A pipeline that answers otherwise is refused, and frames are prepared on the host. Knows nothing of the network: what it
answered is taken as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.calibration import pad
from deepbid_rt.errors import EngineError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.line_alignment import LineAlignment
from deepbid_rt.normalize import Normalizer
from deepbid_rt.past import Past, inputs_of
from deepbid_rt.ports import Note
from deepbid_rt.pyramid import smooth
from deepbid_rt.runtimes.gpu.kernel_pipeline import KernelPipeline
from deepbid_rt.scan import lines_of_views, merge_scan, to_image_order
from deepbid_rt.views import Views

FRAMES = 6
SHIFT_PX = 0.02
"""Most that a shift may differ by."""
UNITS = 0.05
"""Most that an input of the network may differ by, in standard deviations of the noise, for all but `SHARE` of them."""
SHARE = 0.02
"""A line at the edge of rounding enters the memory one place away, which is rare."""
_NORMALIZER = Normalizer(100.0, 10.0)
_MOST_PX = 3
_ALIGNED_PX = 0.4


def check(pipeline: KernelPipeline) -> None:
    """Send simulated frames through a pipeline and through numpy; the pipeline is reset after it.

    Raises
    ------
    EngineError
        When they differ by more than the order of summation explains.
    StageError
        When the GPU fails.
    """
    info, card = pipeline.info, pipeline.card
    views = Views(info, pipeline.merge)
    channels = info.shape[0]
    alignment = LineAlignment(info.scan, info.shape[2], _ALIGNED_PX)
    if info.scan.bidirectional:
        views.alignment = alignment
        pipeline.align(alignment)
    pipeline.scale([_NORMALIZER] * channels)
    pipeline.reset()
    past = Past(card.memories, channels, views.size)
    for number, pixels in enumerate(simulated(info)):
        image, note = pipeline.step(pixels)
        units = _NORMALIZER.apply(views.split(pixels))
        motion, remembered = past.see(units)
        bends = [
            np.array(pair) for pair in ((note.motion.bend_dy, note.motion.bend_dx), (motion.bend_dy, motion.bend_dx))
        ]
        told = np.array([note.motion.dy, note.motion.dx]) - [motion.dy, motion.dx]
        if note.motion.verdict != motion.verdict or bends[0].shape != bends[1].shape:
            raise _refusal(f"call frame {number} {note.motion.verdict}, not {motion.verdict}")
        _compare(max(np.abs(told).max(), np.abs(bends[0] - bends[1]).max(initial=0.0)) < SHIFT_PX, "find other shifts")
        passes = pipeline.inputs().reshape(channels, -1, *pipeline.inputs().shape[1:])
        for channel in range(channels):
            expected = np.stack(_passes(units[channel], remembered[channel], passes.shape[1], card.grid))
            off = ~(np.abs(passes[channel] - expected) <= UNITS)
            _compare(off.mean() <= SHARE, "prepare other inputs")
        _check_answers(pipeline, views, units, image, note)
    pipeline.align(None)
    pipeline.reset()


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


def _passes(
    views: NDArray[np.float32], remembered: NDArray[np.float32], count: int, grid: int
) -> list[NDArray[np.float32]]:
    """Return what the network is to be given for one channel (V, Y, X)."""
    if count == 1:
        mean = views[0] if len(views) == 1 else (views[0] + views[1]) * np.float32(0.5)
        return [pad(inputs_of(mean, remembered), grid)]
    if len(views) == 2:
        return [pad(inputs_of(view, remembered), grid) for view in views]
    return [pad(inputs_of(views[0], remembered, rows), grid) for rows in ("even", "odd")]


def _check_answers(
    pipeline: KernelPipeline, views: Views, units: NDArray[np.float32], image: NDArray[Any], note: Note
) -> None:
    """Compare what becomes of the network's answers."""
    channels, count, rows, columns = units.shape
    passes = pipeline.answers()[:, :rows, :columns].reshape(channels, -1, rows, columns)
    answers = passes if passes.shape[1] == count else np.repeat(passes.mean(axis=1, keepdims=True), count, axis=1)
    if not np.isfinite(answers).all():
        return  # the network's fault, which the first real frame shows
    expected = views.join(_NORMALIZER.restore(answers, np.float32))
    off = np.abs(image.astype(np.float64) - expected) > 1
    _compare(off.mean() <= SHARE, "make other pixels")
    excess = np.mean(answers - units, axis=(1, 2, 3), dtype=np.float64)
    _compare(np.abs(note.excess - excess).max() < UNITS, "sum otherwise")


def _compare(agree: bool | np.bool_, what: str) -> None:
    if not agree:
        raise _refusal(what)


def _refusal(what: str) -> EngineError:
    return EngineError(
        f"kernels that {what} than numpy does, in a short test on this GPU",
        expected="the same answers",
        todo="report this with the GPU and the driver's version; frames are prepared on the host until then",
    )
