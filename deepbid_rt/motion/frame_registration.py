"""Registers frames to the reference, so that the tissue stands still in the movie.

Each frame is resampled with the shifts of its lines, which come from the motion estimators.
"""

from __future__ import annotations

import numpy as np

from deepbid_rt.frame import Image, Motion
from deepbid_rt.motion.nonrigid import line_shifts
from deepbid_rt.scan.interpolation import cubic_weights, interpolate


class Registration:
    """Registers the frames of one plane, one after the other, line by line.

    Each frame is resampled once, with the Catmull-Rom cubic along both axes. A pixel that a frame does not show keeps
    its value from the last frame that showed it; one that no frame has shown yet gets the value of the nearest pixel.
    A foreign frame is moved by the last shift, and later frames take no pixels from it. After a restart no pixels are
    taken from earlier frames.
    """

    def __init__(self) -> None:
        self._last: Image | None = None  # the last registered frame, with the pixels it took from earlier ones

    def apply(self, image: Image, motion: Motion) -> Image:
        """Return a frame resampled to the coordinates of the reference.

        Parameters
        ----------
        image : ndarray
            (..., Y, X).
        motion : Motion
            Shift of the frame: its pixel (y, x) shows the place (y - dy[y], x - dx[y]) of the reference.

        Returns
        -------
        ndarray
            (..., Y, X), a new array.
        """
        lines, pixels = image.shape[-2:]
        row = np.arange(lines, dtype=np.float64)
        shifts = line_shifts(motion, lines)
        # Place of each line in the reference. It must not decrease for the inversion below: where the tissue moves with
        # the scan faster than the scan itself, several lines show one place.
        place = np.maximum.accumulate(row - shifts[0])
        y = np.interp(row, place, row)  # line of the frame that shows each row of the reference
        y = np.where(row < place[0], row + shifts[0, 0], np.where(row > place[-1], row + shifts[0, -1], y))
        dx = np.interp(y, row, shifts[1])
        whole_y, whole_x = np.floor(y).astype(np.intp), np.floor(dx).astype(np.intp)
        # Indices beyond the border are set to the nearest pixel.
        columns = np.clip(np.arange(-1, pixels + 2) + whole_x[:, None], 0, pixels - 1)
        samples = [image[..., np.clip(whole_y + k, 0, lines - 1)[:, None], columns] for k in range(-1, 3)]
        rows = interpolate(samples, cubic_weights((y - whole_y).astype(np.float32)[:, None]))
        weights_x = cubic_weights((dx - whole_x).astype(np.float32)[:, None])
        registered = interpolate([rows[..., k : k + pixels] for k in range(4)], weights_x).copy()
        x = np.arange(pixels) + dx[:, None]
        not_shown = ((y < 0) | (y > lines - 1))[:, None] | (x < 0) | (x > pixels - 1)
        if motion.status == "restarted":
            self._last = None
        if self._last is not None and not_shown.any():
            registered[..., not_shown] = self._last[..., not_shown]
        if motion.status != "foreign":
            self._last = registered.copy()
        return registered
