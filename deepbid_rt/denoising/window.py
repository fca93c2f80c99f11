"""The last T frames as one contiguous array.

Every frame is stored twice in a ring of 2T, T apart, so that the last T always lie side by side and no inference
ever waits for a copy. Single-threaded: the thread that pushes is the thread that reads.
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
        Frames in the window (T).
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
        """Frames pushed since the start or the last `clear`, at most `length`."""
        return self._filled

    def push(self, frame: NDArray[np.float32]) -> None:
        """Append one frame (Y, X); the oldest leaves."""
        self._ring[self._start] = frame
        self._ring[self._start + self.length] = frame
        self._start = (self._start + 1) % self.length
        self._filled = min(self._filled + 1, self.length)

    def view(self) -> NDArray[np.float32]:
        """Return the window (T, Y, X), oldest frame first, contiguous, valid until the next `push`.

        Places before the first frame hold the mirror image in time of what follows: fresh noise, as the network
        expects it, where copies of one frame would look like structure (measured in docs/window-engine.md).
        """
        window = self._ring[self._start : self._start + self.length]
        missing = self.length - self._filled
        if self._filled:
            mirror = np.pad(np.arange(missing, self.length), (missing, 0), mode="symmetric")[:missing]
            for place, source in enumerate(mirror):
                window[place] = window[source]
        return window

    def infer(self, engine: Engine) -> NDArray[np.float32]:
        """Return the engine's answer (T, Y, X) to the window; the engine may reuse it in its next call."""
        return engine.infer(self.view())

    def reset(self) -> None:
        """Forget all frames."""
        self._filled = 0
