"""Optional interfaces of engines whose network runs on a device with its own memory, such as a GPU.

Copying every input to the device and every output back costs time. An engine may instead keep whole frames there
(`DeviceEngine`) or windows of frames (`WindowEngine`). The denoisers use these interfaces where an engine has them, and
`Engine.infer` otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.frame_window import FrameWindow
from deepbid_rt.frame import Motion, StreamInfo
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer


@dataclass(frozen=True, slots=True)
class FrameStats:
    """Measurements of one frame that a `FramePipeline` returns with the denoised image."""

    motion: Motion
    mean_bias: NDArray[np.float64]
    """(C,) mean of the denoised views minus mean of the input views, network units. Not finite when the denoised views
    contain a value that is not."""


class FramePipeline(Protocol):
    """Denoises the frames of one plane on a device, from raw frame to denoised frame. Used by one thread."""

    description: str
    """Device that prepares the frames, and whether it runs CUDA graphs; for logs and reports."""

    def set_scale(self, normalizers: Sequence[Normalizer], bias: NDArray[np.float64] | None = None) -> None:
        """Set offset and scale of each channel, and the bias of the engine (C,) in network units."""
        ...

    def set_line_offset(self, line_offset: LineOffset | None) -> None:
        """Set the line-phase correction of the following frames; None, the initial value, is no correction."""
        ...

    def reset(self) -> None:
        """Forget all frames. The scale and the line offset are kept."""
        ...

    def skip(self, count: int) -> None:
        """Make the temporal averages older by `count` missing frames."""
        ...

    def push(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], FrameStats]:
        """Denoise one raw frame.

        Parameters
        ----------
        pixels : ndarray
            (C, Y, X) as scanned, in the type of the stream.

        Returns
        -------
        image : ndarray
            (C, Y', X) merged, in the type of the stream; valid until the next call.
        stats : FrameStats

        Raises
        ------
        StageError
            When the device fails.
        """
        ...


@runtime_checkable
class DeviceEngine(Protocol):
    """An engine that can denoise whole frames on its device."""

    def open_planes(self, info: StreamInfo, merge: MergeMode) -> Sequence[FramePipeline]:
        """Return one pipeline for each plane of a series. Pipelines from an earlier call must not be used any more.

        Raises `EngineError` when the device cannot prepare these frames. The host then prepares them and calls
        `Engine.infer`.
        """
        ...


@runtime_checkable
class WindowEngine(Protocol):
    """An engine that can keep windows of frames on its device."""

    def open_window(self, length: int, shape: tuple[int, int]) -> FrameWindow:
        """Return an empty window of `length` frames (Y, X). Raises `EngineError` when the device lacks memory."""
        ...
