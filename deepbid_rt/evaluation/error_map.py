"""Error map, RSE and RSP of an image against a reference that may be sharper or more blurred.

The method is that of SQUIRREL (Culley et al. 2018, Nature Methods 15, 263). It works on single images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize_scalar

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.moments import Moments


@dataclass(frozen=True, slots=True)
class ErrorMap:
    """Difference between the reference and the image that was scaled and blurred to match it."""

    error: NDArray[np.float64]
    """|reference - match| (Y, X), counts of the reference."""
    rse: float
    """Root mean square of ``error``."""
    rsp: float
    """Pearson correlation of reference and match."""
    alpha: float
    """Gain of the match."""
    beta: float
    """Offset of the match, counts."""
    sigma: float
    """Standard deviation of the match's blur, pixels."""


def error_map(image: NDArray[Any], reference: NDArray[Any], widest: float = 10.0) -> ErrorMap:
    """Match ``alpha * image + beta``, blurred by a Gaussian, to the reference by least squares.

    For each width of the Gaussian, a linear regression gives gain and offset. The width is searched on a grid, then
    between the neighbours of the best grid point.

    Parameters
    ----------
    image, reference : ndarray
        (Y, X), same shape.
    widest : float
        Largest standard deviation of the Gaussian, pixels.

    Raises
    ------
    StreamError
        When the images do not have one 2D shape, or are not finite.
    """
    if image.shape != reference.shape or image.ndim != 2 or not (np.isfinite(image) & np.isfinite(reference)).all():
        raise StreamError(
            f"images of shape {image.shape} and {reference.shape}",
            expected="two finite images (Y, X) of one shape",
            todo="choose one channel of one frame, or the mean over frames",
        )
    x, y = image.astype(np.float64), reference.astype(np.float64)
    grid = np.concatenate([[0.0], np.geomspace(0.3, widest, 12)])
    losses = [_match(x, y, sigma)[0] for sigma in grid]
    best = int(np.argmin(losses))
    bounds = grid[max(0, best - 1)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(lambda s: _match(x, y, s)[0], bounds=bounds, method="bounded", options={"xatol": 1e-3})
    sigma = float(found.x) if found.fun < losses[best] else float(grid[best])
    _, alpha, beta = _match(x, y, sigma)
    match = alpha * _blur(x, sigma) + beta
    error = y - match
    rsp = Moments.of(match.ravel(), y.ravel()).correlation()
    return ErrorMap(np.abs(error), math.sqrt(float((error**2).mean())), rsp, alpha, beta, sigma)


def _blur(image: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    blurred: NDArray[np.float64] = gaussian_filter(image, sigma, mode="nearest") if sigma else image
    return blurred


def _match(x: NDArray[np.float64], y: NDArray[np.float64], sigma: float) -> tuple[float, float, float]:
    """Return the mean square error, gain and offset for one width."""
    z = _blur(x, sigma)
    variance = float(z.var())
    alpha = float(((z - z.mean()) * (y - y.mean())).mean()) / variance if variance else 0.0
    beta = float(y.mean() - alpha * z.mean())
    return float(((y - alpha * z - beta) ** 2).mean()), alpha, beta
