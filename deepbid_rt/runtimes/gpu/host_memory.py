"""The host in the place of a GPU: torch on a CPU runs through the same steps, without graphs and without waiting."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.device import Device, HostDevice
from deepbid_rt.runtimes.gpu.device_memory import Buffer, Program, Queue
from deepbid_rt.runtimes.gpu.torch_memory import TorchBuffer, bytes_of, tensor_of


class HostMemory:
    """`deepbid_rt.runtimes.gpu.device_memory.DeviceMemory` in ordinary memory; every copy is done at once."""

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
        """Do nothing: all is done."""

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:  # the seam's signature
        """Return None: a CPU has no graphs."""
        return None

    def mark(self) -> Queue:
        """Return nothing to wait for."""
        return self.synchronize

    def program(self, text: bytes) -> Program:
        """Refuse: PTX is for a GPU."""
        raise EngineError("kernels for a GPU, and a CPU", expected="a GPU", todo="leave the frames to the host")

    def tensors(self) -> Device:
        """Return the host."""
        return HostDevice()

    def close(self) -> None:
        """Do nothing."""
