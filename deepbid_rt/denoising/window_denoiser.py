"""One plane's way through a window engine: windows, and the grid on which the engine answers.

Works on views already split and in image order; knows nothing of scans, merging, threads or other planes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.calibration import Calibration, pad, padded_size
from deepbid_rt.denoising.window import FrameWindow
from deepbid_rt.ports import Engine, WindowEngine, WindowOnDevice
from deepbid_rt.scan.normalizer import Normalizer

Answer = tuple[int, NDArray[np.float32]]
"""A tick and its denoised views (C, V, Y, X) in counts."""


class WindowDenoiser:
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
    Multiples of 8 everywhere because the papers' network commutes with shifts by 8 only; other origins make the
    output flicker (measured in docs/window-engine.md).
    """

    def __init__(self, engine: Engine, channels: int, views: int, size: tuple[int, int]) -> None:
        self._engine = engine
        self._card = engine.card
        self._size = size
        padded = padded_size(size, self._card.grid)
        make = engine.open_window if isinstance(engine, WindowEngine) else FrameWindow
        self._windows = [[make(self._card.window, padded) for _ in range(views)] for _ in range(channels)]
        self._calibration = Calibration(self._card, channels)
        self.restart()

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        return self._calibration.normalizers

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
        return [a for t, waited in self._calibration.take(tick, views) for a in self._advance(t, waited)]

    def flush(self) -> list[Answer]:
        """Answer every frame inside, as if time ran backwards after the last one, and restart.

        Frames too few to calibrate on are answered by what they give; later frames calibrate anew.
        """
        early = self._calibration.waiting
        answers = [a for t, waited in self._calibration.measure() for a in self._advance(t, waited)]
        mirror = self._mirror() if self._real else iter(())
        while self._real and self._tick is not None:
            self._step(self._tick + 1, next(mirror), answers)
        self.restart()
        if early:
            self._calibration.forget()
        return answers

    def restart(self) -> None:
        """Forget all frames, but not the calibration."""
        for channel in self._windows:
            for window in channel:
                window.clear()
        self._calibration.drop()
        self._tick: int | None = None
        self._last: NDArray[np.float32] | None = None
        self._real: list[int] = []

    def _advance(self, tick: int, views: NDArray[Any]) -> list[Answer]:
        answers: list[Answer] = []
        while self._tick is not None and self._tick + 1 < tick:
            self._fill(answers)
        units = pad(self._calibration.apply(views), self._card.grid)
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
        answers = np.empty((len(due), len(self._windows), len(self._windows[0]), rows, columns), np.float32)
        places = [t - first for t in due]
        excess = np.zeros(len(self._windows))
        for c, windows in enumerate(self._windows):
            for v, window in enumerate(windows):
                given = window.view()
                answer = window.infer() if isinstance(window, WindowOnDevice) else self._engine.infer(given)
                if self._calibration.bias is None:
                    excess[c] += np.mean(answer - given, dtype=np.float64) / len(windows)
                answers[:, c, v] = answer[places, :rows, :columns]
        return list(zip(due, self._calibration.restore(answers, excess, tick + 1), strict=True))
