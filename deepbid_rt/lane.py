"""One plane's way through time: calibration, windows, and the grid on which the engine answers.

Works on views already split and in image order; knows nothing of scans, merging, threads or other planes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StageError
from deepbid_rt.normalize import Normalizer, calibrate
from deepbid_rt.ports import Engine
from deepbid_rt.window import Window

Answer = tuple[int, NDArray[np.float32]]
"""A tick and its denoised views (C, V, Y, X) in counts."""


class Lane:
    """Feeds one plane to a window engine and takes the answers out.

    An inference happens after every tick ``e`` with ``e + 1`` a multiple of the hop, on the window that ends at
    ``e``. It answers the `hop` ticks that have `look_ahead` later frames in the window. The grid is that of the
    tick itself, so that live and offline runs of one recording cut the same windows.

    Parameters
    ----------
    engine : Engine
        Warmed up for windows of this lane's padded size.
    channels, views : int
        C and V; each channel has its own offset and scale, shared by its views.
    size : tuple of int
        (Y, X) of one view, unpadded.

    Notes
    -----
    A network answers with a mean that may be off by a fraction of the noise on a rig it was not trained on. The first
    inference measures this for each channel, and every answer of the series is corrected by that one number.

    Multiples of 8 everywhere because the papers' network commutes with shifts by 8 only; other origins make the
    output flicker (measured in docs/window-engine.md).
    """

    def __init__(self, engine: Engine, channels: int, views: int, size: tuple[int, int]) -> None:
        self._engine = engine
        self._card = engine.card
        self._size = size
        self._pad = [(0, padded - n) for padded, n in zip(padded_size(size, self._card.grid), size, strict=True)]
        padded = padded_size(size, self._card.grid)
        self._windows = [[Window(self._card.window, padded) for _ in range(views)] for _ in range(channels)]
        self._normalizers: list[Normalizer] | None = None
        if self._card.normalization.rule == "fixed":
            fixed = self._card.normalization
            self._normalizers = [Normalizer(fixed.offset, fixed.scale)] * channels
        self._bias: NDArray[np.float64] | None = None  # (C,) network units
        if self._card.normalization.rule == "fixed":
            self._bias = np.zeros(channels)
        self._uncalibrated: list[tuple[int, NDArray[Any]]] = []
        self.restart()

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        return None if self._normalizers is None else tuple(self._normalizers)

    def push(self, tick: int, views: NDArray[Any]) -> list[Answer]:
        """Take one frame and return what became ready.

        Parameters
        ----------
        tick : int
            Number of this frame within its plane, above all earlier ones. Missing ticks are filled with copies of
            the frame before them, which are never answered.
        views : ndarray
            (C, V, Y, X) raw counts in image order; not kept.
        """
        if self._normalizers is not None:
            return self._advance(tick, views)
        self._uncalibrated.append((tick, views.copy()))
        if len(self._uncalibrated) < self._card.normalization.frames:
            return []
        return self._calibrate()

    def flush(self) -> list[Answer]:
        """Answer every frame inside, as if time ran backwards after the last one, and restart.

        Frames too few to calibrate on are answered by what they give; later frames calibrate anew.
        """
        early = bool(self._uncalibrated)
        answers = self._calibrate() if early else []
        mirror = self._mirror() if self._real else iter(())
        while self._real and self._tick is not None:
            self._step(self._tick + 1, next(mirror), answers)
        self.restart()
        if early:
            self._normalizers = self._bias = None
        return answers

    def restart(self) -> None:
        """Forget all frames, but not the calibration."""
        for channel in self._windows:
            for window in channel:
                window.clear()
        self._uncalibrated.clear()
        self._tick: int | None = None
        self._last: NDArray[np.float32] | None = None
        self._real: list[int] = []

    def _calibrate(self) -> list[Answer]:
        frames = np.stack([views for _, views in self._uncalibrated])  # (T, C, V, Y, X)
        self._normalizers = [calibrate(frames[:, channel]) for channel in range(frames.shape[1])]
        waiting, self._uncalibrated = self._uncalibrated, []
        return [answer for tick, views in waiting for answer in self._advance(tick, views)]

    def _advance(self, tick: int, views: NDArray[Any]) -> list[Answer]:
        answers: list[Answer] = []
        while self._tick is not None and self._tick + 1 < tick:
            self._fill(answers)
        units = np.stack([n.apply(channel) for n, channel in zip(self._normalizers or (), views, strict=True)])
        if any(extra for _, extra in self._pad):
            units = np.pad(units, [(0, 0), (0, 0), *self._pad], mode="symmetric")
        self._real.append(tick)
        self._step(tick, units, answers)
        return answers

    def _mirror(self) -> Iterator[NDArray[np.float32]]:
        """Yield the frames inside, newest first, then oldest first, and so on for ever."""
        known = min(self._windows[0][0].filled, self._card.hop + self._card.look_ahead)
        frames = np.stack(
            [[window.view()[-known:] for window in channel] for channel in self._windows], axis=0
        )  # (C, V, T, Y, X), a copy: the windows move on
        order = [*range(known - 1, -1, -1), *range(known)]
        return (frames[:, :, place] for place in itertools.cycle(order))

    def _fill(self, answers: list[Answer]) -> None:
        if self._tick is not None and self._last is not None:
            self._step(self._tick + 1, self._last, answers)

    def _step(self, tick: int, units: NDArray[np.float32], answers: list[Answer]) -> None:
        for windows, channel in zip(self._windows, units, strict=True):
            for window, view in zip(windows, channel, strict=True):
                window.push(view)
        self._tick, self._last = tick, units
        if (tick + 1) % self._card.hop == 0:
            answers += self._infer(tick)

    def _infer(self, tick: int) -> list[Answer]:
        stop = tick + 1 - self._card.look_ahead
        due = [t for t in self._real if t < stop]
        if not due:
            return []
        del self._real[: len(due)]
        first = tick + 1 - self._card.window
        rows, columns = self._size
        counts = np.empty((len(due), len(self._windows), len(self._windows[0]), rows, columns), np.float32)
        places = [t - first for t in due]
        bias = np.zeros(len(self._windows)) if self._bias is None else self._bias
        for c, (windows, normalizer) in enumerate(zip(self._windows, self._normalizers or (), strict=True)):
            for v, window in enumerate(windows):
                given = window.view()
                answer = self._engine.infer(given)
                if not np.isfinite(answer.sum(dtype=np.float64)):  # one pass; float32 would overflow on float movies
                    raise StageError(
                        f"engine {self._card.name!r} answered values that are not finite, in the window before frame "
                        f"{tick + 1} of its plane",
                        expected="finite numbers",
                        todo="run it with --precision f32, or train it anew",
                    )
                if self._bias is None:
                    bias[c] += np.mean(answer - given, dtype=np.float64) / len(windows)
                counts[:, c, v] = normalizer.restore(answer[places, :rows, :columns], np.float32)
        if self._bias is None:
            self._bias = bias
        for c, normalizer in enumerate(self._normalizers or ()):
            counts[:, c] -= np.float32(bias[c] * normalizer.scale)
        return list(zip(due, counts, strict=True))


def padded_size(size: tuple[int, int], grid: int) -> tuple[int, int]:
    """Round (Y, X) up to multiples of `grid`."""
    rows, columns = size
    return -(-rows // grid) * grid, -(-columns // grid) * grid
