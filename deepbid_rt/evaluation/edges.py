"""Width of moving edges, a metric that detects blur in space and in time.

The width of an edge is its rise divided by its slope. Both are estimated by least squares along the gradient of the
truth, where that gradient is steepest. Noise is not aligned with the true gradient, so it adds nothing on average. Both
movies are read twice, frame by frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.evaluation.movie import MovieReader, pair_movies, read_frame, temporal_mean

EDGE_LIMIT = 100.0
"""Replaces infinity, which JSON cannot hold: the ratio of a movie that shows no edge."""
_BLOCK = 16  # side of the blocks from whose means the rise is measured, pixels


def edge_width_ratio(
    movie: MovieReader | NDArray[Any], truth: MovieReader | NDArray[Any], near: NDArray[np.bool_] | None = None
) -> float | None:
    """Return the width of moving edges divided by their width in the truth: 1 is ideal, larger means blurred.

    Edge pixels are the ridges of the truth's gradient. Each is weighted by the square of its difference from the time
    mean of its pixel and, as in any regression, by the square of its slope: clear edges away from their mean place
    count most, weak or still edges hardly. The slope is the regression of the movie's gradient on the true gradient at
    these pixels; the rise is the same regression on means over blocks of 16 x 16 pixels (smaller blocks in frames under
    64). A Gaussian blur of standard deviation sigma widens a long edge of width sigma_0 by
    sqrt(1 + sigma^2 / sigma_0^2).

    Parameters
    ----------
    movie, truth : MovieReader or ndarray
        (T, C, Y, X), same shape.
    near : ndarray, optional
        (C, Y, X) True where edges count, such as around cells; everywhere by default.

    Returns
    -------
    float or None
        At most `EDGE_LIMIT`; None when nothing in the truth moves.

    Raises
    ------
    StreamError
        When shapes differ, or pixels are not finite.
    """
    movie, truth = pair_movies(movie, truth)
    side = max(1, min(_BLOCK, min(truth.shape[2:]) // 4))
    mean = temporal_mean(truth)
    places = np.ones(truth.shape[1:], np.bool_) if near is None else near
    slope = np.zeros(2)  # along the true gradient: of the movie, and of the truth itself
    rise = np.zeros(2)
    for t in range(truth.shape[0]):
        for x, y, still, place in zip(read_frame(movie, t), read_frame(truth, t), mean, places, strict=True):
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
    """Return the pixels whose gradient is at least as steep as at both neighbours along the gradient's main axis."""
    slope = np.hypot(*gradient)
    found = where & (slope > 0)
    found[[0, -1]] = found[:, [0, -1]] = False
    y, x = np.nonzero(found)
    down = np.abs(gradient[0, y, x]) >= np.abs(gradient[1, y, x])
    dy, dx = down.astype(np.intp), (~down).astype(np.intp)
    kept = (slope[y, x] >= slope[y - dy, x - dx]) & (slope[y, x] >= slope[y + dy, x + dx])
    return y[kept], x[kept]


def _means(image: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Return the means over blocks of ``side`` x ``side`` pixels; incomplete blocks are left out."""
    lines, pixels = (n - n % side for n in image.shape)
    blocks = image[:lines, :pixels].reshape(lines // side, side, pixels // side, side)
    means: NDArray[np.float64] = blocks.mean((1, 3))
    return means
