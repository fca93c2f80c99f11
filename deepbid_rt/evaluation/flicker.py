"""Whether a scene that stands still flickers: change from frame to frame where the truth does not change.

Reads the movies twice, frame by frame. Knows no file format and no engine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.movie import Movie, as_movie, counts, paired, spread_of

JUMP_LIMIT = 100.0
"""Stands for infinity, as for a movie that stands still but for its jumps. JSON knows no infinity."""
_STILL = 25.0  # per cent of pixels that change least
_LOUDEST = 95.0  # per cent of steps below the ones that count as jumps


def flicker(
    movie: Movie | NDArray[Any], raw: Movie | NDArray[Any], truth: Movie | NDArray[Any] | None = None
) -> dict[str, float]:
    """Return how much the still quarter of the pixels changes from frame to frame, beyond the signal.

    Still are the pixels of least standard deviation over time in the truth, or in the raw recording where there is
    none. The truth's own change is taken away first.

    Returns
    -------
    dict
        ``flicker``: root mean square of the changes over that of the raw recording; 0 is ideal, 1 is as the raw one.
        ``flicker_jump``: the 95th percentile of the changes of whole frames over their median; 1 is even, and an
        engine that works in windows stands out here by the jumps from one to the next, if they come every 20 frames
        or oftener; at most `JUMP_LIMIT`. A movie without change has 0 and 1.

    Raises
    ------
    StreamError
        When shapes differ, pixels are not finite, or there are fewer than 3 frames.
    """
    movie, raw = paired(movie, raw)
    if movie.shape[0] < 3:
        raise StreamError(
            f"a movie of {movie.shape[0]} frames",
            expected="at least 3 to see it flicker",
            todo="evaluate a longer movie",
        )
    clean = None if truth is None else paired(truth, raw)[0]
    spread = spread_of(as_movie(raw if clean is None else clean))
    still = spread <= np.percentile(spread, _STILL)
    steps = [_steps(m, clean, still) for m in (movie, raw)]
    whole, noisy = (math.sqrt(float(s.mean())) for s in steps)
    middle, loud = (math.sqrt(float(v)) for v in np.percentile(steps[0], (50, _LOUDEST)))
    jump = loud / middle if middle * JUMP_LIMIT > loud else JUMP_LIMIT
    return {"flicker": whole / noisy if noisy else 0.0, "flicker_jump": jump if loud else 1.0}


def _steps(movie: Movie, clean: Movie | None, still: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean square change of the still pixels from each frame to the next, (T - 1,)."""
    last: NDArray[np.float64] | None = None
    powers = []
    for t in range(movie.shape[0]):
        now = counts(movie, t)[still] - (0.0 if clean is None else counts(clean, t)[still])
        if last is not None:
            powers.append(float(np.square(now - last).mean()))
        last = now
    return np.array(powers)
