"""Frames moved to where the reference lies: the movie as if the tissue had stood still.

Knows nothing of how shifts are found, of scans, of engines or of counts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Motion
from deepbid_rt.interpolation import blend, cubic

Image = NDArray[np.float32]


class Registration:
    """Registers the frames of one plane, one after the other.

    Each frame is resampled once, by Catmull-Rom's cubic along either axis. A place that a frame does not show keeps
    the value it had in the last frame that showed it; one that no frame has shown yet takes that of the nearest pixel.
    Foreign frames are moved by the last shift and leave nothing behind.
    """

    def __init__(self) -> None:
        self._shown: Image | None = None

    def apply(self, image: Image, motion: Motion) -> Image:
        """Return a frame in the coordinates of the reference.

        Parameters
        ----------
        image : ndarray
            (..., Y, X); its pixel (y, x) shows the place (y - dy, x - dx).
        motion : Motion
            Where the frame lies.

        Returns
        -------
        ndarray
            (..., Y, X), a new array.
        """
        registered = image
        outside = []
        for axis, shift in ((-2, motion.dy), (-1, motion.dx)):
            length = image.shape[axis]
            whole = math.floor(shift)
            # Indices beyond the border stand for the nearest pixel.
            wide = np.take(registered, np.arange(-1, length + 2) + whole, axis, mode="clip")
            cut = np.moveaxis(wide, axis, 0)
            neighbours = [np.moveaxis(cut[k : k + length], 0, axis) for k in range(4)]
            registered = blend(neighbours, cubic(np.full((1, 1), shift - whole, np.float32)))
            at = np.arange(length) + shift
            outside.append((at < 0) | (at > length - 1))
        unseen = outside[0][:, None] | outside[1]
        if self._shown is not None and unseen.any():
            registered[..., unseen] = self._shown[..., unseen]
        if motion.verdict != "foreign":
            self._shown = registered.copy()
        return np.ascontiguousarray(registered)
