"""Activity of cells: their traces, the events in them, and whether denoising moved or lost any.

Traces are read frame by frame; only they are held. Knows no file format and no engine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks

from deepbid_rt.evaluation.moments import Moments
from deepbid_rt.evaluation.movie import Movie, as_movie, counts, paired

_MOST_CELLS = 100
_FEWEST_PIXELS = 9


def masks_of(truth: Movie | NDArray[Any]) -> NDArray[np.bool_]:
    """Find regions that flicker in a clean movie, (R, C, Y, X), the largest first, 100 at most.

    The rule: pixels whose standard deviation over time exceeds its mean over the picture by two standard deviations,
    in connected groups of 9 or more. Edges that vibrate count as well: give masks of your own where they are known.
    """
    movie = as_movie(truth)
    mean, square = np.zeros(movie.shape[1:]), np.zeros(movie.shape[1:])
    first = counts(movie, 0)
    for t in range(movie.shape[0]):
        frame = counts(movie, t) - first
        mean += frame / movie.shape[0]
        square += frame**2 / movie.shape[0]
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    groups, count = label(spread > spread.mean() + 2 * spread.std(), np.eye(3)[1][:, None, None] * np.ones((1, 3, 3)))
    sizes = np.bincount(groups.ravel(), minlength=count + 1)[1:]
    kept = [i for i in np.argsort(-sizes, kind="stable")[:_MOST_CELLS] if sizes[i] >= _FEWEST_PIXELS]
    return np.array([groups == i + 1 for i in kept], bool).reshape(-1, *movie.shape[1:])


def traces_of(movie: Movie | NDArray[Any], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean of each mask (R, C, Y, X) in each frame, (R, T)."""
    movie = as_movie(movie)
    flat = masks.reshape(len(masks), math.prod(masks.shape[1:])).astype(np.float64)
    weights = flat / np.maximum(flat.sum(1, keepdims=True), 1)
    return np.stack([weights @ counts(movie, t).ravel() for t in range(movie.shape[0])], axis=1)


def events_of(trace: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the frames of peaks in a trace (T,).

    A peak stands out of its surroundings and above the median by a fifth of the trace's height over its median, and by
    four standard deviations of the noise (the median absolute frame-to-frame difference, times 1.4826 / sqrt 2).
    """
    noise = 1.4826 * float(np.median(np.abs(np.diff(trace)))) / np.sqrt(2)
    rest = float(np.median(trace))
    height = float(trace.max()) - rest
    if not height:
        return np.empty(0, np.intp)
    least = max(0.2 * height, 4 * noise)
    peaks: NDArray[np.intp] = find_peaks(trace, height=rest + least, prominence=least)[0]
    return peaks


def matched(found: NDArray[np.intp], true: NDArray[np.intp], within: int) -> NDArray[np.intp]:
    """Pair events one to one at most ``within`` frames apart, as many and as near as can be; return found - true."""
    if not found.size or not true.size:
        return np.empty(0, np.intp)
    shift = found[:, None] - true[None]
    forbidden = 1 + within * (1 + min(shift.shape))  # dearer than all allowed pairs together
    cost = np.where(np.abs(shift) <= within, np.abs(shift), forbidden)
    rows, columns = linear_sum_assignment(cost)
    pairs: NDArray[np.intp] = shift[rows, columns]
    return pairs[np.abs(pairs) <= within]


def trace_scores(
    movie: Movie | NDArray[Any], truth: Movie | NDArray[Any], masks: NDArray[np.bool_], within: int = 3
) -> dict[str, float | None]:
    """Compare the traces of a movie with the true ones.

    Returns
    -------
    dict
        ``trace_correlation``: mean over cells of Pearson's. ``event_f1``: 2 hits / (found + true). ``event_shift``
        and ``event_distance``: median of found - true and of its size, frames. None where there is nothing to judge.

    Raises
    ------
    StreamError
        When shapes differ or pixels are not finite.
    """
    movie, truth = paired(movie, truth)
    seen, clean = traces_of(movie, masks), traces_of(truth, masks)
    correlations = []
    shifts: list[int] = []
    events = 0
    for a, b in zip(seen, clean, strict=True):
        correlations.append(Moments.of(a, b).correlation())
        found, true = events_of(a), events_of(b)
        events += found.size + true.size
        shifts += matched(found, true, within).tolist()
    return {
        "trace_correlation": float(np.mean(correlations)) if correlations else None,
        "event_f1": 2 * len(shifts) / events if events else None,
        "event_shift": float(np.median(shifts)) if shifts else None,
        "event_distance": float(np.median(np.abs(shifts))) if shifts else None,
    }
