"""A recording whose backward lines are in their place: the line phase is taken out as pixels are read.

A network that is shown lines beside each other, and told that they show the same, learns to blur.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Frame, ScanGeometry, StreamInfo
from deepbid_rt.scan.directions import backward_start
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.line_phase_corrector import LinePhaseCorrector, LinePhasePolicy, offset_of
from deepbid_rt.train.movie import BlockReader

LOOKED_AT = 300
"""Frames that the line phase is measured on, evenly from the whole recording."""
_RATE_HZ = 30.0
"""Ten seconds are what `LinePhaseEstimator` remembers; so all frames count alike, whatever their own rate."""


class LinePhaseCorrectedMovie:
    """A movie read through a `LineOffset`.

    Parameters
    ----------
    movie : BlockReader
    scan : ScanGeometry
        How its lines lie.
    line_offset : LineOffset
        For its lines.
    """

    def __init__(self, movie: BlockReader, scan: ScanGeometry, line_offset: LineOffset) -> None:
        self._movie, self._line_offset = movie, line_offset
        self._start = backward_start(scan)
        self._turn = slice(None, None, 1 if scan.mirrored else -1)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, Y, X)."""
        return self._movie.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type: between pixels there are no whole numbers."""
        return np.dtype(np.float32)

    @property
    def sound(self) -> bool:
        """As the movie."""
        return self._movie.sound

    def read(self, t0: int, t1: int, c: int, y0: int, y1: int, x0: int, x1: int) -> NDArray[Any]:
        """Return the block (t1 - t0, y1 - y0, x1 - x0) of channel c. Raises `FileError` when it cannot be read."""
        lines = self._movie.read(t0, t1, c, y0, y1, 0, self.shape[3]).astype(np.float32)
        backward = np.s_[:, (self._start - y0) % 2 :: 2]
        lines[backward] = self._line_offset.apply(lines[backward][..., self._turn])[..., self._turn]
        return np.asarray(lines[..., x0:x1])


def line_offset_of(movie: BlockReader, scan: ScanGeometry, policy: LinePhasePolicy) -> LineOffset | None:
    """Return what brings the backward lines of a recording into their place; None where they are, or may stay.

    Raises
    ------
    StreamError
        When a number is given that `LinePhaseCorrector` refuses.
    FileError
        When a frame cannot be read.
    """
    frames, channels, lines, pixels = movie.shape
    looks = np.linspace(0, frames - 1, min(frames, LOOKED_AT)).astype(int)
    info = StreamInfo((channels, lines, pixels), np.dtype(np.float32), min(_RATE_HZ, len(looks)), scan)
    corrector = LinePhaseCorrector(info, policy)
    if policy != "auto":
        return corrector.line_offset
    for index, t in enumerate(looks):
        channel_by_channel = [movie.read(t, t + 1, c, 0, lines, 0, pixels)[0] for c in range(channels)]
        corrector.push(Frame(index, np.stack(channel_by_channel).astype(np.float32)))
    px = offset_of(corrector.measured_px)
    return LineOffset(scan, pixels, px) if px else None
