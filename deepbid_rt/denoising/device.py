"""What an engine may offer when its network runs on a device with memory of its own, such as a GPU.

Protocols only. The denoisers ask an engine for them and do without when it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.window import FrameWindow
from deepbid_rt.frame import Motion, StreamInfo
from deepbid_rt.scan.directions import Merge
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer


@dataclass(frozen=True, slots=True)
class FrameStats:
    """What a `FramePipeline` measures of a frame beside its image."""

    motion: Motion
    mean_bias: NDArray[np.float64]
    """(C,) mean of the denoised views minus the mean of the input views, network units; not finite where a denoised
    pixel is not."""


class FramePipeline(Protocol):
    """One plane of a stream engine on a device: a raw frame goes up, a denoised frame comes down. For one thread."""

    description: str
    """Where frames are prepared and whether CUDA graphs run, for logs and reports."""

    def set_scale(self, normalizers: Sequence[Normalizer], bias: NDArray[np.float64] | None = None) -> None:
        """Set offset and scale of each channel, and the constant error of the engine's mean in network units (C,)."""
        ...

    def set_line_offset(self, line_offset: LineOffset | None) -> None:
        """Set by how much the backward lines of the following frames are moved; None (the initial value): not at all."""
        ...

    def reset(self) -> None:
        """Forget all frames. The scale and the line offset stay."""
        ...

    def skip(self, count: int) -> None:
        """Make the temporal averages older by `count` frames that never came."""
        ...

    def push(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], FrameStats]:
        """Denoise a raw frame (C, Y, X); the image (C, Y', X) is valid until the next call.

        Raises `StageError` when the device fails.
        """
        ...


@runtime_checkable
class DeviceEngine(Protocol):
    """An engine that may take whole frames to where its network is."""

    def open_planes(self, info: StreamInfo, merge: Merge) -> Sequence[FramePipeline]:
        """Return one pipeline for each plane of a series; pipelines returned by an earlier call must not be used again.

        Raises `EngineError` when the device cannot prepare these frames; the host then does it and calls
        `Engine.infer`.
        """
        ...


@runtime_checkable
class WindowEngine(Protocol):
    """An engine that may keep windows of frames where its network is."""

    def open_window(self, length: int, shape: tuple[int, int]) -> FrameWindow:
        """Return an empty window of `length` frames (Y, X). Raises `EngineError` when the device has no room."""
        ...
