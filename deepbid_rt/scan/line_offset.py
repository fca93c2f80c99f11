"""Moves the backward lines of a frame along x, to correct the line phase.

In a bidirectional scan a delay between the mirror and the sampling shifts backward lines against forward lines. This
module applies a given correction; `deepbid_rt.scan.line_phase` measures it and `deepbid_rt.scan.line_phase_corrector`
decides which one to apply.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Image, ScanGeometry
from deepbid_rt.scan.interpolation import cubic_weights, interpolate


class LineOffset:
    """Moves lines along x by an offset, with Catmull-Rom interpolation between pixels.

    Parameters
    ----------
    scan : ScanGeometry
        When its `extra` entries ``dewarped`` and ``ff_t`` (share of the swing in which a resonant mirror samples) say
        that pixels are equally spaced in the tissue, the offset decreases towards the ends of the line.
    pixels : int
        X, the length of a line.
    px : float
        Pixels by which the lines lie too far to the right, in image order; where the offset varies along the line,
        this is its value in the middle.

    Notes
    -----
    A wrong line phase is a constant delay. Where pixels are equally spaced in time, it shifts all of them by the same
    distance. Where they are equally spaced in the tissue, with x = sin(angle) of the mirror, the shift is proportional
    to the speed of the mirror, cos(angle).
    """

    def __init__(self, scan: ScanGeometry, pixels: int, px: float) -> None:
        self.px = px
        position = np.arange(pixels) + px * _mirror_speed(scan, pixels)
        first = np.floor(position)
        neighbours = first + np.arange(-1, 3)[:, None]
        self.columns: NDArray[np.intp] = np.clip(neighbours, 0, pixels - 1).astype(np.intp)
        """(4, X): the four source pixels of each pixel; beyond the ends of the line the last pixel is repeated."""
        weights = cubic_weights((position - first).astype(np.float32)[:, None])
        self._weights = None if weights is None else weights.transpose(0, 2, 1)  # (4, 1, X)

    @property
    def weights(self) -> Image:
        """(4, X) float32: interpolation weights of `columns`."""
        if self._weights is None:
            return np.repeat(np.array([[0], [1], [0], [0]], np.float32), self.columns.shape[1], axis=1)
        return self._weights[:, 0]

    def apply(self, lines: NDArray[Any]) -> Image:
        """Return the lines (..., L, X), given in image order, moved to the left by the offset; a new float32 array."""
        source = lines.astype(np.float32, copy=False)
        if self._weights is None:
            return np.asarray(source.take(self.columns[1], axis=-1))
        return interpolate([source.take(columns, axis=-1) for columns in self.columns], self._weights)


def _mirror_speed(scan: ScanGeometry, pixels: int) -> NDArray[np.float64]:
    """Return the speed of the mirror at each pixel (X,), relative to the middle; 1 everywhere when it is unknown."""
    share = scan.extra.get("ff_t")
    if scan.extra.get("dewarped") is not True or not isinstance(share, float | int) or not 0 < share <= 1:
        return np.ones(pixels)
    x = (2 * np.arange(pixels) + 1) / pixels - 1  # -1 to 1 along the line
    return np.asarray(np.sqrt(1 - (x * np.sin(share * np.pi / 2)) ** 2))
