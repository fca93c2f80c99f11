"""One plane's way through a stream engine: every frame is answered at once, from itself and the past in its place.

Works on views already split and in image order; knows nothing of scans, merging, threads or other planes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.calibration import Calibration, Waiting, pad
from deepbid_rt.frame import Motion
from deepbid_rt.normalize import Normalizer
from deepbid_rt.past import Image, Past, Rows, inputs_of, mean_of
from deepbid_rt.ports import Engine
from deepbid_rt.registration import Registration
from deepbid_rt.window_lane import Answer


class StreamLane:
    """Feeds one plane to a stream engine and takes the answers out.

    Parameters
    ----------
    engine : Engine
        Warmed up for inputs of this lane's padded size.
    channels, views : int
        C and V; each channel has its own offset, scale and memories, shared by its views.
    size : tuple of int
        (Y, X) of one view, unpadded.
    apart : bool
        Every view needs an answer of its own, even where the engine could answer for their mean.
    stabilize : bool
        Register the answers to where the tissue lay in the first frame, see `Registration`.
    """

    def __init__(
        self,
        engine: Engine,
        channels: int,
        views: int,
        size: tuple[int, int],
        *,
        apart: bool = False,
        stabilize: bool = False,
    ) -> None:
        self._engine = engine
        self._together = engine.card.views == "mean" and not apart
        self._calibration = Calibration(engine.card, channels)
        self._past = Past(engine.card.memories, channels, size)
        self._shape = channels, views, *size
        self._tick: int | None = None
        self._motions: dict[int, Motion] = {}
        self._registration = Registration() if stabilize else None

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        return self._calibration.normalizers

    @property
    def motions(self) -> dict[int, Motion]:
        """Where the frames of the latest answers lay, by tick."""
        return self._motions

    def push(self, tick: int, views: NDArray[Any]) -> list[Answer]:
        """Take one frame and return what became ready.

        Parameters
        ----------
        tick : int
            Number of this frame within its plane, above all earlier ones. Missing ticks make the memories older.
        views : ndarray
            (C, V, Y, X) raw counts in image order; not kept.
        """
        return self._answer(self._calibration.take(tick, views))

    def flush(self) -> list[Answer]:
        """Answer every frame inside and restart.

        Frames too few to calibrate on are answered by what they give; later frames calibrate anew.
        """
        early = self._calibration.waiting
        answers = self._answer(self._calibration.measure())
        self.restart()
        if early:
            self._calibration.forget()
        return answers

    def restart(self) -> None:
        """Forget all frames, but not the calibration."""
        self._calibration.drop()
        self._past.reset()
        self._tick = None

    def _answer(self, frames: Waiting) -> list[Answer]:
        self._motions = {}
        if not frames:
            return []
        answers = np.empty((len(frames), *self._shape), np.float32)
        excess = np.zeros(self._shape[0])
        for answer, (tick, views) in zip(answers, frames, strict=True):
            units = self._calibration.apply(views)
            if self._tick is not None and tick > self._tick + 1:
                self._past.skip(tick - self._tick - 1)
            self._tick = tick
            self._motions[tick], remembered = self._past.see(units)
            for c, channel in enumerate(units):
                answer[c] = self._denoise(channel, remembered[c])
            if self._calibration.biased:
                excess += np.mean(answer - units, axis=(1, 2, 3), dtype=np.float64) / len(frames)
        counts = self._calibration.restore(answers, excess, frames[-1][0] + 1)
        answered = [(tick, image) for (tick, _), image in zip(frames, counts, strict=True)]
        if self._registration:
            answered = [(tick, self._registration.apply(image, self._motions[tick])) for tick, image in answered]
        return answered

    def _denoise(self, views: Image, remembered: Image) -> Image:
        """Return the answers of one channel, (V, Y, X) or, where one answer is for all views, (Y, X)."""
        if self._together:
            return self._infer(mean_of(views[None])[0], remembered)
        if len(views) > 1:
            return np.stack([self._infer(view, remembered) for view in views])
        # Trained on the lines of one direction alone; each line is answered with and without sight of itself.
        [view] = views
        return np.float32(0.5) * (self._infer(view, remembered, "even") + self._infer(view, remembered, "odd"))

    def _infer(self, view: Image, remembered: Image, rows: Rows = "all") -> Image:
        inputs = pad(inputs_of(view, remembered, rows), self._engine.card.grid)
        # An engine's answer is its own until the next inference.
        return self._engine.infer(inputs)[0, : self._shape[2], : self._shape[3]].copy()
