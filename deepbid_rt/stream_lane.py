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
        units = [self._calibration.apply(views) for _, views in frames]
        ticks = [tick for tick, _ in frames]
        early = self._answer_from_after(ticks, units)
        for k, (tick, frame) in enumerate(zip(ticks, units, strict=True)):
            if self._tick is not None and tick > self._tick + 1:
                self._past.skip(tick - self._tick - 1)
            self._tick = tick
            self._motions[tick], remembered = self._past.see(frame)
            answers[k] = early[k] if k < len(early) else self._denoise(frame, remembered)
            if self._calibration.biased:
                excess += np.mean(answers[k] - frame, axis=(1, 2, 3), dtype=np.float64) / len(frames)
        counts = self._calibration.restore(answers, excess, frames[-1][0] + 1)
        answered = [(tick, image) for (tick, _), image in zip(frames, counts, strict=True)]
        if self._registration:
            answered = [(tick, self._registration.apply(image, self._motions[tick])) for tick, image in answered]
        return answered

    def _answer_from_after(self, ticks: list[int], units: list[Image]) -> list[Image]:
        """Answer the first half of frames that waited together, with what came after them for a past: it is more."""
        answers: list[Image] = []
        if len(units) == 1:
            return answers
        past = Past(self._engine.card.memories, self._shape[0], self._shape[2:])
        for k in range(len(units) - 1, -1, -1):
            _, remembered = past.see(units[k])
            if k < len(units) // 2:
                answers.insert(0, self._denoise(units[k], remembered))
            if k and ticks[k] > ticks[k - 1] + 1:
                past.skip(ticks[k] - ticks[k - 1] - 1)
        return answers

    def _denoise(self, frame: Image, remembered: Image) -> Image:
        """Return the answers (C, V, Y, X) for a frame."""
        answer = np.empty(self._shape, np.float32)
        for c, views in enumerate(frame):
            answer[c] = self._denoise_channel(views, remembered[c])
        return answer

    def _denoise_channel(self, views: Image, remembered: Image) -> Image:
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
