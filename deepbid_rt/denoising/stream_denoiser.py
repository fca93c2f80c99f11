"""Denoises the views of one plane with a stream engine.

For each frame the network gets the view, motion-compensated temporal averages of the frames before it, and, with
look-ahead, the next frames aligned to it. All temporal state is in the `FrameContextBuilder`, so the network is a plain
2D one and the cost of a frame does not depend on how far back the averages reach.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.answer import Answer
from deepbid_rt.denoising.calibration import Calibration, PlaneFrames
from deepbid_rt.denoising.network_inputs import VisibleLines, network_inputs, pad
from deepbid_rt.frame import Image
from deepbid_rt.motion.frame_context import FrameContext, FrameContextBuilder
from deepbid_rt.motion.frame_registration import Registration
from deepbid_rt.motion.history import mean_views
from deepbid_rt.ports import Engine
from deepbid_rt.scan.normalizer import Normalizer


class StreamDenoiser:
    """Denoises the views of one plane with a stream engine.

    Parameters
    ----------
    engine : Engine
        Warmed up for inputs of the padded size.
    channels, views : int
        C and V. Each channel has its own offset, scale and temporal averages, which its views share.
    size : tuple of int
        (Y, X) of one view, unpadded.
    planes : int
        Planes of the series, see `calibration_frames`.
    separate_views : bool
        Denoise each view separately, even if the engine accepts the mean of both.
    stabilize : bool
        Register the denoised views to the first frame, see `Registration`.
    """

    def __init__(
        self,
        engine: Engine,
        channels: int,
        views: int,
        size: tuple[int, int],
        *,
        planes: int = 1,
        separate_views: bool = False,
        stabilize: bool = False,
    ) -> None:
        self._engine = engine
        self._mean_of_views = engine.card.views == "mean" and not separate_views
        self.calibration = Calibration(engine.card, channels, planes)
        """Conversion between counts and network units."""
        self._shape = channels, views, *size
        self._contexts = FrameContextBuilder(engine.card.memories, engine.card.look_ahead, channels, size)
        self._registration = Registration() if stabilize else None

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        return self.calibration.normalizers

    def push(self, plane_frame: int, views: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> list[Answer]:
        """Add one frame and return the frames that are ready.

        Parameters
        ----------
        plane_frame : int
            Number of the frame within its plane, above all earlier ones. Missing frames make the averages older.
        views : ndarray
            (C, V, Y, X) raw counts in image order; not kept.
        missing : ndarray, optional
            (C, V, Y, X), True for pixels that were filled without a measurement.
        """
        return self._answer(self.calibration.push(plane_frame, views, missing))

    def flush(self) -> list[Answer]:
        """Denoise every frame inside without later frames, and forget them.

        If the calibration was not complete, these frames are calibrated on themselves and later frames anew.
        """
        uncalibrated = self.calibration.waiting
        answers = self._answer(self.calibration.measure(), last=True)
        self.reset(keep_scale=not uncalibrated)
        return answers

    def reset(self, *, keep_scale: bool = True) -> None:
        """Forget all frames, and without `keep_scale` also the calibration."""
        self.calibration.reset(keep_scale=keep_scale)
        self._contexts.reset()

    def _answer(self, frames: PlaneFrames, *, last: bool = False) -> list[Answer]:
        """Denoise the frames whose context is complete with these; with `last`, all frames inside."""
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
                mean_bias += np.mean(answer - context.views, axis=(1, 2, 3), dtype=np.float64) / len(contexts)
        counts = self.calibration.restore(answers, mean_bias, contexts[-1].plane_frame + 1)
        register = self._registration
        return [
            Answer(context.plane_frame, register.apply(image, context.motion) if register else image, context.motion)
            for image, context in zip(counts, contexts, strict=True)
        ]

    def _denoise(self, context: FrameContext) -> Image:
        """Return the denoised views (C, V, Y, X) of a frame, network units."""
        answer = np.empty(self._shape, np.float32)
        for c in range(len(answer)):
            answer[c] = self._denoise_channel(context, c)
        return answer

    def _denoise_channel(self, context: FrameContext, c: int) -> Image:
        """Return the denoised views of one channel (V, Y, X), or (Y, X) for an image of all views together."""
        views = context.views[c]
        if self._mean_of_views:
            return self._infer(context, c, mean_views(views[None])[0])
        if len(views) > 1:
            return np.stack([self._infer(context, c, view) for view in views])
        # An ordinary scan. The network was trained with the lines of one direction visible, so it runs twice. Each line
        # is denoised once from its own pixels and once without them; the mean of both is the result.
        [view] = views
        return np.float32(0.5) * (self._infer(context, c, view, "even") + self._infer(context, c, view, "odd"))

    def _infer(self, context: FrameContext, c: int, view: Image, visible: VisibleLines = "all") -> Image:
        inputs = network_inputs(view, context.averages[c], visible, context.later_frames[c])
        answer = self._engine.infer(pad(inputs, self._engine.card.grid))
        # Copied, because the engine may reuse the memory in its next call.
        return answer[0, : self._shape[2], : self._shape[3]].copy()
