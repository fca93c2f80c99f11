"""Movies that several threads read, one at a time: a file has one position.

Knows nothing of what is read for.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import dataclass
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from deepbid_rt.evaluation.movie import Movie


class SharedReader:
    """Hands movies out to threads, and calls them off when nobody waits for what they do."""

    def __init__(self) -> None:
        self._reading = Lock()
        self._closed = False

    def share(self, movie: Movie) -> Movie:
        """Return a movie that any thread may read; movies of one desk may be one file."""
        return _Lent(movie, self)

    def close(self) -> None:
        """Let whoever reads next have `CancelledError` instead, so that no thread goes on for minutes."""
        self._closed = True

    def read(self, movie: Movie, t0: int, t1: int) -> NDArray[Any]:
        """Read when nobody else does."""
        with self._reading:
            if self._closed:
                raise CancelledError
            return movie.read(t0, t1)


@dataclass(frozen=True, slots=True)
class _Lent:
    movie: Movie
    desk: SharedReader

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.movie.shape

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        return self.desk.read(self.movie, t0, t1)
