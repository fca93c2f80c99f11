"""A movie in a temporary file without a name: computed once, read as often as needed, never held in memory."""

from __future__ import annotations

import math
import tempfile
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError
from deepbid_rt.evaluation.movie import MovieReader

_BLOCK = 16  # frames copied at once


class TempMovie:
    """A `MovieReader` of float32 counts in a temporary file (in the folder ``TMPDIR``), deleted when closed.

    Parameters
    ----------
    shape : tuple of int
        (T, C, Y, X); append all T frames before reading.
    """

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        self.shape = shape
        self._frame_bytes = 4 * math.prod(shape[1:])
        self._file = tempfile.TemporaryFile(prefix="deepbid-rt-")  # noqa: SIM115 (closed by `close`)

    def append(self, frames: NDArray[Any]) -> None:
        """Write the next frames, (t, C, Y, X).

        Raises
        ------
        FileError
            When they cannot be written.
        """
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


def to_temp_movie(movie: MovieReader) -> TempMovie:
    """Copy a movie, such as one that is filtered while it is read, into a `TempMovie`; the caller closes it.

    Raises
    ------
    FileError
        When the copy cannot be written, as on a full disk.
    """
    copy = TempMovie(movie.shape)
    try:
        for t0 in range(0, movie.shape[0], _BLOCK):
            copy.append(movie.read(t0, min(t0 + _BLOCK, movie.shape[0])))
    except BaseException:
        copy.close()
        raise
    return copy
