"""Activity of cells: their traces, the events in them, and whether denoising moved or lost any.

Traces are read frame by frame; only they are held. Knows no file format and no engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks

from deepbid_rt.evaluation.moments import Moments
from deepbid_rt.evaluation.movie import Movie, as_movie, counts, spread_of

Cells = NDArray[np.intp]
"""Number of the cell that each pixel belongs to, (C, Y, X); 0 for none."""

_MOST_CELLS = 100
_FEWEST_PIXELS = 9


def cells_of(truth: Movie | NDArray[Any]) -> Cells:
    """Find regions that flicker in a clean movie; the largest is number 1, there are 100 at most.

    The rule: pixels whose standard deviation over time exceeds its mean over the picture by two standard deviations,
    in connected groups of 9 or more. Edges that vibrate count as well: give the cells where they are known.
    """
    spread = spread_of(as_movie(truth))
    groups, count = label(spread > spread.mean() + 2 * spread.std(), np.eye(3)[1][:, None, None] * np.ones((1, 3, 3)))
    sizes = np.bincount(groups.ravel(), minlength=count + 1)[1:]
    kept = [i for i in np.argsort(-sizes, kind="stable")[:_MOST_CELLS] if sizes[i] >= _FEWEST_PIXELS]
    number = np.zeros(count + 1, np.intp)
    number[[i + 1 for i in kept]] = np.arange(1, len(kept) + 1)
    cells: Cells = number[groups]
    return cells


def traces_of(movie: Movie | NDArray[Any], cells: Cells) -> NDArray[np.float64]:
    """Return the mean of each cell in each frame, (R, T); a number without pixels has a trace of 0."""
    movie = as_movie(movie)
    flat = cells.ravel()
    sizes = np.maximum(np.bincount(flat)[1:], 1)
    frames = range(movie.shape[0])
    sums = [np.bincount(flat, counts(movie, t).ravel(), len(sizes) + 1)[1:] for t in frames]
    return np.stack(sums, axis=1) / sizes[:, None]


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


def trace_correlations(seen: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Pearson's correlation of each trace (R, T) with the true one, (R,)."""
    return np.array([Moments.of(a, b).correlation() for a, b in zip(seen, true, strict=True)])


def trace_scores(seen: NDArray[np.float64], true: NDArray[np.float64], within: int = 3) -> dict[str, float | None]:
    """Compare the traces of a movie (R, T) with the true ones, in whatever unit either has.

    Returns
    -------
    dict
        ``trace_correlation``: mean over cells of Pearson's. ``event_f1``: 2 hits / (found + true). ``event_shift``
        and ``event_distance``: median of found - true and of its size, frames. None where there is nothing to judge.
    """
    correlations = trace_correlations(seen, true)
    shifts: list[int] = []
    events = 0
    for a, b in zip(seen, true, strict=True):
        found, expected = events_of(a), events_of(b)
        events += found.size + expected.size
        shifts += matched(found, expected, within).tolist()
    return {
        "trace_correlation": float(correlations.mean()) if correlations.size else None,
        "event_f1": 2 * len(shifts) / events if events else None,
        "event_shift": float(np.median(shifts)) if shifts else None,
        "event_distance": float(np.median(np.abs(shifts))) if shifts else None,
    }
