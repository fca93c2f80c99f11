"""`DeviceArrays`: arrays on the device, allocated through a `DeviceMemory` and kept together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from deepbid_rt.runtimes.gpu.protocols import Buffer, DeviceMemory


class DeviceArrays:
    """Allocates arrays and keeps them as long as it exists.

    Parameters
    ----------
    memory : DeviceMemory
        Not closed here.
    """

    def __init__(self, memory: DeviceMemory) -> None:
        self.memory = memory
        self._buffers: list[Buffer] = []
        self._staging: dict[Any, NDArray[Any]] = {}

    def empty(self, *shape: int, dtype: DTypeLike = np.float32) -> Buffer:
        """Return an uninitialised array. Raises `EngineError` when there is not enough memory."""
        buffer = self.memory.allocate(max(math.prod(shape), 1) * np.dtype(dtype).itemsize)
        self._buffers.append(buffer)
        return buffer

    def copy_of(self, array: NDArray[Any]) -> Buffer:
        """Return a copy of an array of the host. Raises `EngineError` when there is not enough memory."""
        buffer = self.empty(*array.shape, dtype=array.dtype)
        self.fill(buffer, array)
        return buffer

    def fill(self, buffer: Buffer, array: NDArray[Any]) -> None:
        """Copy an array to the device after all work queued before. Raises `StageError` when the device fails."""
        pinned = self._pinned(array.shape, array.dtype)
        np.copyto(pinned, array)
        self.memory.upload(buffer, pinned)
        self.memory.synchronize()  # the next call writes to the same pinned array

    def read(self, buffer: Buffer, *shape: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return an array after all work queued before. Raises `StageError` when the device fails."""
        pinned = self._pinned(shape, np.dtype(dtype))
        self.memory.download(pinned, buffer)
        self.memory.synchronize()
        return pinned.copy()

    def _pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array in page-locked memory, one per shape and type: allocating it takes longer than copying."""
        kind = shape, dtype.str
        if kind not in self._staging:
            self._staging[kind] = self.memory.pinned(shape, dtype)
        return self._staging[kind]
