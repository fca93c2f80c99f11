"""Where a pipeline of tensors runs: a CUDA GPU with a stream and graphs, or the host in its place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from deepbid_rt.errors import StageError
from deepbid_rt.runtimes.gpu.device_memory import cuda_failed

log = logging.getLogger(__name__)

Queue = Callable[[], None]
WARM_UPS = 3
"""Runs in which libraries choose their algorithms, before a graph is captured."""


class Device(Protocol):
    """One stream of work on tensors, for one thread."""

    name: str
    place: torch.device

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a tensor on the host that copies to and from the device in one go."""
        ...

    def prepare(self, work: Queue) -> tuple[Queue, bool]:
        """Run `work` until it is warm; return what queues it from then on, and whether that is a graph."""
        ...

    def do(self, work: Queue) -> None:
        """Run `work` once, after all that was queued before, and wait for it."""
        ...

    def mark(self) -> Queue:
        """Return what waits until all that was queued so far is done. Raises `StageError` when some of it failed."""
        ...


class HostDevice:
    """The host: everything is done when it is queued."""

    name = "CPU"

    def __init__(self) -> None:
        self.place = torch.device("cpu")

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a tensor."""
        return torch.zeros(shape, dtype=dtype)

    def prepare(self, work: Queue) -> tuple[Queue, bool]:
        """Return `work`."""
        return work, False

    def do(self, work: Queue) -> None:
        """Run `work`."""
        work()

    def mark(self) -> Queue:
        """Return nothing to wait for."""
        return _nothing


class CudaDevice:
    """A CUDA GPU.

    Parameters
    ----------
    graphs : bool
        Whether to capture graphs; without them every operation is queued by Python.
    stream : torch.cuda.Stream, optional
        Of which to be a part; one of its own if left out.
    """

    def __init__(self, *, graphs: bool = True, stream: Any = None) -> None:
        self.place = torch.device("cuda")
        self.name = torch.cuda.get_device_name()
        self._graphs = graphs
        self._stream = stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._pool: Any = None

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a tensor in page-locked memory."""
        return torch.zeros(shape, dtype=dtype).pin_memory()

    def prepare(self, work: Queue) -> tuple[Queue, bool]:
        """Run `work` a few times, then capture it; where that fails it is queued operation by operation."""

        def eager() -> None:
            with torch.cuda.stream(self._stream):
                work()

        torch.cuda.synchronize()  # what `work` reads was made on another stream
        for _ in range(WARM_UPS):
            eager()
        self._stream.synchronize()
        if not self._graphs:
            return eager, False
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                work()
        except (RuntimeError, StageError) as error:
            log.warning("no CUDA graph, every operation is queued by itself: %s", str(error).splitlines()[0])
            return eager, False
        self._pool = self._pool or graph.pool()

        def replay() -> None:
            with torch.cuda.stream(self._stream):
                graph.replay()

        return replay, True

    def do(self, work: Queue) -> None:
        """Run `work` on the stream and wait for it."""
        try:
            with torch.cuda.stream(self._stream):
                work()
            self._stream.synchronize()
        except RuntimeError as error:
            raise cuda_failed(error) from error

    def mark(self) -> Queue:
        """Return what waits for an event."""
        event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch does not annotate it
        event.record(self._stream)

        def wait() -> None:
            try:
                event.synchronize()
            except RuntimeError as error:
                raise cuda_failed(error) from error

        return wait


def _nothing() -> None:
    pass
