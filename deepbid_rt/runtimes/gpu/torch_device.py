"""Torch devices: a CUDA GPU with its own stream and CUDA graphs, and the CPU in its place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deepbid_rt.errors import StageError
from deepbid_rt.runtimes.gpu.cuda_errors import cuda_failed
from deepbid_rt.runtimes.gpu.protocols import Launch, Wait

log = logging.getLogger(__name__)

WARM_UPS = 3
"""Runs before a graph is captured, in which libraries choose their algorithms."""


class HostDevice:
    """The CPU: all work is done when it is queued."""

    name = "CPU"

    def __init__(self) -> None:
        self.place = torch.device("cpu")

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a zero tensor."""
        return torch.zeros(shape, dtype=dtype)

    def prepare(self, work: Callable[[], None]) -> tuple[Launch, bool]:
        """Return `work`."""
        return work, False

    def do(self, work: Callable[[], None]) -> None:
        """Run `work`."""
        work()

    def mark(self) -> Wait:
        """Return a function that does nothing."""
        return _nothing


class CudaDevice:
    """A CUDA GPU.

    Parameters
    ----------
    graphs : bool
        Whether to capture CUDA graphs; without them Python queues every operation.
    stream : torch.cuda.Stream, optional
        The stream to use; a new one if left out.
    """

    def __init__(self, *, graphs: bool = True, stream: Any = None) -> None:
        self.place = torch.device("cuda")
        self.name = torch.cuda.get_device_name()
        self._graphs = graphs
        self._stream = stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._pool: Any = None

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a zero tensor in page-locked memory."""
        return torch.zeros(shape, dtype=dtype).pin_memory()

    def prepare(self, work: Callable[[], None]) -> tuple[Launch, bool]:
        """Run `work` a few times, then capture it; where that fails its operations are queued one by one."""

        def eager() -> None:
            with torch.cuda.stream(self._stream):
                work()

        torch.cuda.synchronize()  # the inputs of `work` were made on another stream
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

    def do(self, work: Callable[[], None]) -> None:
        """Run `work` on the stream and wait for it."""
        try:
            with torch.cuda.stream(self._stream):
                work()
            self._stream.synchronize()
        except RuntimeError as error:
            raise cuda_failed(error) from error

    def mark(self) -> Wait:
        """Return a function that waits for a CUDA event."""
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
