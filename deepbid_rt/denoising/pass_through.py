"""What a session puts out when its engine has failed: the raw pixels, marked as such."""

from __future__ import annotations

import dataclasses

import numpy as np

from deepbid_rt.denoising.denoised_stream import denoised_stream
from deepbid_rt.frame import Frame, FrameFlag, StreamInfo
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.splitter import ScanSplitter


class PassThrough:
    """Turns raw frames into frames of the shape of the denoised series, without an engine and without a state.

    Parameters
    ----------
    info : StreamInfo
        The raw series.
    merge : {"mean", "forward", "backward", "interleave"}
        How the two views of a collinear frame become one image.
    """

    def __init__(self, info: StreamInfo, merge: MergeMode = "mean") -> None:
        self._splitter = ScanSplitter(info, merge)
        self.info = denoised_stream(info, merge, {"engine": None})
        """Description of the series; equal to that of a `Denoiser` in shape, type and scan."""

    def push(self, frame: Frame) -> Frame:
        """Return the frame with its views merged and the flag ``NOT_DENOISED``; its array is a new one."""
        views = self._splitter.split(frame.pixels)
        pixels = self._splitter.join(views.astype(np.float32))
        return dataclasses.replace(frame, pixels=pixels, flags=frame.flags | FrameFlag.NOT_DENOISED)
