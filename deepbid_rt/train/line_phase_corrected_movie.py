"""A recording whose line phase is corrected while its pixels are read.

Without this correction, forward and backward lines that are paired for training show different places, and the network
learns to blur.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Frame, ScanGeometry, StreamInfo
from deepbid_rt.scan.directions import first_backward_line
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.line_phase_corrector import LinePhaseCorrector, LinePhasePolicy, correction_px
from deepbid_rt.train.movie import BlockReader

MEASURED_FRAMES = 300
"""Frames that the line phase is measured on, evenly spaced over the recording."""
_RATE_HZ = 30.0
"""Frame rate given to `LinePhaseEstimator`, which averages over 10 s: so all `MEASURED_FRAMES` have the same weight."""


class LinePhaseCorrectedMovie:
    """A movie whose backward lines are moved by a `LineOffset`.

    Parameters
    ----------
    movie : BlockReader
    scan : ScanGeometry
        Scan of the movie.
    line_offset : LineOffset
        The correction.
    """

    def __init__(self, movie: BlockReader, scan: ScanGeometry, line_offset: LineOffset) -> None:
        self._movie, self._line_offset = movie, line_offset
        self._first_backward = first_backward_line(scan)
        self._order = slice(None, None, 1 if scan.mirrored else -1)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, Y, X)."""
        return self._movie.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type; float32, because pixels are interpolated."""
        return np.dtype(np.float32)

    @property
    def always_valid(self) -> bool:
        """Same as for the movie."""
        return self._movie.always_valid

    def read(self, t0: int, t1: int, c: int, y0: int, y1: int, x0: int, x1: int) -> NDArray[Any]:
        """Return the block (t1 - t0, y1 - y0, x1 - x0) of channel c. Raises `StageError` when it cannot be read."""
        lines = self._movie.read(t0, t1, c, y0, y1, 0, self.shape[3]).astype(np.float32)
        backward = np.s_[:, (self._first_backward - y0) % 2 :: 2]
        lines[backward] = self._line_offset.apply(lines[backward][..., self._order])[..., self._order]
        return np.asarray(lines[..., x0:x1])


def line_offset_of(movie: BlockReader, scan: ScanGeometry, policy: LinePhasePolicy) -> LineOffset | None:
    """Return the correction of a recording's backward lines; None if they need none or `policy` is "off".

    Raises
    ------
    StreamError
        When `policy` is a number that `LinePhaseCorrector` refuses.
    FileError
        When a frame cannot be read.
    """
    frames, channels, lines, pixels = movie.shape
    measured = np.linspace(0, frames - 1, min(frames, MEASURED_FRAMES)).astype(int)
    info = StreamInfo((channels, lines, pixels), np.dtype(np.float32), min(_RATE_HZ, len(measured)), scan)
    corrector = LinePhaseCorrector(info, policy)
    if policy != "auto":
        return corrector.line_offset
    for index, t in enumerate(measured):
        channel_by_channel = [movie.read(t, t + 1, c, 0, lines, 0, pixels)[0] for c in range(channels)]
        corrector.push(Frame(index, np.stack(channel_by_channel).astype(np.float32)))
    px = correction_px(corrector.measured_px)
    return LineOffset(scan, pixels, px) if px else None
