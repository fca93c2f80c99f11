"""The past in kernels, on the stand-in: takes and gives arrays, as the numpy class does."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from deepbid_rt.denoising.network_inputs import padded_size
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.runtimes.gpu import kernels
from deepbid_rt.runtimes.gpu.arrays import Arrays
from deepbid_rt.runtimes.gpu.kernel_frame import FrameArrays
from deepbid_rt.runtimes.gpu.kernel_history import NOTE, STRIPS, TURNS, KernelHistory
from tests.fakes import stream
from tests.stand_in_cuda import StandInMemory


class Seen(NamedTuple):
    motion: np.ndarray
    bend: np.ndarray
    averages: np.ndarray


class StandInPast:
    """`KernelHistory` with the arrays of a frame around it."""

    def __init__(self, gains: tuple[float, ...], channels: int, views: int, size: tuple[int, int]) -> None:
        self.memory = StandInMemory()
        arrays = Arrays(self.memory)
        scan = ScanGeometry("collinear" if views == 2 else "ordinary")
        info = stream((channels, size[0] * views, size[1]), np.float32, scan)
        self._note = arrays.empty(NOTE, dtype=np.float64)
        self._frames = FrameArrays(info, "mean", padded_size(size, 8), 1, arrays)
        frame = self._frames.frame
        self._shape = channels, len(gains) + 3, *padded_size(size, 8)
        self._given = arrays.empty(*self._shape)
        frame.given = self._given.address
        self.history = KernelHistory(gains, channels, size, arrays, self.memory.program(kernels.program()), self._note)
        self._queues = [self.history.push(frame, turn) for turn in range(TURNS)]
        self._arrays, self._size, self._turn = arrays, size, 0
        self.history.reset(0)

    @property
    def rigid(self) -> bool:
        return self.history.rigid

    def push(self, units: np.ndarray) -> Seen:
        """(C, V, Y, X) -> where the frame lies, and what was remembered before it in its place."""
        self.at(self._frames.frame.units, units.shape)[...] = units
        with self.memory.current():
            for queue in self._queues[self._turn]:
                queue()
        self._turn = 1 - self._turn
        note = self._arrays.read(self._note, NOTE, dtype=np.float64)
        given = self._arrays.read(self._given, *self._shape)[..., : self._size[0], : self._size[1]]
        means, weight = given[:, 3:], given[:, 2:3]
        averages = np.concatenate([np.where(weight > 0, means, 0), weight], axis=1)
        return Seen(note[:4], note[4:].reshape(2, STRIPS), averages)

    def skip(self, count: int) -> None:
        self.history.skip(count, self._turn)

    def reset(self) -> None:
        self.history.reset(self._turn)

    def at(self, address: int, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
        """An array on the device."""
        return self.memory.arrays[address].view(dtype)[: int(np.prod(shape))].reshape(shape)
