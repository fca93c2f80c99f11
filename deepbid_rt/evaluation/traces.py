"""Traces of cells, the events in them, and metrics that compare both with the truth.

Movies are read frame by frame; only the traces are held in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks

from deepbid_rt.evaluation.moments import Moments
from deepbid_rt.evaluation.movie import MovieReader, as_movie, read_frame, temporal_std

CellLabels = NDArray[np.intp]
"""Number of the cell that each pixel belongs to, (C, Y, X), from 1; 0 for none."""

_MAX_CELLS = 100
_MIN_PIXELS = 9


def find_cells(truth: MovieReader | NDArray[Any]) -> CellLabels:
    """Find at most 100 active regions in a clean movie, numbered from the largest, which is 1.

    A region is a connected group of at least 9 pixels whose standard deviation over time exceeds the mean of that
    quantity over the frame by two of its standard deviations. Vibrating edges are also found: where the true cells are
    known, use them instead.
    """
    spread = temporal_std(as_movie(truth))
    groups, count = label(spread > spread.mean() + 2 * spread.std(), np.eye(3)[1][:, None, None] * np.ones((1, 3, 3)))
    sizes = np.bincount(groups.ravel(), minlength=count + 1)[1:]
    kept = [i for i in np.argsort(-sizes, kind="stable")[:_MAX_CELLS] if sizes[i] >= _MIN_PIXELS]
    number = np.zeros(count + 1, np.intp)
    number[[i + 1 for i in kept]] = np.arange(1, len(kept) + 1)
    cells: CellLabels = number[groups]
    return cells


def extract_traces(movie: MovieReader | NDArray[Any], cells: CellLabels) -> NDArray[np.float64]:
    """Return the mean of each cell in each frame, (R, T); a cell number without pixels has a trace of 0."""
    movie = as_movie(movie)
    flat = cells.ravel()
    sizes = np.maximum(np.bincount(flat)[1:], 1)
    frames = range(movie.shape[0])
    sums = [np.bincount(flat, read_frame(movie, t).ravel(), len(sizes) + 1)[1:] for t in frames]
    return np.stack(sums, axis=1) / sizes[:, None]


def find_events(trace: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the frames of the peaks of a trace (T,).

    The height above the median and the prominence of a peak must both reach a fifth of the trace's largest height
    above its median, and four standard deviations of the noise (the median absolute frame-to-frame difference, times
    1.4826 / sqrt 2).
    """
    noise = 1.4826 * float(np.median(np.abs(np.diff(trace)))) / np.sqrt(2)
    rest = float(np.median(trace))
    height = float(trace.max()) - rest
    if not height:
        return np.empty(0, np.intp)
    least = max(0.2 * height, 4 * noise)
    peaks: NDArray[np.intp] = find_peaks(trace, height=rest + least, prominence=least)[0]
    return peaks


def match_events(found: NDArray[np.intp], true: NDArray[np.intp], within: int) -> NDArray[np.intp]:
    """Pair events one to one and return found - true of each pair, frames.

    Pairs are at most ``within`` frames apart. Their number is as large as possible, then their total distance as small
    as possible.
    """
    if not found.size or not true.size:
        return np.empty(0, np.intp)
    shift = found[:, None] - true[None]
    forbidden = 1 + within * (1 + min(shift.shape))  # more than all allowed pairs cost together
    cost = np.where(np.abs(shift) <= within, np.abs(shift), forbidden)
    rows, columns = linear_sum_assignment(cost)
    pairs: NDArray[np.intp] = shift[rows, columns]
    return pairs[np.abs(pairs) <= within]


def trace_correlations(measured: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Pearson's correlation of each trace (R, T) with the true trace, (R,)."""
    return np.array([Moments.of(a, b).correlation() for a, b in zip(measured, true, strict=True)])


def trace_scores(measured: NDArray[np.float64], true: NDArray[np.float64], within: int = 3) -> dict[str, float | None]:
    """Compare the traces of a movie (R, T) with the true traces; their units do not matter.

    Parameters
    ----------
    measured, true : ndarray
        (R, T).
    within : int
        Largest distance of a found event from the true one, frames.

    Returns
    -------
    dict
        ``trace_correlation``: Pearson's correlation, mean over cells. ``event_f1``: 2 hits / (found + true).
        ``event_shift``, ``event_distance``: median of found - true, and of its absolute value, frames. None where there
        are no cells or events.
    """
    correlations = trace_correlations(measured, true)
    shifts: list[int] = []
    events = 0
    for a, b in zip(measured, true, strict=True):
        found, expected = find_events(a), find_events(b)
        events += found.size + expected.size
        shifts += match_events(found, expected, within).tolist()
    return {
        "trace_correlation": float(correlations.mean()) if correlations.size else None,
        "event_f1": 2 * len(shifts) / events if events else None,
        "event_shift": float(np.median(shifts)) if shifts else None,
        "event_distance": float(np.median(np.abs(shifts))) if shifts else None,
    }
