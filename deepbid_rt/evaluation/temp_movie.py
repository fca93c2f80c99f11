"""A movie that is kept in a nameless file while it is judged: made once, read as often as needed, never in memory.

Knows no metric.
"""

from __future__ import annotations

import math
import tempfile
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError
from deepbid_rt.evaluation.movie import Movie

_BLOCK = 16  # frames copied at once


class TempMovie:
    """A `Movie` of float32 counts in a temporary file (of the folder ``TMPDIR``), gone when closed.

    Parameters
    ----------
    shape : tuple of int
        (T, C, Y, X); T frames must be appended before it is read.
    """

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        self.shape = shape
        self._frame_bytes = 4 * math.prod(shape[1:])
        self._file = tempfile.TemporaryFile(prefix="deepbid-rt-")  # noqa: SIM115 (closed by `close`)

    def append(self, frames: NDArray[Any]) -> None:
        """Take the next frames, (t, C, Y, X). Raises `FileError` when the disk does not take them."""
        try:
            self._file.write(np.ascontiguousarray(frames, "<f4").tobytes())
            self._file.flush()
        except OSError as error:
            raise FileError(
                f"a temporary movie in {tempfile.gettempdir()} cannot be written ({error.strerror or error})",
                expected=f"{self.shape[0] * self._frame_bytes / 2**20:.0f} MiB free",
                todo="free some space, or name another folder in the environment variable TMPDIR",
            ) from error

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        """Return frames ``t0`` to ``t1 - 1``, (t, C, Y, X)."""
        self._file.seek(t0 * self._frame_bytes)
        raw = self._file.read((t1 - t0) * self._frame_bytes)
        return np.frombuffer(raw, "<f4").reshape(t1 - t0, *self.shape[1:])

    def close(self) -> None:
        """Delete the file; may be called twice."""
        self._file.close()

    def __enter__(self) -> TempMovie:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def to_temp_movie(movie: Movie) -> TempMovie:
    """Copy a movie, such as one that is filtered while it is read, into a `TempMovie`; the caller closes it.

    Raises `FileError` when the disk is full.
    """
    spool = TempMovie(movie.shape)
    try:
        for t0 in range(0, movie.shape[0], _BLOCK):
            spool.append(movie.read(t0, min(t0 + _BLOCK, movie.shape[0])))
    except BaseException:
        spool.close()
        raise
    return spool
