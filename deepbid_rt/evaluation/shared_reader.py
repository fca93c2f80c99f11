"""Access to movies from several threads, one read at a time: an open file has only one position."""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import dataclass
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from deepbid_rt.evaluation.movie import MovieReader


class SharedReader:
    """Makes movies readable from any thread, and cancels the threads that read them.

    All movies of one `SharedReader` share one lock, so they may be parts of one file.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._closed = False

    def share(self, movie: MovieReader) -> MovieReader:
        """Return a movie that any thread may read."""
        return _SharedMovie(movie, self)

    def close(self) -> None:
        """Make every later read raise `CancelledError`, so that worker threads stop at once and not after minutes."""
        self._closed = True

    def read(self, movie: MovieReader, t0: int, t1: int) -> NDArray[Any]:
        """Return frames ``t0`` to ``t1 - 1`` of a movie once no other thread reads.

        Raises
        ------
        CancelledError
            After `close`.
        """
        with self._lock:
            if self._closed:
                raise CancelledError
            return movie.read(t0, t1)


@dataclass(frozen=True, slots=True)
class _SharedMovie:
    movie: MovieReader
    reader: SharedReader

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.movie.shape

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        return self.reader.read(self.movie, t0, t1)
