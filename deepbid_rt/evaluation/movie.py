"""Whole movies as something to read frames from, whether they lie in a file or in memory.

Knows no file format and no stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError


class Movie(Protocol):
    """Anything that hands out frames; `TiffMovie` is one."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, Y, X)."""
        ...

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        """Return frames ``t0`` to ``t1 - 1``, (t, C, Y, X)."""
        ...


@dataclass(frozen=True, slots=True)
class _Array:
    array: NDArray[Any]
    shape: tuple[int, int, int, int]

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        return self.array[t0:t1]


@dataclass(frozen=True, slots=True)
class _PairMeans:
    """A collinear movie of which each line pair is averaged."""

    movie: Movie

    @property
    def shape(self) -> tuple[int, int, int, int]:
        frames, channels, lines, pixels = self.movie.shape
        return frames, channels, lines // 2, pixels

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        pixels = self.movie.read(t0, t1).astype(np.float64)
        return (pixels[:, :, 0::2] + pixels[:, :, 1::2]) / 2


def as_movie(movie: Movie | NDArray[Any]) -> Movie:
    """Return an array (T, C, Y, X) as a movie, and a movie as it is. Raises `StreamError` when axes are missing."""
    if isinstance(movie, np.ndarray):
        if movie.ndim != 4:
            raise StreamError(
                f"an array of shape {movie.shape}", expected="axes (T, C, Y, X)", todo="add the axes that are missing"
            )
        frames, channels, lines, pixels = movie.shape
        return _Array(movie, (frames, channels, lines, pixels))
    return movie


def lines_averaged(raw: Movie, like: Movie) -> Movie:
    """Return ``raw``, of which lines 2k and 2k+1 are averaged if it has twice the lines of ``like``."""
    return _PairMeans(raw) if raw.shape[2] == 2 * like.shape[2] else raw


def paired(movie: Movie | NDArray[Any], other: Movie | NDArray[Any]) -> tuple[Movie, Movie]:
    """Return both as movies. Raises `StreamError` when their shapes differ."""
    movie, other = as_movie(movie), as_movie(other)
    if movie.shape != other.shape:
        raise StreamError(
            f"a movie of shape (T, C, Y, X) = {movie.shape} to compare with one of {other.shape}",
            expected="the same frames, channels, lines and pixels",
            todo="give the movies of one recording, and check the number of channels",
        )
    return movie, other


def counts(movie: Movie, t: int) -> NDArray[np.float64]:
    """Return frame ``t`` as float64 (C, Y, X). Raises `StreamError` when a pixel is not finite."""
    pixels: NDArray[np.float64] = movie.read(t, t + 1)[0].astype(np.float64)
    if not np.isfinite(pixels).all():
        raise StreamError(
            f"frame {t} with pixels that are not finite", expected="finite counts", todo="check how the movie was made"
        )
    return pixels


def inspect(movie: Movie, name: str) -> None:
    """Read a movie once. Raises `StreamError` when a pixel is not finite, or all are equal; ``name`` says of which."""
    low, high = np.inf, -np.inf
    for t in range(movie.shape[0]):
        try:
            frame = counts(movie, t)
        except StreamError as error:
            raise StreamError(f"{name}: {error.came}", expected=error.expected, todo=error.todo) from error
        low, high = min(low, float(frame.min())), max(high, float(frame.max()))
    if low == high:
        raise StreamError(
            f"{name} with {low:g} counts in every pixel",
            expected="a picture of something",
            todo="check how the movie was made",
        )


def spread_of(movie: Movie) -> NDArray[np.float64]:
    """Return the standard deviation over time of each pixel, (C, Y, X)."""
    mean, square = np.zeros(movie.shape[1:]), np.zeros(movie.shape[1:])
    first = counts(movie, 0)
    for t in range(movie.shape[0]):
        frame = counts(movie, t) - first
        mean += frame / movie.shape[0]
        square += frame**2 / movie.shape[0]
    spread: NDArray[np.float64] = np.sqrt(np.maximum(square - mean**2, 0))
    return spread


def mean_of(movie: Movie) -> NDArray[np.float64]:
    """Return the mean over time of each pixel, (C, Y, X)."""
    total = np.zeros(movie.shape[1:])
    for t in range(movie.shape[0]):
        total += counts(movie, t) / movie.shape[0]
    return total
