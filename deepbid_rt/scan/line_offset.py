"""Backward lines moved to where forward lines show the same place: a line phase, once known, taken out.

Knows nothing of how it is measured, nor of who decides; that is `deepbid_rt.scan.line_phase_corrector`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.interpolation import blend, cubic

Lines = NDArray[np.float32]


class LineOffset:
    """Moves lines along x by one offset, between pixels by Catmull-Rom's cubic.

    Parameters
    ----------
    scan : ScanGeometry
        Where its facts ``dewarped`` and ``ff_t`` (share of the swing in which a resonant mirror samples) say that lines
        were made even in space, the offset falls off towards their ends.
    pixels : int
        X of a line.
    px : float
        Pixels by which the lines lie too far right, in image order; in the middle of the line where it differs.

    Notes
    -----
    A wrong line phase is an error of time. Pixels even in time are off by one number. Made even in space, with
    x = sin(angle), they are off in proportion to the mirror's speed, cos(angle).
    """

    def __init__(self, scan: ScanGeometry, pixels: int, px: float) -> None:
        self.px = px
        places = np.arange(pixels) + px * _speed(scan, pixels)
        first = np.floor(places)
        around = first + np.arange(-1, 3)[:, None]
        self.columns: NDArray[np.intp] = np.clip(around, 0, pixels - 1).astype(np.intp)
        """(4, X): the pixels that each pixel is made of; those beyond the ends are the ends."""
        weights = cubic((places - first).astype(np.float32)[:, None])
        self._weights = None if weights is None else weights.transpose(0, 2, 1)  # (4, 1, X)

    @property
    def weights(self) -> Lines:
        """(4, X): how much of each of `columns`."""
        if self._weights is None:
            return np.repeat(np.array([[0], [1], [0], [0]], np.float32), self.columns.shape[1], axis=1)
        return self._weights[:, 0]

    def apply(self, lines: NDArray[Any]) -> Lines:
        """Return the lines (..., L, X) of one direction, in image order, in their place; newly allocated, float32."""
        source = lines.astype(np.float32, copy=False)
        if self._weights is None:
            return np.asarray(source.take(self.columns[1], axis=-1))
        return blend([source.take(columns, axis=-1) for columns in self.columns], self._weights)


def _speed(scan: ScanGeometry, pixels: int) -> NDArray[np.float64]:
    """Return the speed of the mirror at each pixel (X,), 1 in the middle; 1 everywhere where it is not known."""
    share = scan.extra.get("ff_t")
    if scan.extra.get("dewarped") is not True or not isinstance(share, float | int) or not 0 < share <= 1:
        return np.ones(pixels)
    across = (2 * np.arange(pixels) + 1) / pixels - 1
    return np.asarray(np.sqrt(1 - (across * np.sin(share * np.pi / 2)) ** 2))
