"""Whether a denoised movie keeps intensities: its brightness over the true one, bin by bin.

Reads both movies twice, frame by frame. Knows no file format and no engine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.evaluation.movie import Movie, counts, paired

_FEWEST = 30  # pixels in a bin before its mean counts


def linearity(movie: Movie | NDArray[Any], truth: Movie | NDArray[Any], bins: int = 32) -> dict[str, float]:
    """Fit a line through the mean brightness of the movie in bins of true brightness.

    The bins are of one width from the darkest to the brightest true pixel and count alike, however many pixels they
    hold (30 at least, or they are left out), so that rare bright cells weigh as much as the ground. Binning by the
    clean truth leaves no regression dilution.

    Parameters
    ----------
    movie, truth : Movie or ndarray
        (T, C, Y, X), same shape, in the same unit.
    bins : int
        At least 2.

    Returns
    -------
    dict
        ``slope`` (1 is ideal), ``intercept`` (counts) and ``deviation``: the largest distance of a bin from the line
        over the range of the bins. All 0.0 when fewer than two bins hold enough pixels.

    Raises
    ------
    StreamError
        When shapes differ or pixels are not finite.
    """
    movie, truth = paired(movie, truth)
    low, high = math.inf, -math.inf
    for t in range(truth.shape[0]):
        y = counts(truth, t)
        low, high = min(low, float(y.min())), max(high, float(y.max()))
    held, true, seen = (np.zeros(bins) for _ in range(3))
    width = (high - low) / bins or 1.0
    for t in range(truth.shape[0]):
        x, y = counts(movie, t).ravel(), counts(truth, t).ravel()
        place = np.minimum(((y - low) / width).astype(np.intp), bins - 1)
        held += np.bincount(place, minlength=bins)
        true += np.bincount(place, y, bins)
        seen += np.bincount(place, x, bins)
    enough = held >= _FEWEST
    if enough.sum() < 2:
        return {"slope": 0.0, "intercept": 0.0, "deviation": 0.0}
    a, b = true[enough] / held[enough], seen[enough] / held[enough]
    slope, intercept = (float(v) for v in np.polyfit(a, b, 1))
    deviation = float(np.abs(b - slope * a - intercept).max() / (a.max() - a.min()))
    return {"slope": slope, "intercept": intercept, "deviation": deviation}
