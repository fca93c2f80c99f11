"""Whether what a denoiser took away was noise: of a real recording, without a truth.

Reads both movies twice, frame by frame. Knows no file format and no engine.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.movie import Movie, as_movie, counts, lines_averaged, paired


@dataclass(frozen=True, slots=True)
class ResidualCorrelation:
    """Correlation of a residual with itself: ``t`` frames later (lags from 1 on), one line on, one pixel on."""

    t: list[float]
    y: float
    x: float


def residual_correlation(
    raw: Movie | NDArray[Any], denoised: Movie | NDArray[Any], lags: int = 4
) -> ResidualCorrelation:
    """Return the autocorrelation of raw - denoised, of which the time mean of each pixel is taken away.

    Noise that a denoiser takes away is unlike its neighbours: every number is near 0. Signal that it takes away is
    like them. A raw movie of twice the lines is averaged over its line pairs. A residual of nothing gives 0.0.

    Raises
    ------
    StreamError
        When shapes differ, pixels are not finite, or there are not more frames than lags.
    """
    before, after = paired(lines_averaged(as_movie(raw), as_movie(denoised)), denoised)
    frames = before.shape[0]
    if frames <= lags:
        raise StreamError(
            f"movies of {frames} frames for lags up to {lags}",
            expected="more frames than lags",
            todo="compare longer recordings",
        )
    mean = np.zeros(before.shape[1:])
    for t in range(frames):
        mean += (counts(before, t) - counts(after, t)) / frames
    power, along_y, along_x = 0.0, 0.0, 0.0
    along_t = np.zeros(lags)
    past: deque[NDArray[np.float64]] = deque(maxlen=lags)
    for t in range(frames):
        rest = counts(before, t) - counts(after, t) - mean
        power += float(np.vdot(rest, rest))
        along_y += float(np.vdot(rest[:, 1:], rest[:, :-1]))
        along_x += float(np.vdot(rest[..., 1:], rest[..., :-1]))
        for lag, earlier in enumerate(reversed(past)):
            along_t[lag] += np.vdot(rest, earlier)
        past.append(rest)
    if not power:
        return ResidualCorrelation([0.0] * lags, 0.0, 0.0)
    lines, pixels = mean.shape[1:]
    # a shifted product has fewer terms than the power
    per_lag = [float(v / power * frames / (frames - k)) for k, v in enumerate(along_t, 1)]
    return ResidualCorrelation(
        per_lag, along_y / power * lines / max(1, lines - 1), along_x / power * pixels / max(1, pixels - 1)
    )
