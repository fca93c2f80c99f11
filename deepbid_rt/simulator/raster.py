"""The path of the scanning beam: which place of the tissue each pixel of a frame shows, and when.

Lines are scanned one after another, so tissue that moves during a frame appears sheared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Image, ScanGeometry
from deepbid_rt.simulator.tissue import Clock


class Raster:
    """The lines of one frame.

    Parameters
    ----------
    size : (int, int)
        Rows and columns of the field of view.
    scan : ScanGeometry
        Layout and direction of the lines.
    line_share : float or None
        Duration of a line as a fraction of the frame period; None: the lines fill the frame period.
    fill : float
        Share of the swing of a resonant mirror in which it samples; pixels are then evenly spaced in time, not in
        space. 0: evenly spaced in space.
    line_phase_px : float
        Pixels by which backward lines lie further right than forward lines, in image order.

    Raises
    ------
    StreamError
        When the line phase is more than a quarter of a line.
    """

    def __init__(
        self,
        size: tuple[int, int],
        scan: ScanGeometry,
        line_share: float | None,
        fill: float,
        line_phase_px: float = 0.0,
    ) -> None:
        rows, self._columns = size
        if not abs(line_phase_px) <= self._columns / 4:
            raise StreamError(
                f"a line phase of {line_phase_px} px in lines of {self._columns} pixels",
                expected="a quarter of a line at most",
                todo="choose a smaller line phase",
            )
        self._scan, self._fill = scan, fill
        self.views = 2 if scan.layout == "collinear" else 1
        """Lines for each row of the field of view."""
        number = np.arange(self.views * rows)
        self.row = number // self.views
        """(lines,) row of the field of view that each line scans."""
        self._share = 1 / number.size if line_share is None else line_share
        self.phase = np.asarray(number / number.size if line_share is None else number * line_share, np.float64)
        """(lines,) time at which each line begins, as a fraction of the frame period."""
        self._late_px = line_phase_px * self._backward(number)

    def clock(self, margin: int, view: int) -> Clock:
        """Return a function for the time at which one of the `views` scans a place of a canvas with this margin."""

        def when(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
            line = (rows - margin) * self.views + view
            along = (columns - margin) / self._columns
            return np.asarray((line + np.where(self._backward(line), 1 - along, along)) * self._share)

        return when

    def _backward(self, line: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return True for each of these lines that is scanned backward."""
        return np.asarray(self._scan.bidirectional & (line % 2 == (self._scan.first == "forward")))

    def sample(
        self,
        canvases: Sequence[Image],
        margin: int,
        shift: NDArray[np.float64],
        warp: NDArray[np.float32] | None = None,
    ) -> Image:
        """Sample every pixel where the tissue is when the beam scans it.

        Parameters
        ----------
        canvases : sequence of ndarray, (H, W), float32
            The tissue: one canvas, or one for each of the `views`.
        margin : int
            Rows and columns of the canvas on each side of the field of view; more than any displacement plus the line
            phase.
        shift : ndarray, (2, lines), float64
            Displacement (dy, dx) of the tissue while each line is scanned, pixels.
        warp : ndarray, (2, lines, X), float32, optional
            Displacement of each pixel, added to ``shift``.

        Returns
        -------
        ndarray, (lines, X), float32
        """
        dy, dx = shift
        y, x = dy + margin + self.row, dx + margin - self._late_px
        light = np.empty((self.row.size, self._columns), np.float32)
        for number, canvas in enumerate(canvases):
            lines = slice(number, None, len(canvases))
            if warp is None and not self._fill:
                light[lines] = self._straight(canvas, y[lines], x[lines])
                continue
            places_y = np.broadcast_to(y[lines, None].astype(np.float32), light[lines].shape)
            places_x = x[lines, None].astype(np.float32) + self.pixel_columns()
            if warp is not None:
                places_y, places_x = places_y + warp[0, lines], places_x + warp[1, lines]
            light[lines] = _gather(canvas, places_y, places_x)
        return light

    def _straight(self, canvas: Image, y: NDArray[np.float64], x: NDArray[np.float64]) -> Image:
        """Interpolate whole lines that begin at (y, x); returns float32 (lines, X)."""
        top, left = np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)
        down, right = (y - top).astype(np.float32)[:, None], (x - left).astype(np.float32)[:, None]
        rows = np.lib.stride_tricks.sliding_window_view(canvas, self._columns + 1, axis=1)
        upper, lower = rows[top, left], rows[top + 1, left]
        upper += down * (lower - upper)
        return np.asarray(upper[:, :-1] + right * (upper[:, 1:] - upper[:, :-1]))

    def pixel_columns(self) -> NDArray[np.float32]:
        """Return the column of the field of view that each pixel of a line shows while nothing moves, (X,)."""
        even = np.arange(self._columns)
        if not self._fill:
            return even.astype(np.float32)
        swing = math.pi / 2 * self._fill
        angle = swing * ((2 * even + 1) / self._columns - 1)
        return np.asarray((np.sin(angle) / math.sin(swing) + 1) * self._columns / 2 - 0.5, np.float32)


def _gather(canvas: Image, y: NDArray[np.float32], x: NDArray[np.float32]) -> Image:
    """Interpolate a canvas at places (y, x) inside it."""
    top, left = np.floor(y), np.floor(x)
    down, right = y - top, x - left
    width, flat = canvas.shape[1], canvas.ravel()
    upper: Image
    corner = top.astype(np.intp) * width + left.astype(np.intp)
    upper, lower = flat.take(corner), flat.take(corner + width)
    upper += right * (flat.take(corner + 1) - upper)
    lower += right * (flat.take(corner + width + 1) - lower)
    upper += down * (lower - upper)
    return upper
