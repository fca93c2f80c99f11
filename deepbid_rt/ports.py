"""The three interfaces of the data path: a source delivers frames, an engine denoises arrays, a sink accepts frames.

To add a microscope, a runtime or an output, implement one of these protocols. Every implementation passes the contract
tests in ``tests/contract``.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.frame import Event, Frame, Gap, StreamEnd, StreamInfo


class FrameSource(Protocol):
    """Delivers the events of one series after the other. Used by one thread at a time."""

    def open(self) -> None:
        """Open sockets or files. Raises `RefusedError` when that is impossible."""
        ...

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event, or None when there was none within `timeout_s` seconds.

        The pixels of a frame are valid until the next call, because the source may reuse its array. After a
        `StreamEnd` a live source may continue with another `StreamInfo`; a file source returns None from then on.
        """
        ...

    def close(self) -> None:
        """Release everything. May be called twice."""
        ...


class Engine(Protocol):
    """Runs a network: arrays in, denoised arrays out.

    An engine keeps no state from one call to the next. All temporal state is in the `Denoiser`, so live and offline
    results are equal.
    """

    @property
    def card(self) -> ModelCard:
        """What the engine needs as input and what it returns."""
        ...

    @property
    def description(self) -> str:
        """Runtime, device and precision, for logs and reports."""
        ...

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Prepare for inputs of shape (K, Y, X) with K = `ModelCard.depth`; called before the first `infer`.

        Raises `EngineError` when the engine cannot take this shape.
        """
        ...

    def infer(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Denoise one C-contiguous input (K, Y, X) in network units.

        A window engine returns all K frames (K, Y, X). A stream engine, whose input is described at
        `deepbid_rt.denoising.network_inputs.network_inputs`, returns one image (1, Y, X). The next call may overwrite
        the result.
        """
        ...

    def close(self) -> None:
        """Release the runtime. May be called twice."""
        ...


class Sink(Protocol):
    """Accepts the frames of one series after the other. Used by one thread at a time."""

    def start(self, info: StreamInfo) -> None:
        """Begin a series. Raises `RefusedError` when the sink cannot accept it."""
        ...

    def put(self, frame: Frame) -> None:
        """Accept one frame. The sink may keep its pixels. They are read-only, because all sinks share them."""
        ...

    def skip(self, gap: Gap) -> None:
        """Accept the report that frames are missing."""
        ...

    def end(self, end: StreamEnd) -> None:
        """Finish the series; `start` may follow."""
        ...

    def close(self) -> None:
        """Release everything. May be called twice, and without `end`."""
        ...
