"""Movies that training reads in blocks, from memory or from a file."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.movie import MovieReader


class MovieFile(MovieReader, Protocol):
    """An open movie file; `deepbid_rt.recording.tiff_movie.TiffMovie` is one."""

    @property
    def uncompressed(self) -> bool:
        """True when all pages are stored uncompressed, so that each can be decoded."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type."""
        ...


class BlockReader(Protocol):
    """The pixels of one recording, read in blocks, so that the recording may be larger than memory."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, Y, X): frames, channels, lines in the order of the scan, pixels."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type."""
        ...

    @property
    def always_valid(self) -> bool:
        """True when no frame can be unreadable or not finite, so that not all frames have to be checked."""
        ...

    def read(self, t0: int, t1: int, c: int, y0: int, y1: int, x0: int, x1: int) -> NDArray[Any]:
        """Return the block (t1 - t0, y1 - y0, x1 - x0) of channel c in raw counts."""
        ...


class ArrayMovie:
    """A movie in memory or in a numpy memory map.

    Parameters
    ----------
    pixels : ndarray
        (T, Y, X) or (T, C, Y, X) in raw counts; not copied.

    Raises
    ------
    StreamError
        When the array has another number of axes or no pixels.
    """

    def __init__(self, pixels: NDArray[Any]) -> None:
        if pixels.ndim not in (3, 4) or pixels.size == 0:
            raise StreamError(
                f"an array of shape {pixels.shape}",
                expected="frames as (T, Y, X) or (T, C, Y, X)",
                todo="reshape the movie",
            )
        self._pixels = pixels if pixels.ndim == 4 else pixels[:, None]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, Y, X)."""
        frames, channels, lines, pixels = self._pixels.shape
        return frames, channels, lines, pixels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type."""
        return self._pixels.dtype

    @property
    def always_valid(self) -> bool:
        """True for whole numbers."""
        return self.dtype.kind != "f"

    def read(self, t0: int, t1: int, c: int, y0: int, y1: int, x0: int, x1: int) -> NDArray[Any]:
        """Return the block (t1 - t0, y1 - y0, x1 - x0) of channel c; a view."""
        return self._pixels[t0:t1, c, y0:y1, x0:x1]


class FileMovie:
    """A movie that stays in its file; reading a block reads only the frames of the block.

    Parameters
    ----------
    movie : MovieFile
        An open file; the caller closes it.
    """

    def __init__(self, movie: MovieFile) -> None:
        self._movie = movie

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, Y, X)."""
        return self._movie.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type."""
        return self._movie.dtype

    @property
    def always_valid(self) -> bool:
        """True for uncompressed whole numbers."""
        return self._movie.uncompressed and self.dtype.kind != "f"

    def read(self, t0: int, t1: int, c: int, y0: int, y1: int, x0: int, x1: int) -> NDArray[Any]:
        """Return the block (t1 - t0, y1 - y0, x1 - x0) of channel c. Raises `StageError` when it cannot be read."""
        return self._movie.read(t0, t1)[:, c, y0:y1, x0:x1]


class PlaneMovie:
    """The frames of one plane of a movie with interleaved planes.

    Parameters
    ----------
    movie : BlockReader
    plane : int
        Number of the plane, from 0: the frame of `movie` that is its first.
    planes : int
        Number of planes: frames of `movie` from one frame of the plane to the next.
    """

    def __init__(self, movie: BlockReader, plane: int, planes: int) -> None:
        self._movie, self._plane, self._planes = movie, plane, planes

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, Y, X) of the plane; frames of an incomplete last round of planes are left out."""
        frames, channels, lines, pixels = self._movie.shape
        return frames // self._planes, channels, lines, pixels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type."""
        return self._movie.dtype

    @property
    def always_valid(self) -> bool:
        """Same as for the movie."""
        return self._movie.always_valid

    def read(self, t0: int, t1: int, c: int, y0: int, y1: int, x0: int, x1: int) -> NDArray[Any]:
        """Return the block (t1 - t0, y1 - y0, x1 - x0) of channel c. Raises `StageError` when it cannot be read."""
        frames = range(t0 * self._planes + self._plane, t1 * self._planes + self._plane, self._planes)
        return np.concatenate([self._movie.read(t, t + 1, c, y0, y1, x0, x1) for t in frames])
