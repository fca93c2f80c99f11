"""Autocorrelation of the residual raw - denoised: shows without a truth whether a denoiser removed signal.

Both movies are read twice, frame by frame.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.movie import MovieReader, as_movie, average_line_pairs, pair_movies, read_frame


@dataclass(frozen=True, slots=True)
class ResidualCorrelation:
    """Correlation of a residual with its shifted self."""

    t: list[float]
    """Shifted by 1, 2, ... frames."""
    y: float
    """Shifted by one line."""
    x: float
    """Shifted by one pixel."""


def residual_correlation(
    raw: MovieReader | NDArray[Any], denoised: MovieReader | NDArray[Any], lags: int = 4
) -> ResidualCorrelation:
    """Return the autocorrelation of raw - denoised after each pixel's time mean is subtracted.

    Noise is not correlated with its neighbours: if a denoiser removes only noise, every number is near 0. Removed
    signal is correlated, and raises them. A residual that is 0 everywhere gives 0.0.

    Parameters
    ----------
    raw, denoised : MovieReader or ndarray
        (T, C, Y, X). The line pairs of a raw movie with twice the lines are averaged.
    lags : int
        Largest shift in time, frames.

    Raises
    ------
    StreamError
        When shapes differ, pixels are not finite, or there are not more frames than lags.
    """
    before, after = pair_movies(average_line_pairs(as_movie(raw), as_movie(denoised)), denoised)
    frames = before.shape[0]
    if frames <= lags:
        raise StreamError(
            f"movies of {frames} frames for lags up to {lags}",
            expected="more frames than lags",
            todo="compare longer recordings",
        )
    mean = np.zeros(before.shape[1:])
    for t in range(frames):
        mean += (read_frame(before, t) - read_frame(after, t)) / frames
    power, along_y, along_x = 0.0, 0.0, 0.0
    along_t = np.zeros(lags)
    earlier_frames: deque[NDArray[np.float64]] = deque(maxlen=lags)
    for t in range(frames):
        rest = read_frame(before, t) - read_frame(after, t) - mean
        power += float(np.vdot(rest, rest))
        along_y += float(np.vdot(rest[:, 1:], rest[:, :-1]))
        along_x += float(np.vdot(rest[..., 1:], rest[..., :-1]))
        for lag, earlier in enumerate(reversed(earlier_frames)):
            along_t[lag] += np.vdot(rest, earlier)
        earlier_frames.append(rest)
    if not power:
        return ResidualCorrelation([0.0] * lags, 0.0, 0.0)
    lines, pixels = mean.shape[1:]
    # A shifted product has fewer terms than the power; the factors correct for it.
    per_lag = [float(v / power * frames / (frames - k)) for k, v in enumerate(along_t, 1)]
    return ResidualCorrelation(
        per_lag, along_y / power * lines / max(1, lines - 1), along_x / power * pixels / max(1, pixels - 1)
    )
