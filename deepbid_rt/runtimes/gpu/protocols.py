"""Protocols of GPU memory and of what runs on it; every other module of this folder builds on them.

Implementations: `driver` (kernels), `torch_memory`, `pycuda_memory` and `host_memory` (memory), `torch_device` (torch).
`open_memory` chooses one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:  # pycuda works without torch
    import torch
    from torch import Tensor

Launch = Callable[[], None]
"""Queues work on a stream of the device and returns at once."""
Wait = Callable[[], None]
"""Waits until work is done that was queued before. Raises `StageError` when some of it failed."""
Extent = tuple[int, int, int]
"""Numbers of blocks or of threads along x, y and z."""
ALIGNMENT = 256
"""Bytes. An address given to TensorRT must be a multiple of it."""


class Buffer(Protocol):
    """Memory on the device. It is freed when this object is."""

    @property
    def address(self) -> int:
        """Address of the first byte; a multiple of `ALIGNMENT`."""
        ...


class Program(Protocol):
    """Compiled kernels on the device; see `deepbid_rt.runtimes.gpu.driver.CudaProgram`."""

    def bind(self, name: str, grid: Extent, block: Extent, *arguments: ctypes.Structure) -> Launch:
        """Return a function that launches a kernel on the memory's stream; call it inside `DeviceMemory.current`."""
        ...

    def close(self) -> None:
        """Unload the program; may be called twice."""
        ...


class DeviceMemory(Protocol):
    """Memory and one stream of one GPU, for one thread at a time. Sizes are in bytes."""

    @property
    def description(self) -> str:
        """Library that owns the memory, for logs."""
        ...

    @property
    def stream(self) -> int:
        """Handle of the stream that all work is queued on; never the default stream."""
        ...

    def current(self) -> AbstractContextManager[object]:
        """Return a context in which CUDA calls of this thread go to this GPU."""
        ...

    def allocate(self, nbytes: int) -> Buffer:
        """Return memory on the device. Raises `EngineError` when there is not enough."""
        ...

    def part(self, buffer: Buffer, offset: int, nbytes: int) -> Buffer:
        """Return a part of a buffer; the whole buffer stays allocated as long as one of its parts is held."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array in page-locked memory of the host."""
        ...

    def upload(self, buffer: Buffer, array: NDArray[Any]) -> None:
        """Queue a copy of a pinned, C-contiguous array to the device."""
        ...

    def download(self, array: NDArray[Any], buffer: Buffer) -> None:
        """Queue a copy from the device into a pinned, C-contiguous array."""
        ...

    def synchronize(self) -> None:
        """Wait until all queued work is done. Raises `StageError` when some of it failed."""
        ...

    def capture(self, work: Callable[[], None]) -> Launch | None:
        """Capture what `work` queues as a CUDA graph; return its launch, or None where graphs are not possible."""
        ...

    def mark(self) -> Wait:
        """Return a function that waits until everything queued so far is done."""
        ...

    def program(self, text: bytes) -> Program:
        """Load kernels from PTX; `close` unloads them. Raises `EngineError` when the driver refuses them."""
        ...

    def tensors(self) -> TensorDevice | None:
        """Return the torch device that computes on this stream; None when the owner of the memory is not torch."""
        ...

    def close(self) -> None:
        """Release everything; may be called twice."""
        ...


class TensorDevice(Protocol):
    """A torch device with one stream, for one thread; the torch version of `DeviceMemory`."""

    name: str
    place: torch.device

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a zero tensor in page-locked memory of the host."""
        ...

    def prepare(self, work: Callable[[], None]) -> tuple[Launch, bool]:
        """Warm `work` up; return a function that queues it, and True when that replays a CUDA graph."""
        ...

    def do(self, work: Callable[[], None]) -> None:
        """Run `work` once, after everything queued before, and wait for it. Raises `StageError` when it fails."""
        ...

    def mark(self) -> Wait:
        """Return a function that waits until everything queued so far is done."""
        ...
