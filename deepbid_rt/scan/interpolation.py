"""Interpolation between samples with the Catmull-Rom cubic, which uses the four nearest samples.

Source: Catmull and Rom 1974; the weights are those of cubic convolution with a = -1/2 (Keys 1981). It passes through
the samples and reproduces straight lines exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Image

_BLOCK_LINES = 8
"""Lines that `interpolate_lines` computes in one matrix product: more lines make the matrices larger but emptier."""


def cubic_weights(fraction: Image) -> Image | None:
    """Return the weights of four samples at -1, 0, 1 and 2 for the value at `fraction`.

    Parameters
    ----------
    fraction : ndarray
        (N, 1) float32 between 0 and 1: one position for each of N lines.

    Returns
    -------
    ndarray or None
        (4, N, 1) float32. None when all fractions are 0: then the value is the sample at 0.
    """
    if not fraction.any():
        return None
    square = fraction * fraction
    cube = square * fraction
    half = np.float32(0.5)
    return np.stack(
        [
            square - half * (fraction + cube),
            1 - np.float32(2.5) * square + np.float32(1.5) * cube,
            half * fraction + 2 * square - np.float32(1.5) * cube,
            half * (cube - square),
        ]
    )


def interpolate(samples: list[Image], weights: Image | None, out: Image | None = None) -> Image:
    """Return the weighted sum of four samples.

    Parameters
    ----------
    samples : list of ndarray
        Four arrays (..., N, X): the samples at -1, 0, 1 and 2.
    weights : ndarray or None
        From `cubic_weights`. With None the result is the second array itself, or a copy of it in `out`.
    out : ndarray, optional
        (..., N, X) array for the result.
    """
    if weights is None:
        if out is None:
            return samples[1]
        out[...] = samples[1]
        return out
    total: Image = np.multiply(samples[0], weights[0], out=out)
    product = np.empty_like(total)
    for sample, weight in zip(samples[1:], weights[1:], strict=True):
        total += np.multiply(sample, weight, out=product)
    return total


def interpolate_lines(images: Image, first: NDArray[np.intp], fraction: Image) -> Image:
    """Interpolate lines of images with `cubic_weights`.

    Parameters
    ----------
    images : ndarray
        (N, Y, X) float32. All values must be finite, because values outside the four samples are multiplied by 0.
    first : ndarray
        (L,) for each result line, the index of the second of its four samples, 1 to Y - 3.
    fraction : ndarray
        (L, 1) float32: how far each result line lies beyond `first`, 0 to 1.

    Returns
    -------
    ndarray
        (N, L, X) float32.

    Notes
    -----
    Blocks of lines are computed as matrix products with mostly empty matrices. This is several times as fast as four
    multiplications and additions of whole lines.
    """
    weights = cubic_weights(fraction)
    if weights is None:
        return images.take(first, axis=1)
    lines = len(first)
    blocks = -(-lines // _BLOCK_LINES)
    padded = np.pad(first, (0, blocks * _BLOCK_LINES - lines), mode="edge").reshape(blocks, _BLOCK_LINES)
    starts = padded.min(axis=1) - 1
    matrices = np.zeros((blocks, _BLOCK_LINES, int((padded.max(axis=1) - starts).max()) + 3), np.float32)
    block, row = np.divmod(np.arange(lines), _BLOCK_LINES)
    for k, weight in enumerate(weights[..., 0]):
        matrices[block, row, first - starts[block] - 1 + k] = weight
    result = np.empty((len(images), lines, images.shape[2]), np.float32)
    for n, start in enumerate(starts.tolist()):
        out = result[:, n * _BLOCK_LINES : (n + 1) * _BLOCK_LINES]
        samples = images[:, start : start + matrices.shape[2]]
        np.matmul(matrices[n, : out.shape[1], : samples.shape[1]], samples, out=out)
    return result
