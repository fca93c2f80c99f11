"""How wide the edges of moving things became: the measure that a blur, in space or in time, cannot hide from.

Reads both movies twice, frame by frame. Knows no file format and no engine.

An edge is as wide as its rise over its slope. Both are taken by least squares from the movie along the true gradient,
at the ridges where the truth is steepest, so that noise, which lies along no gradient, adds nothing on the mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.evaluation.movie import Movie, counts, mean_of, paired

EDGE_LIMIT = 100.0
"""Stands for infinity, as for a movie that shows no edge at all. JSON knows no infinity."""
_BLOCK = 16  # pixels over which the rise is taken


def edge_width_ratio(
    movie: Movie | NDArray[Any], truth: Movie | NDArray[Any], near: NDArray[np.bool_] | None = None
) -> float | None:
    """Return the width of the edges of what moves, over that in the truth: 1 is ideal, larger is blurred.

    Edges are the ridges of the truth's gradient. Each weighs by the square of its distance from the time mean of its
    pixel and, as in any regression, by the square of its slope: clear edges out of their mean place count, weak and
    still ones do not. The slope is the regression of the movie's gradient on the true one there; the rise is that of
    the movie's means of 16 x 16 pixels (less in frames under 64). A Gaussian blur of sigma makes a long edge of sigma_0
    wider by sqrt(1 + sigma^2 / sigma_0^2).

    Parameters
    ----------
    movie, truth : Movie or ndarray
        (T, C, Y, X), same shape.
    near : ndarray, optional
        (C, Y, X) pixels at which edges count, such as those around cells; by default all do.

    Returns
    -------
    float or None
        At most `EDGE_LIMIT`; None when nothing in the truth moves.

    Raises
    ------
    StreamError
        When shapes differ, or pixels are not finite.
    """
    movie, truth = paired(movie, truth)
    side = max(1, min(_BLOCK, min(truth.shape[2:]) // 4))
    mean = mean_of(truth)
    places = np.ones(truth.shape[1:], np.bool_) if near is None else near
    slope = np.zeros(2)  # of the movie along the true gradient; of the truth along its own
    rise = np.zeros(2)
    for t in range(truth.shape[0]):
        for x, y, still, place in zip(counts(movie, t), counts(truth, t), mean, places, strict=True):
            gradient = _gradient(y)
            at = _ridges(gradient, place)
            weight = np.square(y - still)[at]
            true = gradient[:, *at]
            slope += [(weight * (_gradient(x)[:, *at] * true).sum(0)).sum(), (weight * (true**2).sum(0)).sum()]
            coarse = _gradient(_means(y, side))
            rise += [(_gradient(_means(x, side)) * coarse).sum(), (coarse**2).sum()]
    if slope[1] <= 1e-20 * max(1.0, float(np.square(mean).max())) or rise[1] <= 0:
        return None
    sharp, high = slope[0] / slope[1], rise[0] / rise[1]
    return EDGE_LIMIT if sharp <= 0 or high <= 0 else min(EDGE_LIMIT, float(high / sharp))


def _gradient(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the central differences along y and x, (2, Y, X)."""
    if min(image.shape) < 2:
        return np.zeros((2, *image.shape))
    return np.stack([np.gradient(image, axis=axis) for axis in (0, 1)])


def _ridges(gradient: NDArray[np.float64], where: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where the gradient is no less steep than a pixel before and behind along its main axis."""
    slope = np.hypot(*gradient)
    found = where & (slope > 0)
    found[[0, -1]] = found[:, [0, -1]] = False
    y, x = np.nonzero(found)
    down = np.abs(gradient[0, y, x]) >= np.abs(gradient[1, y, x])
    dy, dx = down.astype(np.intp), (~down).astype(np.intp)
    kept = (slope[y, x] >= slope[y - dy, x - dx]) & (slope[y, x] >= slope[y + dy, x + dx])
    return y[kept], x[kept]


def _means(image: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    lines, pixels = (n - n % side for n in image.shape)
    blocks = image[:lines, :pixels].reshape(lines // side, side, pixels // side, side)
    means: NDArray[np.float64] = blocks.mean((1, 3))
    return means
