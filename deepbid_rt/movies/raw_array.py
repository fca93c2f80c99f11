"""An uncompressed array at some place in a file, read by seeking: never mapped into memory."""

from __future__ import annotations

import math
import threading
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_PIECE = 2**22
"""Pieces of at most this many bytes are read whole when only parts of them are needed."""


class RawArray:
    """An uncompressed array in C order; see `deepbid_rt.movies.array_pixels.ArraySource`.

    Parameters
    ----------
    file : binary file object
        Open and seekable; closed with the array.
    start : int
        Where its first byte is.
    shape : tuple of int
        Lengths of the axes, the last one fastest. The caller has compared them with the length of the file.
    dtype : numpy.dtype
        As stored.
    """

    chunks: tuple[int, ...] | None = None

    def __init__(self, file: IO[bytes], start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self._file, self._start = file, start
        self._lock = threading.Lock()  # of the position in the file

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Return a piece. Raises `EOFError` when the file has become shorter."""
        out = np.empty([span.stop - span.start for span in index], self.dtype)
        with self._lock:
            self._fill(out, self._start, 0, index)
        return out

    def _fill(self, out: NDArray[Any], start: int, axis: int, index: tuple[slice, ...]) -> None:
        span, inner = index[axis], self.shape[axis + 1 :]
        stride = self.dtype.itemsize * math.prod(inner)
        count = span.stop - span.start
        if all(one == slice(0, length) for one, length in zip(index[axis + 1 :], inner, strict=True)):
            self._read_into(out, start + span.start * stride)
        elif count * stride <= _PIECE:
            piece = np.empty((count, *inner), self.dtype)
            self._read_into(piece, start + span.start * stride)
            out[...] = piece[(slice(None), *index[axis + 1 :])]
        else:
            for number, part in enumerate(out):
                self._fill(part, start + (span.start + number) * stride, axis + 1, index)

    def _read_into(self, out: NDArray[Any], start: int) -> None:
        self._file.seek(start)
        view = out.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(view):
            got = self._file.readinto(view[done:])  # type: ignore[attr-defined]
            if not got:
                raise EOFError("it has become shorter since it was opened")
            done += got

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()
