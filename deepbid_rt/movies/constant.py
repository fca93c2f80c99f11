"""Movies in which nothing can be seen: all pixels equal, or none a number."""

from __future__ import annotations

import numpy as np

from deepbid_rt.errors import StreamError
from deepbid_rt.movies.movie_file import MovieFile


def constant_value(movie: MovieFile) -> float | None:
    """Return the value of all finite pixels when it is the same everywhere, NaN when there are none; else None.

    A movie that shows something is known from its first frames, one that does not is read to its end. Raises
    `StageError` when a frame cannot be read.
    """
    value = float("nan")
    for i in range(movie.shape[0]):
        frame = movie.frame(i)
        finite = frame[np.isfinite(frame)] if movie.dtype.kind == "f" else frame
        if finite.size == 0:
            continue
        low, high = float(finite.min()), float(finite.max())
        if low != high or (not np.isnan(value) and low != value):
            return None
        value = low
    return value


def said(value: float) -> str:
    """Return what a user has to know about a movie of this `constant_value`."""
    return "no pixel is a number" if np.isnan(value) else f"every pixel is {value:g}"


def check_not_constant(movie: MovieFile) -> None:
    """Raise `StreamError` when there is nothing to denoise in a movie."""
    value = constant_value(movie)
    if value is not None:
        raise StreamError(
            f"{movie.path}, in which {said(value)}",
            expected="a movie with an image in it",
            todo="check how it was recorded or exported, and whether it is the right file",
        )
