"""Catmull-Rom's cubic: values between samples from the four around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
_BLOCK = 8
"""Lines that `lines_between` works out at a time."""


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


def blend(neighbours: list[Image], weights: Image | None, out: Image | None = None) -> Image:
    """Interpolate: sum four arrays (..., N, X), the samples at -1, 0, 1 and 2, with weights from `cubic`.

    Without weights the answer is the second array itself, unless there is an `out` to write it to.
    """
    if weights is None:
        if out is None:
            return neighbours[1]
        out[...] = neighbours[1]
        return out
    total: Image = np.multiply(neighbours[0], weights[0], out=out)
    part = np.empty_like(total)
    for neighbour, weight in zip(neighbours[1:], weights[1:], strict=True):
        total += np.multiply(neighbour, weight, out=part)
    return total


def lines_between(images: Image, top: NDArray[np.intp], part: Image) -> Image:
    """Interpolate lines of images with `cubic`.

    Parameters
    ----------
    images : ndarray
        (N, Y, X) float32, finite: a value that counts for nothing is multiplied by 0.
    top : ndarray
        (L,) the second of the four lines that each answer lies between, 1 to Y - 3.
    part : ndarray
        (L, 1) how far beyond it.

    Returns
    -------
    ndarray
        (N, L, X) float32.

    Notes
    -----
    Some lines at a time are a product of matrices, most of one of them 0, which is several times as fast as four
    products and sums of whole lines.
    """
    weights = cubic(part)
    if weights is None:
        return images.take(top, axis=1)
    lines = len(top)
    blocks = -(-lines // _BLOCK)
    here = np.pad(top, (0, blocks * _BLOCK - lines), mode="edge").reshape(blocks, _BLOCK)
    begins = here.min(axis=1) - 1
    share = np.zeros((blocks, _BLOCK, int((here.max(axis=1) - begins).max()) + 3), np.float32)
    block, line = np.divmod(np.arange(lines), _BLOCK)
    for k, weight in enumerate(weights[..., 0]):
        share[block, line, top - begins[block] - 1 + k] = weight
    between = np.empty((len(images), lines, images.shape[2]), np.float32)
    for n, begin in enumerate(begins.tolist()):
        to = between[:, n * _BLOCK : (n + 1) * _BLOCK]
        seen = images[:, begin : begin + share.shape[2]]
        np.matmul(share[n, : to.shape[1], : seen.shape[1]], seen, out=to)
    return between
