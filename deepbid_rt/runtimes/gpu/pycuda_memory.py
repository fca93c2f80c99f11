"""`PycudaMemory`: GPU memory owned by pycuda, in the primary context, which TensorRT uses too; no CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pycuda
import pycuda.driver as cuda
from numpy.typing import DTypeLike, NDArray

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.cuda_errors import check_alignment, cuda_failed, no_room
from deepbid_rt.runtimes.gpu.driver import CudaProgram
from deepbid_rt.runtimes.gpu.protocols import Buffer, Launch, Program, Wait


class PycudaBuffer:
    """An allocation on the device, or a part of one."""

    def __init__(self, allocation: Any, offset: int = 0) -> None:
        self.allocation = allocation
        self.address = check_alignment(int(allocation) + offset)


class PycudaMemory:
    """`deepbid_rt.runtimes.gpu.protocols.DeviceMemory` owned by pycuda.

    Each call makes the context current and restores the previous one, so any thread may call it, one at a time.
    """

    def __init__(self) -> None:
        try:
            cuda.init()
            self._context: Any = cuda.Device(0).retain_primary_context()
        except cuda.Error as error:
            raise EngineError(
                f"pycuda cannot use a GPU here ({error})",
                expected="a driver and a GPU",
                todo="check nvidia-smi, or use the .onnx file of the engine, which needs no GPU",
            ) from error
        self._programs: list[Program] = []
        with self.current():
            self._stream: Any = cuda.Stream()
        self.description = f"pycuda {pycuda.VERSION_TEXT}"

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream.handle)

    def allocate(self, nbytes: int) -> Buffer:
        """Return memory on the device."""
        try:
            with self.current():
                return PycudaBuffer(cuda.mem_alloc(nbytes))
        except cuda.MemoryError as error:
            raise no_room(f"{nbytes / 2**20:.0f} MiB") from error

    def part(self, buffer: Buffer, offset: int, nbytes: int) -> Buffer:
        """Return a part of a buffer."""
        if not isinstance(buffer, PycudaBuffer):
            raise TypeError(f"a buffer of another library: {buffer!r}")
        return PycudaBuffer(buffer.allocation, buffer.address - int(buffer.allocation) + offset)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array in page-locked memory."""
        with self.current():
            array: NDArray[Any] = cuda.pagelocked_empty(shape, np.dtype(dtype))
        return array

    def upload(self, buffer: Buffer, array: NDArray[Any]) -> None:
        """Queue a copy to the device."""
        with self.current(), _named():
            cuda.memcpy_htod_async(buffer.address, array, self._stream)

    def download(self, array: NDArray[Any], buffer: Buffer) -> None:
        """Queue a copy from the device."""
        with self.current(), _named():
            cuda.memcpy_dtoh_async(array, buffer.address, self._stream)

    def synchronize(self) -> None:
        """Wait until all queued work is done."""
        with self.current(), _named():
            self._stream.synchronize()

    def capture(self, work: Callable[[], None]) -> Launch | None:  # the protocol's signature
        """Return None: pycuda has no CUDA graphs."""
        return None

    def mark(self) -> Wait:
        """Return a function that waits for a CUDA event."""
        with self.current(), _named():
            events: list[Any] = [cuda.Event()]
            events[0].record(self._stream)

        def wait() -> None:
            with self.current(), _named():
                # pop: the event must be freed here, where its context is current, and not by another thread
                events.pop().synchronize()

        return wait

    def program(self, text: bytes) -> Program:
        """Load kernels from PTX."""
        self._programs.append(CudaProgram(text, self.current, self.stream))
        return self._programs[-1]

    def tensors(self) -> None:
        """Return None: pycuda computes no tensors."""

    def close(self) -> None:
        """Unload kernels and release the primary context."""
        if self._context is not None:
            for program in self._programs:
                program.close()
            context, self._context = self._context, None
            self._stream = None
            context.detach()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the primary context current, and restore the previous one."""
        self._context.push()
        try:
            yield
        finally:
            cuda.Context.pop()


@contextmanager
def _named() -> Iterator[None]:
    """Turn an error of pycuda into `StageError`."""
    try:
        yield
    except cuda.Error as error:
        raise cuda_failed(error) from error
