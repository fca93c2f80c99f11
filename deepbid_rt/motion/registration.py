"""Frames moved to where the reference lies: the movie as if the tissue had stood still.

Knows nothing of how shifts are found, of scans, of engines or of counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Motion
from deepbid_rt.motion.nonrigid import shifts_of
from deepbid_rt.scan.interpolation import blend, cubic

Image = NDArray[np.float32]


class Registration:
    """Registers the frames of one plane, one after the other, line by line.

    Each frame is resampled once, by Catmull-Rom's cubic along either axis. A place that a frame does not show keeps
    the value it had in the last frame that showed it; one that no frame has shown yet takes that of the nearest pixel.
    Foreign frames are moved by the last shift and leave nothing behind; after a new start nothing before it counts.
    """

    def __init__(self) -> None:
        self._shown: Image | None = None

    def apply(self, image: Image, motion: Motion) -> Image:
        """Return a frame in the coordinates of the reference.

        Parameters
        ----------
        image : ndarray
            (..., Y, X).
        motion : Motion
            Where its lines lie: pixel (y, x) shows the place (y - dy[y], x - dx[y]).

        Returns
        -------
        ndarray
            (..., Y, X), a new array.
        """
        lines, pixels = image.shape[-2:]
        row = np.arange(lines, dtype=np.float64)
        shifts = shifts_of(motion, lines)
        # Lines that tissue overtakes show a place twice.
        shown = np.maximum.accumulate(row - shifts[0])
        y = np.interp(row, shown, row)
        y = np.where(row < shown[0], row + shifts[0, 0], np.where(row > shown[-1], row + shifts[0, -1], y))
        dx = np.interp(y, row, shifts[1])
        whole_y, whole_x = np.floor(y).astype(np.intp), np.floor(dx).astype(np.intp)
        # Indices beyond the border stand for the nearest pixel.
        columns = np.clip(np.arange(-1, pixels + 2) + whole_x[:, None], 0, pixels - 1)
        neighbours = [image[..., np.clip(whole_y + k, 0, lines - 1)[:, None], columns] for k in range(-1, 3)]
        rows = blend(neighbours, cubic((y - whole_y).astype(np.float32)[:, None]))
        part = cubic((dx - whole_x).astype(np.float32)[:, None])
        registered = blend([rows[..., k : k + pixels] for k in range(4)], part).copy()
        place = np.arange(pixels) + dx[:, None]
        unseen = ((y < 0) | (y > lines - 1))[:, None] | (place < 0) | (place > pixels - 1)
        if motion.status == "restarted":
            self._shown = None
        if self._shown is not None and unseen.any():
            registered[..., unseen] = self._shown[..., unseen]
        if motion.status != "foreign":
            self._shown = registered.copy()
        return registered
