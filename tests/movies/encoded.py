"""Small movies whose pixels say which frame, plane and channel they belong to, and what readers are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.wanted import Wanted

LINES, PIXELS = 48, 64


def encoded(
    times: int = 5, planes: int = 1, channels: int = 1, lines: int = LINES, pixels: int = PIXELS, dtype: Any = "<u2"
) -> NDArray[Any]:
    """Return (T, Z, C, Y, X): 1000 t + 100 z + 30 c, plus line and pixel where the type has room for them."""
    t, z, c = np.ogrid[:times, :planes, :channels]
    stamp = (1000 * t + 100 * z + 30 * c)[..., None, None]
    if np.dtype(dtype).itemsize == 1:
        stamp = (10 * t + 3 * z + c)[..., None, None]
    y, x = np.ogrid[:lines, :pixels]
    return (stamp + (y % 7 * 3 + x % 3)).astype(dtype)


def frames_of(movie: NDArray[Any]) -> NDArray[Any]:
    """Return the frames (N, C, Y, X) of (T, Z, C, Y, X)."""
    return movie.reshape(-1, *movie.shape[2:])


class Reader(Protocol):
    def claims(self, path: Path) -> bool: ...
    def open_movie(self, path: Path, wanted: Wanted) -> MovieFile: ...


def check(reader: Reader, path: Path, frames: NDArray[Any], in_turn: int = 1, **wanted: Any) -> MovieFile:
    """Check that a file opens as these frames (N, C, Y, X), read in any order; return the closed movie."""
    assert reader.claims(path)
    with reader.open_movie(path, Wanted(**wanted)) as movie:
        assert movie.shape == frames.shape
        assert movie.dtype == frames.dtype
        assert movie.dtype.str in ("|u1", "<u2", "<i2", "<f4")
        assert movie.facts.planes == in_turn
        np.testing.assert_array_equal(movie.read(0, len(frames)), frames)
        for i in (len(frames) - 1, 0, len(frames) // 2):
            np.testing.assert_array_equal(movie.frame(i), frames[i])
    movie.close()
    return movie


def refused(reader: Reader, path: Path, match: str, **wanted: Any) -> FileError | StreamError:
    """Check that a file is refused with one sentence that contains a pattern; return the error."""
    with pytest.raises((FileError, StreamError), match=match) as info:
        reader.open_movie(path, Wanted(**wanted))
    message = str(info.value)
    assert message.count("\n") == 0
    assert len(message) < 1200
    return info.value
