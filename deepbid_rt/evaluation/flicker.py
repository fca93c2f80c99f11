"""Flicker: change from frame to frame where the scene does not change.

The movies are read twice, frame by frame.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.movie import MovieReader, as_movie, pair_movies, read_frame, temporal_std

JUMP_LIMIT = 100.0
"""Replaces infinity, which JSON cannot hold: the ratio of a movie that is still except for its jumps."""
_STILL_PERCENT = 25.0  # this share of the pixels, those that change least, counts as still
_JUMP_PERCENTILE = 95.0  # of the frame-to-frame changes


def flicker(
    movie: MovieReader | NDArray[Any], raw: MovieReader | NDArray[Any], truth: MovieReader | NDArray[Any] | None = None
) -> dict[str, float]:
    """Measure how much the still quarter of the pixels changes from frame to frame, beyond the signal.

    The still pixels are those with the smallest standard deviation over time in the truth, or in the raw recording
    without a truth. Changes of the truth itself are subtracted first.

    Parameters
    ----------
    movie, raw : MovieReader or ndarray
        (T, C, Y, X), same shape.
    truth : MovieReader or ndarray, optional
        The clean movie, same shape.

    Returns
    -------
    dict
        ``flicker``: root mean square of the changes divided by that of the raw recording; 0 is ideal, 1 is as much as
        the raw recording. ``flicker_jump``: 95th percentile of the changes of whole frames divided by their median; 1
        means even. A window engine that jumps from one window to the next every 20 frames or more often has a high
        value; at most `JUMP_LIMIT`. A movie without change has 0 and 1.

    Raises
    ------
    StreamError
        When shapes differ, pixels are not finite, or there are fewer than 3 frames.
    """
    movie, raw = pair_movies(movie, raw)
    if movie.shape[0] < 3:
        raise StreamError(
            f"a movie of {movie.shape[0]} frames",
            expected="at least 3 frames to measure flicker",
            todo="evaluate a longer movie",
        )
    clean = None if truth is None else pair_movies(truth, raw)[0]
    spread = temporal_std(as_movie(raw if clean is None else clean))
    still = spread <= np.percentile(spread, _STILL_PERCENT)
    changes = [_squared_changes(m, clean, still) for m in (movie, raw)]
    rms, raw_rms = (math.sqrt(float(c.mean())) for c in changes)
    median, large = (math.sqrt(float(v)) for v in np.percentile(changes[0], (50, _JUMP_PERCENTILE)))
    jump = large / median if median * JUMP_LIMIT > large else JUMP_LIMIT
    return {"flicker": rms / raw_rms if raw_rms else 0.0, "flicker_jump": jump if large else 1.0}


def _squared_changes(movie: MovieReader, clean: MovieReader | None, still: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean square change of the still pixels from each frame to the next, (T - 1,)."""
    last: NDArray[np.float64] | None = None
    powers = []
    for t in range(movie.shape[0]):
        now = read_frame(movie, t)[still] - (0.0 if clean is None else read_frame(clean, t)[still])
        if last is not None:
            powers.append(float(np.square(now - last).mean()))
        last = now
    return np.array(powers)
