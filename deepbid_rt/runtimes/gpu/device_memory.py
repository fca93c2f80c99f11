"""The seam to the memory of a GPU: who owns it, how arrays travel, kernels that run there, and graphs of such work.

Two libraries can own it: torch, which also captures CUDA graphs, and pycuda, which is small. Knows nothing of networks.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from numpy.typing import DTypeLike, NDArray

from deepbid_rt.errors import EngineError, StageError

if TYPE_CHECKING:  # the first is torch's, which pycuda does without
    import ctypes

    from deepbid_rt.runtimes.gpu.device import Device

Owner = Literal["auto", "torch", "pycuda"]
Queue = Callable[[], None]
Extent = tuple[int, int, int]
"""Numbers of blocks or of threads along x, y and z."""
ALIGNMENT = 256
"""Bytes that an address given to TensorRT must be a multiple of."""


class Buffer(Protocol):
    """Memory on the device, kept as long as this object is."""

    @property
    def address(self) -> int:
        """Where it begins; a multiple of `ALIGNMENT`."""
        ...


class Program(Protocol):
    """Kernels on the device; see `deepbid_rt.runtimes.gpu.driver.Kernels`."""

    def bind(self, name: str, grid: Extent, block: Extent, *arguments: ctypes.Structure) -> Queue:
        """Return what queues a kernel on the memory's stream, inside `DeviceMemory.current`."""
        ...

    def close(self) -> None:
        """Give it back; may be called twice."""
        ...


class DeviceMemory(Protocol):
    """One GPU, one stream, for one thread at a time. Sizes in bytes."""

    @property
    def description(self) -> str:
        """Who owns the memory, for logs."""
        ...

    @property
    def stream(self) -> int:
        """Handle of the stream that all work is queued on; never the default stream."""
        ...

    def current(self) -> AbstractContextManager[object]:
        """Return a context in which this thread's CUDA calls meet this GPU."""
        ...

    def allocate(self, nbytes: int) -> Buffer:
        """Return memory on the device. Raises `EngineError` when there is not enough."""
        ...

    def part(self, buffer: Buffer, offset: int, nbytes: int) -> Buffer:
        """Return a part of a buffer, which is kept as long as its parts."""
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

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """Record what `work` queues and return what queues it again at once; None where graphs are not possible."""
        ...

    def mark(self) -> Queue:
        """Return what waits until all that was queued so far is done. It raises `StageError` when some of it failed."""
        ...

    def program(self, text: bytes) -> Program:
        """Load kernels, in PTX. Raises `EngineError` when the device does not take them."""
        ...

    def tensors(self) -> Device | None:
        """Return where tensors are computed with on this stream; None when the owner has no tensors."""
        ...

    def close(self) -> None:
        """Release everything; may be called twice."""
        ...


def open_memory(owner: Owner = "auto") -> DeviceMemory:
    """Open the GPU's memory.

    Parameters
    ----------
    owner : {"auto", "torch", "pycuda"}
        ``auto``: torch where it is installed with CUDA, because it captures graphs; else pycuda.

    Raises
    ------
    EngineError
        When neither library is installed, or the one asked for cannot use the GPU.
    """
    if owner in ("auto", "torch") and importlib.util.find_spec("torch"):
        from deepbid_rt.runtimes.gpu.torch_memory import TorchMemory, cuda_is_there

        if owner == "torch" or cuda_is_there():
            return TorchMemory()
    if owner in ("auto", "pycuda") and importlib.util.find_spec("pycuda"):
        from deepbid_rt.runtimes.gpu.pycuda_memory import PycudaMemory

        return PycudaMemory()
    raise EngineError(
        "no library that can own the GPU's memory" if owner == "auto" else f"{owner} cannot be used here",
        expected="pycuda, or torch built for CUDA",
        todo='run pip install "deepbid-rt[tensorrt]", or use the .onnx file of the engine, which needs no GPU',
    )


def check_alignment(address: int) -> int:
    """Return the address of device memory. Raises `EngineError` when TensorRT could not use it."""
    if address == 0 or address % ALIGNMENT:
        raise EngineError(
            f"device memory at address {address:#x}",
            expected=f"an address that is a multiple of {ALIGNMENT}",
            todo="report this with the versions of torch, pycuda and the driver",
        )
    return address


def no_room(what: str) -> EngineError:
    """Return the refusal of a GPU that has too little memory for `what`."""
    return EngineError(
        f"the GPU has no room for {what}",
        expected="that much free memory on the GPU",
        todo="end other programs that use the GPU (nvidia-smi), or choose a smaller frame",
    )


def cuda_failed(error: BaseException) -> StageError:
    """Return the named failure of a session whose GPU stopped working; the recording up to here is whole."""
    return StageError(
        f"the GPU failed in the middle of the session ({_first_line(error)})",
        expected="a GPU that goes on answering",
        todo="check nvidia-smi and the system log, then start again; what was recorded is whole",
    )


def cuda_refused(what: str, error: BaseException) -> EngineError:
    """Return the refusal of an engine that the GPU did not run even once, before any stream."""
    return EngineError(
        f"the GPU failed when {what} was run for the first time ({_first_line(error)})",
        expected="an answer before the stream starts",
        todo="check nvidia-smi and the system log, then start again",
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
