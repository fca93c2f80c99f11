"""The last seconds of what was received, for looking back. Bounded in time and in memory; for one thread at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.viewer.pair import Pair


class History:
    """Keeps the newest pairs.

    Parameters
    ----------
    seconds : float
        How far to look back.
    max_bytes : int
        Most memory for pixels; where it is reached, history is shorter.
    """

    def __init__(self, seconds: float = 10.0, max_bytes: int = 2**29) -> None:
        self._seconds, self._max_bytes = seconds, max_bytes
        self._pairs: deque[tuple[float, Pair]] = deque()
        self._bytes = 0

    def add(self, pair: Pair, now_s: float) -> None:
        """Keep a pair that came at monotonic time `now_s`; let go of what is too old or too much."""
        self._pairs.append((now_s, pair))
        self._bytes += pair.nbytes
        while len(self._pairs) > 1 and (self._bytes > self._max_bytes or self._pairs[0][0] < now_s - self._seconds):
            self._bytes -= self._pairs.popleft()[1].nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._pairs.clear()
        self._bytes = 0

    def pairs(self, plane: int) -> list[Pair]:
        """Return the pairs of a plane, oldest first."""
        return [pair for _, pair in self._pairs if pair.plane == plane]


def running_average(pairs: Sequence[Pair], count: int) -> NDArray[Any] | None:
    """Return the mean of the raw images of the last `count` pairs that have one, float32 (C, Y, X); None without any.

    Averaging frames is what every user can do without a network: the honest baseline beside the denoised image.
    """
    images = [pair.raw for pair in pairs[-count:] if pair.raw is not None]
    if not images:
        return None
    total = images[-1].astype(np.float32)
    same = [image for image in images[:-1] if image.shape == total.shape]
    for image in same:
        total += image
    total /= np.float32(len(same) + 1)
    return total
