"""Arrays on the device by the seam alone: made, filled once, and kept together. Knows nothing of what they are for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from deepbid_rt.runtimes.gpu.device_memory import Buffer, DeviceMemory


class Arrays:
    """Memory of one owner, kept as long as this object is.

    Parameters
    ----------
    memory : DeviceMemory
        Not closed here.
    """

    def __init__(self, memory: DeviceMemory) -> None:
        self.memory = memory
        self._kept: list[Buffer] = []
        self._staging: dict[Any, NDArray[Any]] = {}

    def empty(self, *shape: int, dtype: DTypeLike = np.float32) -> Buffer:
        """Return room for an array. Raises `EngineError` when there is not enough."""
        buffer = self.memory.allocate(max(math.prod(shape), 1) * np.dtype(dtype).itemsize)
        self._kept.append(buffer)
        return buffer

    def holding(self, array: NDArray[Any]) -> Buffer:
        """Return a copy of an array. Raises `EngineError` when there is not enough room."""
        buffer = self.empty(*array.shape, dtype=array.dtype)
        self.fill(buffer, array)
        return buffer

    def fill(self, buffer: Buffer, array: NDArray[Any]) -> None:
        """Copy an array there after all that was queued before. Raises `StageError` when the device fails."""
        pinned = self._pinned(array.shape, array.dtype)
        np.copyto(pinned, array)
        self.memory.upload(buffer, pinned)
        self.memory.synchronize()  # the next call writes to the same pinned array

    def read(self, buffer: Buffer, *shape: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return what stands there after all that was queued before. Raises `StageError` when the device fails."""
        pinned = self._pinned(shape, np.dtype(dtype))
        self.memory.download(pinned, buffer)
        self.memory.synchronize()
        return pinned.copy()

    def _pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array in page-locked memory: one for each shape, as it takes longer to make than to copy."""
        kind = shape, dtype.str
        if kind not in self._staging:
            self._staging[kind] = self.memory.pinned(shape, dtype)
        return self._staging[kind]
