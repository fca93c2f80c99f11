"""Movies that are read frame by frame, from a file or from memory, and what is computed from all their frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError


class MovieReader(Protocol):
    """Anything that returns frames by their number; `TiffMovie` is one."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, Y, X)."""
        ...

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        """Return frames ``t0`` to ``t1 - 1``, (t, C, Y, X)."""
        ...


@dataclass(frozen=True, slots=True)
class _ArrayMovie:
    array: NDArray[Any]
    shape: tuple[int, int, int, int]

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        return self.array[t0:t1]


@dataclass(frozen=True, slots=True)
class _LinePairMeans:
    """A collinear movie with the two lines of each pair averaged."""

    movie: MovieReader

    @property
    def shape(self) -> tuple[int, int, int, int]:
        frames, channels, lines, pixels = self.movie.shape
        return frames, channels, lines // 2, pixels

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        return line_pair_means(self.movie.read(t0, t1).astype(np.float64))


def as_movie(movie: MovieReader | NDArray[Any]) -> MovieReader:
    """Return a `MovieReader` for an array (T, C, Y, X); return a `MovieReader` unchanged.

    Raises
    ------
    StreamError
        When an array does not have four axes.
    """
    if isinstance(movie, np.ndarray):
        if movie.ndim != 4:
            raise StreamError(
                f"an array of shape {movie.shape}", expected="axes (T, C, Y, X)", todo="add the missing axes"
            )
        frames, channels, lines, pixels = movie.shape
        return _ArrayMovie(movie, (frames, channels, lines, pixels))
    return movie


def line_pair_means(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the means of lines 2k and 2k+1 of (..., 2N, X) floating-point pixels, (..., N, X) of the same type."""
    return np.asarray((pixels[..., 0::2, :] + pixels[..., 1::2, :]) / 2)


def average_line_pairs(raw: MovieReader, like: MovieReader) -> MovieReader:
    """Return ``raw`` with lines 2k and 2k+1 averaged if it has twice the lines of ``like``, otherwise unchanged."""
    return _LinePairMeans(raw) if raw.shape[2] == 2 * like.shape[2] else raw


def pair_movies(
    movie: MovieReader | NDArray[Any], other: MovieReader | NDArray[Any]
) -> tuple[MovieReader, MovieReader]:
    """Return both as movies.

    Raises
    ------
    StreamError
        When their shapes differ.
    """
    movie, other = as_movie(movie), as_movie(other)
    if movie.shape != other.shape:
        raise StreamError(
            f"a movie of shape (T, C, Y, X) = {movie.shape} to compare with one of {other.shape}",
            expected="the same frames, channels, lines and pixels",
            todo="give the movies of one recording, and check the number of channels",
        )
    return movie, other


def read_frame(movie: MovieReader, t: int) -> NDArray[np.float64]:
    """Return frame ``t`` in counts as float64 (C, Y, X).

    Raises
    ------
    StreamError
        When a pixel is not finite.
    """
    pixels: NDArray[np.float64] = movie.read(t, t + 1)[0].astype(np.float64)
    if not np.isfinite(pixels).all():
        raise StreamError(
            f"frame {t} with pixels that are not finite", expected="finite counts", todo="check how the movie was made"
        )
    return pixels


def check_movie(movie: MovieReader, name: str) -> None:
    """Read a movie once and check its pixels; ``name`` is what an error calls the movie.

    Raises
    ------
    StreamError
        When a pixel is not finite, or all pixels are equal.
    """
    low, high = np.inf, -np.inf
    for t in range(movie.shape[0]):
        try:
            frame = read_frame(movie, t)
        except StreamError as error:
            raise StreamError(f"{name}: {error.came}", expected=error.expected, todo=error.todo) from error
        low, high = min(low, float(frame.min())), max(high, float(frame.max()))
    if low == high:
        raise StreamError(
            f"{name} with {low:g} counts in every pixel",
            expected="pixels that differ",
            todo="check how the movie was made",
        )


def temporal_std(movie: MovieReader) -> NDArray[np.float64]:
    """Return the standard deviation over time of each pixel, (C, Y, X)."""
    mean, square = np.zeros(movie.shape[1:]), np.zeros(movie.shape[1:])
    first = read_frame(movie, 0)
    for t in range(movie.shape[0]):
        frame = read_frame(movie, t) - first
        mean += frame / movie.shape[0]
        square += frame**2 / movie.shape[0]
    spread: NDArray[np.float64] = np.sqrt(np.maximum(square - mean**2, 0))
    return spread


def temporal_mean(movie: MovieReader) -> NDArray[np.float64]:
    """Return the mean over time of each pixel, (C, Y, X)."""
    total = np.zeros(movie.shape[1:])
    for t in range(movie.shape[0]):
        total += read_frame(movie, t) / movie.shape[0]
    return total
