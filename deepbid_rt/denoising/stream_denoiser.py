"""One plane's way through a stream engine: every frame is answered from itself and others of the plane in its place.

Works on views already split and in image order; knows nothing of scans, merging, threads or other planes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.calibration import Calibration, Waiting, pad
from deepbid_rt.denoising.window_denoiser import Answer
from deepbid_rt.frame import Motion
from deepbid_rt.motion.frame_context import FrameContext, FrameContextBuilder
from deepbid_rt.motion.history import Image, Rows, inputs_of, mean_of
from deepbid_rt.motion.registration import Registration
from deepbid_rt.ports import Engine
from deepbid_rt.scan.normalizer import Normalizer


class StreamDenoiser:
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
        self.calibration = Calibration(engine.card, channels)
        """How counts become network units and answers counts again."""
        self._shape = channels, views, *size
        self._context = FrameContextBuilder(engine.card.memories, engine.card.look_ahead, channels, size)
        self._motions: dict[int, Motion] = {}
        self._registration = Registration() if stabilize else None

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        return self.calibration.normalizers

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
        return self._answer(self.calibration.take(tick, views))

    def flush(self) -> list[Answer]:
        """Answer every frame inside and restart.

        Frames too few to calibrate on are answered by what they give; later frames calibrate anew.
        """
        early = self.calibration.waiting
        answers = self._answer(self.calibration.measure(), last=True)
        self.restart()
        if early:
            self.calibration.forget()
        return answers

    def restart(self) -> None:
        """Forget all frames, but not the calibration."""
        self.calibration.drop()
        self._context.reset()

    def _answer(self, frames: Waiting, *, last: bool = False) -> list[Answer]:
        """Answer the frames of which all is known with these, and all that wait if they are the last."""
        self._motions = {}
        units = [(tick, self.calibration.apply(views)) for tick, views in frames]
        see = self._context.see_together
        known = see(units) if len(units) > 1 else [known for unit in units for known in self._context.see(*unit)]
        known += self._context.end() if last else []
        if not known:
            return []
        answers = np.empty((len(known), *self._shape), np.float32)
        excess = np.zeros(self._shape[0])
        for answer, one in zip(answers, known, strict=True):
            answer[:] = self._denoise(one)
            if self.calibration.bias is None:
                excess += np.mean(answer - one.frame, axis=(1, 2, 3), dtype=np.float64) / len(known)
            self._motions[one.tick] = one.motion
        counts = self.calibration.restore(answers, excess, known[-1].tick + 1)
        register = self._registration
        return [
            (one.tick, register.apply(image, one.motion) if register else image)
            for image, one in zip(counts, known, strict=True)
        ]

    def _denoise(self, known: FrameContext) -> Image:
        """Return the answers (C, V, Y, X) for a frame."""
        answer = np.empty(self._shape, np.float32)
        for c in range(len(answer)):
            answer[c] = self._denoise_channel(known, c)
        return answer

    def _denoise_channel(self, known: FrameContext, c: int) -> Image:
        """Return the answers of one channel, (V, Y, X) or, where one answer is for all views, (Y, X)."""
        views = known.frame[c]
        if self._together:
            return self._infer(known, c, mean_of(views[None])[0])
        if len(views) > 1:
            return np.stack([self._infer(known, c, view) for view in views])
        # Trained on the lines of one direction alone; each line is answered with and without sight of itself.
        [view] = views
        return np.float32(0.5) * (self._infer(known, c, view, "even") + self._infer(known, c, view, "odd"))

    def _infer(self, known: FrameContext, c: int, view: Image, rows: Rows = "all") -> Image:
        inputs = pad(inputs_of(view, known.remembered[c], rows, known.ahead[c]), self._engine.card.grid)
        # An engine's answer is its own until the next inference.
        return self._engine.infer(inputs)[0, : self._shape[2], : self._shape[3]].copy()
