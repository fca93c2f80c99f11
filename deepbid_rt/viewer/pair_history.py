"""The pairs of the last seconds, for looking back, and the running average of raw images. Not thread-safe."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.viewer.image_pair import ImagePair


class PairHistory:
    """Keeps the newest pairs, limited in time and in memory.

    Parameters
    ----------
    seconds : float
        Pairs that are older than this are removed.
    max_bytes : int
        Largest number of bytes of pixels; when it is reached, the oldest pairs are removed. One pair always stays.
    """

    def __init__(self, seconds: float = 10.0, max_bytes: int = 2**29) -> None:
        self._seconds, self._max_bytes = seconds, max_bytes
        self._pairs: deque[tuple[float, ImagePair]] = deque()
        self._bytes = 0

    def push(self, pair: ImagePair, now_s: float) -> None:
        """Add a pair that arrived at the monotonic time `now_s`, and remove old pairs."""
        self._pairs.append((now_s, pair))
        self._bytes += pair.nbytes
        while len(self._pairs) > 1 and (self._bytes > self._max_bytes or self._pairs[0][0] < now_s - self._seconds):
            self._bytes -= self._pairs.popleft()[1].nbytes

    def reset(self) -> None:
        """Remove all pairs."""
        self._pairs.clear()
        self._bytes = 0

    def pairs(self, plane: int) -> list[ImagePair]:
        """Return the pairs of one plane, oldest first."""
        return [pair for _, pair in self._pairs if pair.plane == plane]


class RunningAverage:
    """The mean of the last raw images, shown beside the denoised image.

    It is the baseline to compare with, because it needs no network. A running sum makes it cheap: each call adds the
    images that are new and subtracts those that are gone.
    """

    def __init__(self) -> None:
        self._images: list[NDArray[Any]] = []  # the images in the sum
        self._total = np.zeros(0)

    def of(self, pairs: Sequence[ImagePair], count: int) -> NDArray[np.float32] | None:
        """Return the mean of the raw images among the last `count` pairs.

        Images of another shape than the newest are left out.

        Returns
        -------
        ndarray or None
            (C, Y, X) float32; None when none of the pairs has a raw image.
        """
        images = [pair.raw for pair in pairs[-count:] if pair.raw is not None]
        if not images:
            return None
        images = [image for image in images if image.shape == images[-1].shape]
        summed, wanted = ({id(image) for image in some} for some in (self._images, images))
        gone = [image for image in self._images if id(image) not in wanted]
        new = [image for image in images if id(image) not in summed]
        # A sum that is not finite stays so whatever is subtracted; it is then computed again from all images.
        cheaper = self._total.shape == images[-1].shape and len(new) + len(gone) < len(images)
        if not cheaper or not np.isfinite(self._total).all():
            self._total, gone, new = np.zeros(images[-1].shape), [], images
        with np.errstate(invalid="ignore"):
            for image in new:
                self._total += image
            for image in gone:
                self._total -= image
        self._images = images
        return (self._total / len(images)).astype(np.float32)
