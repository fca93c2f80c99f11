"""A recording as time points, planes and channels, which is how all formats of other programs see one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.movies.movie_file import MovieFile

Progress = Callable[[int], object]
"""Called with the number of frames that are written."""


class Volumes:
    """A recording as an array (T, Z, C, Y, X), read piece by piece, with what it says about itself.

    Parameters
    ----------
    movie : MovieFile
        Stays open as long as this is used.
    rate_hz : float, optional
        Frames per second over all planes. It replaces the rate of the recording, and the times of its frames with it.
    progress : callable, optional
        See `Progress`.

    Attributes
    ----------
    shape : tuple of int
        (T, Z, C, Y, X): volumes, planes, channels, lines, pixels.
    dtype : numpy.dtype
        Type of the pixels, little-endian.
    rate_hz : float or None
        Volumes per second; None when nothing is known.
    pixel_um : tuple of float or None
        Distance of two lines and of two pixels in a line (y, x), micrometres.
    channel_names : tuple of str
        One for each channel, or none.
    times_s : ndarray or None
        (T, Z) float64, seconds.
    numbers : ndarray or None
        (T, Z) int64, numbers of the frames as the recording counts them.
    notes : tuple of str
        What has to be known about the recording; that it is denoised, for instance.

    Raises
    ------
    StreamError
        When there is no whole volume.
    """

    def __init__(self, movie: MovieFile, *, rate_hz: float | None = None, progress: Progress | None = None) -> None:
        facts = movie.facts
        frames, channels, lines, pixels = movie.shape
        planes = facts.planes
        points = frames // planes
        if points == 0:
            raise StreamError(
                f"{movie.path} with {frames} frames of {planes} planes",
                expected="at least one volume",
                todo="check the number of planes",
            )
        self._movie, self._progress = movie, progress
        self.name = movie.path.name
        self.format = facts.format
        self.shape = (points, planes, channels, lines, pixels)
        self.dtype = movie.dtype
        rate = facts.rate_hz if rate_hz is None else rate_hz
        self.rate_hz = None if rate is None else rate / planes
        self.pixel_um = facts.pixel_um
        self.channel_names = facts.channel_names if len(facts.channel_names) == channels else ()
        self.times_s = None if rate_hz is not None else self._by_volume(facts.times_s)
        self.numbers = self._by_volume(facts.numbers)
        left_out = frames - points * planes
        rest = (f"{left_out} frames of an incomplete last volume are left out",) if left_out else ()
        self.notes = (*facts.warnings, *rest)

    def _by_volume(self, values: NDArray[Any] | None) -> NDArray[Any] | None:
        points, planes, *_ = self.shape
        if values is None or len(values) < points * planes or not np.isfinite(values).all():
            return None
        return np.asarray(values[: points * planes]).reshape(points, planes)

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def volume_bytes(self) -> int:
        """Bytes of the pixels of one volume, all channels."""
        return self.nbytes // self.shape[0]

    def sample(self) -> NDArray[Any]:
        """Return the first, a middle and the last frame (3, C, Y, X), to choose a contrast by."""
        last = self.shape[0] * self.shape[1] - 1
        return np.stack([self._movie.frame(number) for number in (0, last // 2, last)])

    def pages(self) -> Iterator[NDArray[Any]]:
        """Yield the images (Y, X): channels follow each other, then planes, then time points.

        Raises `StageError` when a frame cannot be read.
        """
        for number in range(self.shape[0] * self.shape[1]):
            yield from self._movie.frame(number)
            self._tell(number + 1)

    def blocks(self, length: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield `length` volumes at a time: the number of the first one, and the pixels (t, Z, C, Y, X).

        The last block may be shorter. Raises `StageError` when a frame cannot be read.
        """
        points, planes = self.shape[:2]
        for first in range(0, points, length):
            last = min(first + length, points)
            yield first, self._movie.read(first * planes, last * planes).reshape(last - first, *self.shape[1:])
            self._tell(last * planes)

    def _tell(self, frames: int) -> None:
        if self._progress is not None:
            self._progress(frames)
