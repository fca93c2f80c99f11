"""Linearity: whether a denoised movie keeps intensities, measured in bins of true brightness.

Both movies are read twice, frame by frame.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.evaluation.movie import MovieReader, pair_movies, read_frame

_MIN_PIXELS = 30  # bins with fewer pixels are left out: their means are too noisy


def linearity(movie: MovieReader | NDArray[Any], truth: MovieReader | NDArray[Any], bins: int = 32) -> dict[str, float]:
    """Fit a line through the mean brightness of the movie in bins of true brightness.

    The bins have equal widths from the darkest to the brightest true pixel. Each bin with at least 30 pixels counts
    alike, so that rare bright cells weigh as much as the background. As the bins are those of the clean truth, there is
    no regression dilution.

    Parameters
    ----------
    movie, truth : MovieReader or ndarray
        (T, C, Y, X), same shape, in the same unit.
    bins : int
        At least 2.

    Returns
    -------
    dict
        ``slope`` (1 is ideal), ``intercept`` (counts) and ``deviation``: the largest distance of a bin from the line,
        divided by the range of the bins. All 0.0 when fewer than two bins hold enough pixels.

    Raises
    ------
    StreamError
        When shapes differ or pixels are not finite.
    """
    movie, truth = pair_movies(movie, truth)
    low, high = math.inf, -math.inf
    for t in range(truth.shape[0]):
        y = read_frame(truth, t)
        low, high = min(low, float(y.min())), max(high, float(y.max()))
    pixels, true_sum, movie_sum = (np.zeros(bins) for _ in range(3))
    width = (high - low) / bins or 1.0
    for t in range(truth.shape[0]):
        x, y = read_frame(movie, t).ravel(), read_frame(truth, t).ravel()
        place = np.minimum(((y - low) / width).astype(np.intp), bins - 1)
        pixels += np.bincount(place, minlength=bins)
        true_sum += np.bincount(place, y, bins)
        movie_sum += np.bincount(place, x, bins)
    enough = pixels >= _MIN_PIXELS
    if enough.sum() < 2:
        return {"slope": 0.0, "intercept": 0.0, "deviation": 0.0}
    a, b = true_sum[enough] / pixels[enough], movie_sum[enough] / pixels[enough]
    slope, intercept = (float(v) for v in np.polyfit(a, b, 1))
    deviation = float(np.abs(b - slope * a - intercept).max() / (a.max() - a.min()))
    return {"slope": slope, "intercept": intercept, "deviation": deviation}
