"""The seams of the data path: where frames come from, what denoises them, where they go.

Protocols only, and what passes through them. Every implementation passes the contract tests in ``tests/contract``.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.frame import Event, Frame, Gap, StreamEnd, StreamInfo


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

        A window of K frames is answered by as many, the inputs of a stream engine (`deepbid_rt.denoising.network_inputs.network_inputs`) by one
        (1, Y, X).
        """
        ...

    def close(self) -> None:
        """Release the runtime; may be called twice."""
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
