"""Whether pages that are given as one channel alternate between several: channels or planes that nobody mentioned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.movies.movie_file import MovieFile

_PLACES, _PAGES = 4, 9
_LARGEST_PERIOD = 4
_BINS = 32
_RATIO = 1.5
"""Least ratio of the differences between unlike and like pages. Real one-channel movies stay below 1.15 at every place,
two channels of real movies lie above 2, four above 1.75."""


def period_of_pages(movie: MovieFile) -> int | None:
    """Return the period with which the frames of a one-channel movie alternate unmistakably; None when they do not.

    Frames are compared at 1 to 8 frames' distance, at four places of the movie (36 frames are read), after averaging
    over 32 x 32 fields, since noise of single pixels makes all pages unlike. A period is unmistakable when at every
    place the least difference between unlike pages is more than 1.5 times the largest between like pages.

    Parameters
    ----------
    movie : MovieFile
        One channel, one plane.

    Raises
    ------
    StageError
        When a frame cannot be read.
    """
    count = movie.shape[0]
    places = min(_PLACES, count // _PAGES)
    if places == 0:
        return None
    starts = np.linspace(0, count - _PAGES, places).astype(int)
    differences = np.array([_differences(_fields(movie, int(start))) for start in starts])
    return next((period for period in range(2, _LARGEST_PERIOD + 1) if _alternates(differences, period)), None)


def _fields(movie: MovieFile, start: int) -> NDArray[np.float64]:
    """Return (9, fields) mean counts of nine frames; pixels that are not finite count as 0."""
    frames = np.nan_to_num(movie.read(start, start + _PAGES)[:, 0].astype(np.float64), posinf=0.0, neginf=0.0)
    lines, pixels = frames.shape[1:]
    rows, columns = (min(_BINS, length) for length in (lines, pixels))
    height, width = lines // rows, pixels // columns
    cut = frames[:, : rows * height, : columns * width]
    fields: NDArray[np.float64] = cut.reshape(_PAGES, rows, height, columns, width).mean(axis=(2, 4))
    return fields.reshape(_PAGES, -1)


def _differences(fields: NDArray[np.float64]) -> list[float]:
    """Return the mean absolute difference at each distance from 1 frame on."""
    return [float(np.abs(fields[step:] - fields[:-step]).mean()) for step in range(1, _PAGES)]


def _alternates(differences: NDArray[np.float64], period: int) -> bool:
    steps = np.arange(1, _PAGES)
    like = differences[:, steps % period == 0].max(axis=1)
    unlike = differences[:, steps % period != 0].min(axis=1)
    return bool((unlike > _RATIO * like).all() and (unlike > 0).all())
