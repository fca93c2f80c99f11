"""Metrics of how well a movie follows changes over time, independent of gain, offset and the static picture.

Both movies are read twice, frame by frame; only a few mean images are held in memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.evaluation.moments import Moments
from deepbid_rt.evaluation.movie import MovieReader, pair_movies, read_frame

AFFINE_LIMIT_DB = 150.0
"""Replaces infinity, which JSON cannot hold: float64 sums do not resolve correlations closer to 1."""


def affine_snr_db(correlation: float) -> float:
    """Return -10 log10(1 - r^2), the SNR after the best gain and offset; 0 dB for an uncorrelated movie."""
    rest = 1.0 - correlation * correlation
    return AFFINE_LIMIT_DB if rest <= 10 ** (-AFFINE_LIMIT_DB / 10) else -10 * math.log10(rest)


def dynamics(movie: MovieReader | NDArray[Any], truth: MovieReader | NDArray[Any]) -> dict[str, float]:
    """Compare two movies (T, C, Y, X) of one shape by what the papers' metrics do not measure.

    Returns
    -------
    dict
        ``snr_affine_db``: `affine_snr_db` of the correlation over all pixels. ``correlation_dynamic``: that correlation
        after the time mean of each pixel is subtracted from both movies; 0 for a frozen picture. ``correlation_xt``:
        correlation within one x-t plane, mean over lines. ``correlation_yt``: correlation within one y-t plane, mean
        over columns. These two are lower when a denoiser smears motion.

    Raises
    ------
    StreamError
        When shapes differ or pixels are not finite.
    """
    movie, truth = pair_movies(movie, truth)
    frames = movie.shape[0]
    mean_x, mean_y = np.zeros(movie.shape[1:]), np.zeros(movie.shape[1:])
    for t in range(frames):
        mean_x += read_frame(movie, t) / frames
        mean_y += read_frame(truth, t) / frames
    planes = {axis: _PlaneMoments(mean_x, mean_y, axis) for axis in (1, 2)}
    total = dynamic = Moments()
    for t in range(frames):
        x, y = read_frame(movie, t), read_frame(truth, t)
        total = total + Moments.of(x.ravel(), y.ravel())
        dynamic = dynamic + Moments.of((x - mean_x).ravel(), (y - mean_y).ravel())
        for plane in planes.values():
            plane.push(x, y)
    # In a movie that does not change, only rounding errors are left after its mean is subtracted: no dynamics.
    moves = all(
        now > still * 1e-20
        for now, still in ((dynamic.xx, total.xx + total.n * total.x**2), (dynamic.yy, total.yy + total.n * total.y**2))
    )
    return {
        "snr_affine_db": affine_snr_db(total.correlation()),
        "correlation_dynamic": dynamic.correlation() if moves else 0.0,
        "correlation_xt": planes[2].correlation(),
        "correlation_yt": planes[1].correlation(),
    }


class _PlaneMoments:
    """Sums of centred products for every plane of time and one frame axis (1: lines, y-t; 2: pixels, x-t)."""

    def __init__(self, mean_x: NDArray[np.float64], mean_y: NDArray[np.float64], axis: int) -> None:
        self._axis = axis
        self._x, self._y = (mean.mean(axis, keepdims=True) for mean in (mean_x, mean_y))
        self._xx, self._yy, self._xy = (np.zeros(self._x.shape) for _ in range(3))
        self._floor_x, self._floor_y = (1e-20 * (mean**2).sum(axis, keepdims=True) for mean in (mean_x, mean_y))

    def push(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        """Add one frame of each movie, (C, Y, X)."""
        dx, dy = x - self._x, y - self._y
        self._xx += (dx * dx).sum(self._axis, keepdims=True)
        self._yy += (dy * dy).sum(self._axis, keepdims=True)
        self._xy += (dx * dy).sum(self._axis, keepdims=True)

    def correlation(self) -> float:
        """Return the mean correlation over the planes; a constant plane counts as 0."""
        varied = (self._xx > self._floor_x) & (self._yy > self._floor_y)
        product = np.where(varied, np.sqrt(self._xx) * np.sqrt(self._yy), 1.0)
        return float(np.where(varied, self._xy / product, 0.0).mean())
