"""`DeviceWindow`: the last T frames of one view in the memory of a GPU; only new frames are uploaded.

Each frame is written to two places, T apart, as on the host. The window is then always contiguous: the address of the
network's input moves, and nothing is copied on the GPU. For one thread.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.frame_window import FrameWindow
from deepbid_rt.ports import Engine
from deepbid_rt.runtimes.gpu.protocols import Buffer, DeviceMemory

BindWindow = Callable[[list[Buffer], Buffer], Callable[[int], None]]
"""Given the places where a window may begin, and the buffer of the answer: return a function that queues the network on
the window that begins at place number n."""


class DeviceWindow(FrameWindow):
    """A `FrameWindow` that is denoised on the GPU.

    Parameters
    ----------
    length, shape
        See `FrameWindow`. A frame's bytes must be a multiple of `deepbid_rt.runtimes.gpu.protocols.ALIGNMENT`.
    memory : DeviceMemory
        Not closed here; buffers are freed with this object.
    bind : callable
        The network.

    Raises
    ------
    EngineError
        When the GPU has too little memory, or TensorRT cannot use the addresses.
    """

    def __init__(self, length: int, shape: tuple[int, int], memory: DeviceMemory, bind: BindWindow) -> None:
        super().__init__(length, shape)
        self._memory = memory
        self._frame: NDArray[np.float32] = memory.pinned(shape, np.float32)
        self._early: NDArray[np.float32] = memory.pinned((length, *shape), np.float32)
        self._answer: NDArray[np.float32] = memory.pinned((length, *shape), np.float32)
        self._up = memory.allocate(2 * self._answer.nbytes)
        self._down = memory.allocate(self._answer.nbytes)
        size = self._frame.nbytes
        self._frames = [memory.part(self._up, place * size, size) for place in range(2 * length)]
        self._windows = [memory.part(self._up, place * size, length * size) for place in range(length)]
        self._run = bind(self._windows, self._down)

    def push(self, frame: NDArray[np.float32]) -> None:
        """Append one frame (Y, X), on the host and on the GPU; the oldest leaves."""
        place = self._start
        super().push(frame)
        np.copyto(self._frame, frame)
        for copy in (place, place + self.length):
            self._memory.upload(self._frames[copy], self._frame)
        self._memory.synchronize()

    def infer(self, engine: Engine) -> NDArray[np.float32]:
        """Return the answer (T, Y, X) of the network bound here, valid until the next call; `engine` is not used.

        Raises `StageError` when CUDA fails.
        """
        if self._filled < self.length:  # the host fills in the frames before the first one
            np.copyto(self._early, self.view())
            self._memory.upload(self._windows[self._start], self._early)
        self._run(self._start)
        self._memory.download(self._answer, self._down)
        self._memory.synchronize()
        return self._answer
