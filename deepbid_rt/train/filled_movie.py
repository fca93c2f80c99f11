"""A recording whose pixels without a measurement are filled, as the live path fills them."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.scan.missing_pixels import MissingPixels, as_counts, spread, unmeasured
from deepbid_rt.train.movie import BlockReader

log = logging.getLogger(__name__)

_LOOKED_AT = 16
"""Frames at the start in which pixels that never change are searched."""


def filled(movie: BlockReader) -> BlockReader:
    """Return the movie itself when all pixels of its first frames are measured, else one that fills the others.

    NaN are not filled: `deepbid_rt.train.check_recording` refuses them.
    """
    frames, channels, lines, columns = movie.shape
    missing = MissingPixels((channels, lines, columns))
    found = False
    for t in range(min(frames, _LOOKED_AT)):
        frame = np.concatenate([movie.read(t, t + 1, c, 0, lines, 0, columns) for c in range(channels)])
        found |= missing.push(frame).missing is not None
    if not found:
        return movie
    one = FilledMovie(movie, missing)
    if one.constant is not None:
        log.warning(
            "%.1f %% of the pixels of a recording of %d frames never change; they are filled from what was measured "
            "around them, and neither offset nor noise are measured on them",
            100 * one.constant.mean(),
            frames,
        )
    return one


class FilledMovie:
    """A movie whose masked regions, stuck pixels and pixels without a sample are filled when they are read.

    Parameters
    ----------
    movie : BlockReader
    missing : MissingPixels
        Has seen the first frames.
    """

    def __init__(self, movie: BlockReader, missing: MissingPixels) -> None:
        self._movie = movie
        self.constant = missing.constant
        """(C, Y, X), True for pixels that never change; None without any."""
        self._extension = missing.extension

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
        """Same as for the movie."""
        return self._movie.always_valid

    def read(self, t0: int, t1: int, c: int, y0: int, y1: int, x0: int, x1: int) -> NDArray[Any]:
        """Return the block (t1 - t0, y1 - y0, x1 - x0) of channel c. Raises `StageError` when it cannot be read."""
        counts = self._movie.read(t0, t1, c, y0, y1, x0, x1)
        if self.constant is not None:
            counts = counts.copy()
            block = np.s_[c, y0:y1, x0:x1]
            np.copyto(counts, self._extension[block], where=self.constant[block])
        lacks = None if counts.dtype.kind == "f" else unmeasured(counts)
        if lacks is not None:
            counts = counts.copy()
            for image, unknown in zip(counts, lacks, strict=True):
                if unknown.any():
                    known = np.where(unknown, np.float32(np.nan), image.astype(np.float32))
                    image[unknown] = as_counts(spread(known)[unknown], image.dtype)
        return counts
