"""Catmull-Rom's cubic: values between samples from the four around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def cubic(part: Image) -> Image | None:
    """Return the weights of four samples at -1, 0, 1 and 2 for a value at `part`.

    Parameters
    ----------
    part : ndarray
        (N, 1) float32, 0 to 1: one place for each of N lines.

    Returns
    -------
    ndarray or None
        (4, N, 1) float32; None where all parts are 0, and so the sample at 0 is the value.
    """
    if not part.any():
        return None
    square = part * part
    cube = square * part
    half = np.float32(0.5)
    return np.stack(
        [
            square - half * (part + cube),
            1 - np.float32(2.5) * square + np.float32(1.5) * cube,
            half * part + 2 * square - np.float32(1.5) * cube,
            half * (cube - square),
        ]
    )


def blend(neighbours: list[Image], weights: Image | None) -> Image:
    """Interpolate: sum four arrays (..., N, X), the samples at -1, 0, 1 and 2, with weights from `cubic`."""
    if weights is None:
        return neighbours[1]
    total: Image = neighbours[0] * weights[0]
    part = np.empty_like(total)
    for neighbour, weight in zip(neighbours[1:], weights[1:], strict=True):
        total += np.multiply(neighbour, weight, out=part)
    return total
