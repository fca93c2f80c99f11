"""`HostMemory`: ordinary memory in place of a GPU's, for torch on the CPU; no graphs, and nothing to wait for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.protocols import Buffer, Launch, Program, TensorDevice, Wait
from deepbid_rt.runtimes.gpu.torch_device import HostDevice
from deepbid_rt.runtimes.gpu.torch_memory import TorchBuffer, bytes_of, tensor_of


class HostMemory:
    """`deepbid_rt.runtimes.gpu.protocols.DeviceMemory` in ordinary memory; copies are done at once."""

    def __init__(self) -> None:
        self.description = f"torch {torch.__version__}"
        self.stream = 0

    def current(self) -> AbstractContextManager[object]:
        """Change nothing."""
        return nullcontext()

    def allocate(self, nbytes: int) -> Buffer:
        """Return ordinary memory."""
        return TorchBuffer(torch.empty(nbytes, dtype=torch.uint8))

    def part(self, buffer: Buffer, offset: int, nbytes: int) -> Buffer:
        """Return a part of a buffer."""
        return TorchBuffer(tensor_of(buffer)[offset : offset + nbytes])

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an ordinary array."""
        return np.empty(shape, dtype)

    def upload(self, buffer: Buffer, array: NDArray[Any]) -> None:
        """Copy."""
        tensor_of(buffer).copy_(bytes_of(array))

    def download(self, array: NDArray[Any], buffer: Buffer) -> None:
        """Copy."""
        bytes_of(array).copy_(tensor_of(buffer))

    def synchronize(self) -> None:
        """Do nothing: all work is done at once."""

    def capture(self, work: Callable[[], None]) -> Launch | None:  # the protocol's signature
        """Return None: a CPU has no graphs."""
        return None

    def mark(self) -> Wait:
        """Return a function that does nothing."""
        return self.synchronize

    def program(self, text: bytes) -> Program:
        """Raise `EngineError`: PTX needs a GPU."""
        raise EngineError("CUDA kernels on a CPU", expected="a GPU", todo="let the host prepare frames")

    def tensors(self) -> TensorDevice:
        """Return the CPU as a torch device."""
        return HostDevice()

    def close(self) -> None:
        """Do nothing."""
