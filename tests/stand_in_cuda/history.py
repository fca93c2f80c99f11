"""`KernelHistory` on the stand-in GPU, with numpy arrays in and out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from deepbid_rt.denoising.network_inputs import padded_size
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.runtimes.gpu import kernels
from deepbid_rt.runtimes.gpu.device_arrays import DeviceArrays
from deepbid_rt.runtimes.gpu.kernel_frame import FrameArrays
from deepbid_rt.runtimes.gpu.kernel_history import COPIES, KernelHistory
from deepbid_rt.runtimes.gpu.motion_numbers import MOTION_NUMBERS, STRIPS
from tests.fakes import stream
from tests.stand_in_cuda import StandInMemory


class CompensatedArrays(NamedTuple):
    """As `CompensatedTensors`."""

    motion: np.ndarray
    strips: np.ndarray
    averages: np.ndarray


class StandInHistory:
    """`KernelHistory` with the arrays of a frame around it."""

    def __init__(self, gains: tuple[float, ...], channels: int, views: int, size: tuple[int, int]) -> None:
        self.memory = StandInMemory()
        arrays = DeviceArrays(self.memory)
        scan = ScanGeometry("collinear" if views == 2 else "ordinary")
        info = stream((channels, size[0] * views, size[1]), np.float32, scan)
        self._numbers = arrays.empty(MOTION_NUMBERS, dtype=np.float64)
        self._frames = FrameArrays(info, "mean", padded_size(size, 8), 1, arrays)
        frame = self._frames.frame
        self._shape = channels, len(gains) + 3, *padded_size(size, 8)
        self._inputs = arrays.empty(*self._shape)
        frame.given = self._inputs.address
        program = self.memory.program(kernels.program())
        self.history = KernelHistory(gains, channels, size, arrays, program, self._numbers)
        self._launches = [self.history.bind(frame, slot) for slot in range(COPIES)]
        self._arrays, self._size, self._slot = arrays, size, 0
        self.history.reset(0)

    @property
    def rigid(self) -> bool:
        return self.history.rigid

    def push(self, units: np.ndarray) -> CompensatedArrays:
        """Return the motion of a frame (C, V, Y, X) and the averages of the frames before it, in its place."""
        self.at(self._frames.frame.units, units.shape)[...] = units
        with self.memory.current():
            for launch in self._launches[self._slot]:
                launch()
        self._slot = 1 - self._slot
        numbers = self._arrays.read(self._numbers, MOTION_NUMBERS, dtype=np.float64)
        inputs = self._arrays.read(self._inputs, *self._shape)[..., : self._size[0], : self._size[1]]
        means, weight = inputs[:, 3:], inputs[:, 2:3]
        averages = np.concatenate([np.where(weight > 0, means, 0), weight], axis=1)
        return CompensatedArrays(numbers[:4], numbers[4:].reshape(2, STRIPS), averages)

    def skip(self, count: int) -> None:
        self.history.skip(count, self._slot)

    def reset(self) -> None:
        self.history.reset(self._slot)

    def at(self, address: int, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
        """An array on the device."""
        return self.memory.arrays[address].view(dtype)[: int(np.prod(shape))].reshape(shape)
