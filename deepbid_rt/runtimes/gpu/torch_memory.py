"""`TorchMemory`: GPU memory owned by torch, in the primary context, with its own stream and CUDA graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from deepbid_rt.errors import EngineError, StageError
from deepbid_rt.runtimes.gpu.cuda_errors import check_alignment, cuda_failed, no_room
from deepbid_rt.runtimes.gpu.driver import CudaProgram
from deepbid_rt.runtimes.gpu.protocols import Buffer, Launch, Program, TensorDevice, Wait
from deepbid_rt.runtimes.gpu.torch_device import CudaDevice

log = logging.getLogger(__name__)


def cuda_is_available() -> bool:
    """Return True when torch was built for CUDA and finds a GPU."""
    return torch.cuda.is_available()


class TorchBuffer:
    """The memory of a contiguous tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.address = check_alignment(tensor.data_ptr()) if tensor.is_cuda else tensor.data_ptr()


class TorchMemory:
    """`deepbid_rt.runtimes.gpu.protocols.DeviceMemory` owned by torch."""

    def __init__(self) -> None:
        if not cuda_is_available():
            raise EngineError(
                f"torch {torch.__version__} cannot use a GPU here",
                expected="torch built for CUDA, a driver and a GPU",
                todo="install torch for CUDA, or take pycuda",
            )
        self._stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._programs: list[Program] = []
        self._device = CudaDevice(stream=self._stream)
        self.description = f"torch {torch.__version__}, CUDA {torch.version.cuda}"

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream.cuda_stream)

    def current(self) -> AbstractContextManager[object]:
        """Return a context in which the stream is torch's current one."""
        return torch.cuda.stream(self._stream)

    def allocate(self, nbytes: int) -> Buffer:
        """Return memory on the device."""
        try:
            return TorchBuffer(torch.empty(nbytes, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError as error:
            raise no_room(f"{nbytes / 2**20:.0f} MiB") from error

    def part(self, buffer: Buffer, offset: int, nbytes: int) -> Buffer:
        """Return a part of a buffer."""
        return TorchBuffer(tensor_of(buffer)[offset : offset + nbytes])

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array in page-locked memory."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        tensor = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        array: NDArray[Any] = tensor.numpy().view(kind).reshape(shape)  # keeps the tensor
        return array

    def upload(self, buffer: Buffer, array: NDArray[Any]) -> None:
        """Queue a copy to the device."""
        with self.current():
            tensor_of(buffer).copy_(bytes_of(array), non_blocking=True)

    def download(self, array: NDArray[Any], buffer: Buffer) -> None:
        """Queue a copy from the device."""
        with self.current():
            bytes_of(array).copy_(tensor_of(buffer), non_blocking=True)

    def synchronize(self) -> None:
        """Wait until all queued work is done."""
        try:
            self._stream.synchronize()
        except RuntimeError as error:
            raise cuda_failed(error) from error

    def capture(self, work: Callable[[], None]) -> Launch | None:
        """Capture a CUDA graph; return None when the driver or the network cannot be captured."""
        graph = torch.cuda.CUDAGraph()
        self.synchronize()
        try:
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                work()
        except (RuntimeError, StageError) as error:
            log.warning("no CUDA graph: %s", str(error).splitlines()[0])
            return None

        def replay() -> None:
            with self.current():
                graph.replay()

        return replay

    def mark(self) -> Wait:
        """Return a function that waits for a CUDA event."""
        return self._device.mark()

    def program(self, text: bytes) -> Program:
        """Load kernels from PTX."""
        self._programs.append(CudaProgram(text, self.current, self.stream))
        return self._programs[-1]

    def tensors(self) -> TensorDevice:
        """Return the GPU as a torch device with this stream."""
        return self._device

    def close(self) -> None:
        """Unload kernels. Buffers are freed with their last reference; torch keeps their memory for its next use."""
        for program in self._programs:
            program.close()


def tensor_of(buffer: Buffer) -> Tensor:
    """Return the bytes of a buffer owned by torch. Raises TypeError for a buffer of another owner."""
    if not isinstance(buffer, TorchBuffer):
        raise TypeError(f"a buffer of another library: {buffer!r}")
    return buffer.tensor


def bytes_of(array: NDArray[Any]) -> Tensor:
    """Return the bytes of a C-contiguous array as a tensor that shares its memory."""
    return torch.from_numpy(array.reshape(-1).view(np.uint8))
