"""The seams of the data path: where frames come from, what denoises them, where they go.

Protocols only, and what passes through them. Every implementation passes the contract tests in ``tests/contract``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.frame import Event, Frame, Gap, Motion, StreamEnd, StreamInfo
from deepbid_rt.scan.directions import Merge
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer


class FrameSource(Protocol):
    """Where frames come from. Used by one thread at a time."""

    def open(self) -> None:
        """Acquire sockets or files. Raises `RefusedError` when that is impossible."""
        ...

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event, or None when none came in time.

        A frame's pixels stay valid until the next call. After a `StreamEnd` a live source may go on with a
        further `StreamInfo`; a file source returns None for ever.
        """
        ...

    def close(self) -> None:
        """Release everything; may be called twice."""
        ...


class Engine(Protocol):
    """Arrays in, denoised arrays out; stateless between calls. Knows no socket, file, clock or scan."""

    @property
    def card(self) -> ModelCard:
        """What the engine expects and promises."""
        ...

    @property
    def description(self) -> str:
        """Runtime, device and precision, for logs and reports."""
        ...

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Prepare for inputs of shape (K, Y, X), K the card's depth; called before the first `infer` of a session.

        Raises `EngineError` when the engine cannot take this shape.
        """
        ...

    def infer(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Denoise a C-contiguous input (K, Y, X) in normalised units; the result may be reused by the next call.

        A window of K frames is answered by as many, the inputs of a stream engine (`deepbid_rt.motion.history.inputs_of`) by one
        (1, Y, X).
        """
        ...

    def close(self) -> None:
        """Release the runtime; may be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class FrameStats:
    """What a `FramePipeline` says of a frame beside its image."""

    motion: Motion
    excess: NDArray[np.float64]
    """(C,) mean of the answers less that of what was given, network units; not finite where an answer is not."""


class FramePipeline(Protocol):
    """One plane of a stream engine on a device: a raw frame goes up, a denoised frame comes down. For one thread."""

    description: str
    """Where frames are prepared and whether graphs run, for logs and reports."""

    def scale(self, normalizers: Sequence[Normalizer], bias: NDArray[np.float64] | None = None) -> None:
        """Tell offset and scale of each channel, and the constant error of the engine's mean in network units (C,)."""
        ...

    def align(self, alignment: LineOffset | None) -> None:
        """Tell what the backward lines of the next frames go through; None: nothing, as in the beginning."""
        ...

    def reset(self) -> None:
        """Forget all frames, but not the scale nor the alignment."""
        ...

    def skip(self, count: int) -> None:
        """Let `count` frames pass that never came."""
        ...

    def step(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], FrameStats]:
        """Denoise a raw frame (C, Y, X); the image (C, Y', X) is valid until the next call.

        Raises `StageError` when the device fails.
        """
        ...


@runtime_checkable
class DeviceEngine(Protocol):
    """An engine that may take whole frames to where its network is."""

    def open_planes(self, info: StreamInfo, merge: Merge) -> Sequence[FramePipeline]:
        """Return one pipeline for each plane of a series; those returned before are of no use any more.

        Raises `EngineError` when it cannot: then views go through `Engine.infer`.
        """
        ...


@runtime_checkable
class WindowOnDevice(Protocol):
    """A `deepbid_rt.denoising.window.FrameWindow` that the engine denoises where it lies."""

    @property
    def filled(self) -> int:
        """As of `FrameWindow`."""
        ...

    def push(self, frame: NDArray[np.float32]) -> None:
        """As of `FrameWindow`."""
        ...

    def view(self) -> NDArray[np.float32]:
        """As of `FrameWindow`: the copy on the host."""
        ...

    def clear(self) -> None:
        """As of `FrameWindow`."""
        ...

    def infer(self) -> NDArray[np.float32]:
        """Return what `Engine.infer` answers to `view`, valid until the next call."""
        ...


@runtime_checkable
class WindowEngine(Protocol):
    """An engine that may keep windows where its network is."""

    def open_window(self, length: int, shape: tuple[int, int]) -> WindowOnDevice:
        """Return an empty window of `length` frames (Y, X). Raises `EngineError` when it cannot."""
        ...


class Sink(Protocol):
    """Where frames go. Used by one thread at a time."""

    def start(self, info: StreamInfo) -> None:
        """Begin a series. Raises `RefusedError` when the sink cannot take it."""
        ...

    def put(self, frame: Frame) -> None:
        """Take one frame; its pixels may be kept."""
        ...

    def skip(self, gap: Gap) -> None:
        """FrameStats frames that will not come."""
        ...

    def end(self, end: StreamEnd) -> None:
        """Finish the series; `start` may follow."""
        ...

    def close(self) -> None:
        """Release everything; may be called twice and without `end`."""
        ...
