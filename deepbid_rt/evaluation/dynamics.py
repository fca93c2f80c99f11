"""How well a movie follows what moves and flickers, free of gain, offset and the picture that never changes.

Reads both movies twice, frame by frame, and holds a few mean images. Knows no file format and no engine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.evaluation.moments import Moments
from deepbid_rt.evaluation.movie import Movie, counts, paired

AFFINE_LIMIT_DB = 150.0
"""Stands for infinity: a correlation nearer to 1 is below what float64 sums resolve. JSON knows no infinity."""


def affine_snr_db(correlation: float) -> float:
    """Return -10 log10(1 - r^2): the SNR after the best gain and offset; 0 dB for a movie unlike the truth."""
    rest = 1.0 - correlation * correlation
    return AFFINE_LIMIT_DB if rest <= 10 ** (-AFFINE_LIMIT_DB / 10) else -10 * math.log10(rest)


def dynamics(movie: Movie | NDArray[Any], truth: Movie | NDArray[Any]) -> dict[str, float]:
    """Compare two movies (T, C, Y, X) of one shape in what the papers' figures overlook.

    Returns
    -------
    dict
        ``snr_affine_db``: `affine_snr_db` of the correlation over all pixels. ``correlation_dynamic``: that correlation
        after the time mean of each pixel is taken from both movies; a frozen picture has 0. ``correlation_xt`` and
        ``correlation_yt``: mean over lines of the correlation within one x-t plane, and over columns within one y-t
        plane; motion that a denoiser smears is seen here.

    Raises
    ------
    StreamError
        When shapes differ or pixels are not finite.
    """
    movie, truth = paired(movie, truth)
    frames = movie.shape[0]
    mean_x, mean_y = np.zeros(movie.shape[1:]), np.zeros(movie.shape[1:])
    for t in range(frames):
        mean_x += counts(movie, t) / frames
        mean_y += counts(truth, t) / frames
    planes = {axis: _PlaneMoments(mean_x, mean_y, axis) for axis in (1, 2)}
    total = dynamic = Moments()
    for t in range(frames):
        x, y = counts(movie, t), counts(truth, t)
        total = total + Moments.of(x.ravel(), y.ravel())
        dynamic = dynamic + Moments.of((x - mean_x).ravel(), (y - mean_y).ravel())
        for plane in planes.values():
            plane.add(x, y)
    # a movie that does not change keeps rounding errors after its mean is taken away: they are no dynamics
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
    """Centred products of every plane that spans time and one axis of the frame (1: lines, 2: pixels)."""

    def __init__(self, mean_x: NDArray[np.float64], mean_y: NDArray[np.float64], axis: int) -> None:
        self._axis = axis
        self._x, self._y = (mean.mean(axis, keepdims=True) for mean in (mean_x, mean_y))
        self._xx, self._yy, self._xy = (np.zeros(self._x.shape) for _ in range(3))
        self._floor_x, self._floor_y = (1e-20 * (mean**2).sum(axis, keepdims=True) for mean in (mean_x, mean_y))

    def add(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        dx, dy = x - self._x, y - self._y
        self._xx += (dx * dx).sum(self._axis, keepdims=True)
        self._yy += (dy * dy).sum(self._axis, keepdims=True)
        self._xy += (dx * dy).sum(self._axis, keepdims=True)

    def correlation(self) -> float:
        """Mean over planes; one that is constant counts 0."""
        varied = (self._xx > self._floor_x) & (self._yy > self._floor_y)
        product = np.where(varied, np.sqrt(self._xx) * np.sqrt(self._yy), 1.0)
        return float(np.where(varied, self._xy / product, 0.0).mean())
