"""One plane through a stream engine: every frame is denoised from itself and the frames around it, motion-compensated.

Works on views that are already split and in image order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.answer import Answer
from deepbid_rt.denoising.calibration import Calibration, PlaneFrames
from deepbid_rt.denoising.network_inputs import Image, Rows, network_inputs, pad
from deepbid_rt.motion.frame_context import FrameContext, FrameContextBuilder
from deepbid_rt.motion.history import mean_views
from deepbid_rt.motion.registration import Registration
from deepbid_rt.ports import Engine
from deepbid_rt.scan.normalizer import Normalizer


class StreamDenoiser:
    """Denoises the views of one plane with a stream engine.

    Parameters
    ----------
    engine : Engine
        Warmed up for inputs of the padded size.
    channels, views : int
        C and V; each channel has its own offset, scale and temporal averages, shared by its views.
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
        """How counts become network units and network units counts again."""
        self._shape = channels, views, *size
        self._contexts = FrameContextBuilder(engine.card.memories, engine.card.look_ahead, channels, size)
        self._registration = Registration() if stabilize else None

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        return self.calibration.normalizers

    def push(self, plane_frame: int, views: NDArray[Any]) -> list[Answer]:
        """Take one frame and return the frames that became ready.

        Parameters
        ----------
        plane_frame : int
            Number of this frame within its plane, above all earlier ones. Missing frames make the averages older.
        views : ndarray
            (C, V, Y, X) raw counts in image order; not kept.
        """
        return self._answer(self.calibration.push(plane_frame, views))

    def flush(self) -> list[Answer]:
        """Answer every frame inside and forget them.

        Frames too few to calibrate on are calibrated on themselves; later frames are then calibrated anew.
        """
        uncalibrated = self.calibration.waiting
        answers = self._answer(self.calibration.measure(), last=True)
        self.reset(keep_scale=not uncalibrated)
        return answers

    def reset(self, *, keep_scale: bool = True) -> None:
        """Forget all frames, and the calibration too unless `keep_scale`."""
        self.calibration.reset(keep_scale=keep_scale)
        self._contexts.reset()

    def _answer(self, frames: PlaneFrames, *, last: bool = False) -> list[Answer]:
        """Answer the frames whose context these complete; with `last`, all that are inside."""
        units = [(plane_frame, self.calibration.apply(views)) for plane_frame, views in frames]
        if len(units) > 1:
            contexts = self._contexts.push_batch(units)
        else:
            contexts = [context for unit in units for context in self._contexts.push(*unit)]
        if last:
            contexts += self._contexts.flush()
        if not contexts:
            return []
        answers = np.empty((len(contexts), *self._shape), np.float32)
        mean_bias = np.zeros(self._shape[0])
        for answer, context in zip(answers, contexts, strict=True):
            answer[:] = self._denoise(context)
            if self.calibration.bias is None:
                mean_bias += np.mean(answer - context.frame, axis=(1, 2, 3), dtype=np.float64) / len(contexts)
        counts = self.calibration.restore(answers, mean_bias, contexts[-1].plane_frame + 1)
        register = self._registration
        return [
            Answer(context.plane_frame, register.apply(image, context.motion) if register else image, context.motion)
            for image, context in zip(counts, contexts, strict=True)
        ]

    def _denoise(self, context: FrameContext) -> Image:
        """Return the answers (C, V, Y, X) for a frame."""
        answer = np.empty(self._shape, np.float32)
        for c in range(len(answer)):
            answer[c] = self._denoise_channel(context, c)
        return answer

    def _denoise_channel(self, context: FrameContext, c: int) -> Image:
        """Return the answers of one channel, (V, Y, X) or, where one answer is for all views, (Y, X)."""
        views = context.frame[c]
        if self._together:
            return self._infer(context, c, mean_views(views[None])[0])
        if len(views) > 1:
            return np.stack([self._infer(context, c, view) for view in views])
        # The network was trained with one direction's lines visible. It runs twice, each direction visible once, so
        # that every line is denoised once with and once without sight of itself; the two answers are averaged.
        [view] = views
        return np.float32(0.5) * (self._infer(context, c, view, "even") + self._infer(context, c, view, "odd"))

    def _infer(self, context: FrameContext, c: int, view: Image, rows: Rows = "all") -> Image:
        inputs = network_inputs(view, context.averages[c], rows, context.later_frames[c])
        answer = self._engine.infer(pad(inputs, self._engine.card.grid))
        # Copied, because the engine may write its next answer to the same memory.
        return answer[0, : self._shape[2], : self._shape[3]].copy()
