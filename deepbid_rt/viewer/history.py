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


class RunningAverage:
    """The mean of the last raw images, from one time of asking to the next by what came and what went.

    Averaging frames is what every user can do without a network: the honest baseline beside the denoised image.
    """

    def __init__(self) -> None:
        self._images: list[NDArray[Any]] = []
        self._total = np.zeros(0)

    def of(self, pairs: Sequence[Pair], count: int) -> NDArray[np.float32] | None:
        """Return the mean of the raw images of the last `count` pairs that have one, (C, Y, X); None without any."""
        images = [pair.raw for pair in pairs[-count:] if pair.raw is not None]
        if not images:
            return None
        images = [image for image in images if image.shape == images[-1].shape]
        held, wanted = ({id(image) for image in some} for some in (self._images, images))
        gone = [image for image in self._images if id(image) not in wanted]
        come = [image for image in images if id(image) not in held]
        # What is not finite stays in a sum for ever, so there the sum is made anew.
        kept = self._total.shape == images[-1].shape and len(come) + len(gone) < len(images)
        if not kept or not np.isfinite(self._total).all():
            self._total, gone, come = np.zeros(images[-1].shape), [], images
        with np.errstate(invalid="ignore"):
            for image in come:
                self._total += image
            for image in gone:
                self._total -= image
        self._images = images
        return (self._total / len(images)).astype(np.float32)
