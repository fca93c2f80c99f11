"""The last T frames as one contiguous array, for window engines.

Each frame is stored twice in a ring buffer of 2T frames, T places apart. So the last T frames are always contiguous,
and an inference reads them without a copy. Single-threaded: the thread that pushes is the thread that reads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.ports import Engine


class FrameWindow:
    """Ring of the last `length` frames of one view.

    Parameters
    ----------
    length : int
        T, the number of frames in the window.
    shape : tuple of int
        (Y, X) of one frame.
    """

    def __init__(self, length: int, shape: tuple[int, int]) -> None:
        self.length = length
        self._ring = np.zeros((2 * length, *shape), np.float32)
        self._start = 0
        self._filled = 0

    @property
    def filled(self) -> int:
        """Number of frames pushed since the last `reset`, at most `length`."""
        return self._filled

    def push(self, frame: NDArray[np.float32]) -> None:
        """Append one frame (Y, X), copied; the oldest frame is dropped."""
        self._ring[self._start] = frame
        self._ring[self._start + self.length] = frame
        self._start = (self._start + 1) % self.length
        self._filled = min(self._filled + 1, self.length)

    def view(self) -> NDArray[np.float32]:
        """Return the window (T, Y, X), oldest frame first, contiguous; valid until the next `push`.

        Places before the first frame are filled with later frames, mirrored in time. Their noise differs from frame to
        frame, as the network expects; copies of one frame would look like structure (see
        docs/explanation/window-engine.md).
        """
        window = self._ring[self._start : self._start + self.length]
        missing = self.length - self._filled
        if self._filled:
            mirror = np.pad(np.arange(missing, self.length), (missing, 0), mode="symmetric")[:missing]
            for target, source in enumerate(mirror):
                window[target] = window[source]
        return window

    def infer(self, engine: Engine) -> NDArray[np.float32]:
        """Denoise the window; return (T, Y, X), which the engine may overwrite in its next call."""
        return engine.infer(self.view())

    def reset(self) -> None:
        """Forget all frames."""
        self._filled = 0
