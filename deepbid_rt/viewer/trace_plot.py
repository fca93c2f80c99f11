"""A widget that plots raw and denoised dF/F of the regions over the last minute, on top of each other."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from deepbid_rt.viewer.colors import REGIONS
from deepbid_rt.viewer.feed import Feed
from deepbid_rt.viewer.roi_traces import TRACE_S, by_channel, dff, envelope
from deepbid_rt.viewer.theme import EDGE, FAINT, PANE

_LABEL_WIDTH = 116
_FOOT_HEIGHT = 16
MAX_CURVES = 4
"""Only so many regions are plotted, the newest ones; more would be too low to read."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The traces of one region."""

    name: str
    color: tuple[float, float, float]
    t_s: NDArray[np.float64]
    raw: NDArray[np.float64]
    """dF/F at the times `t_s`; NaN where it is not known."""
    denoised: NDArray[np.float64]
    """Likewise."""


def curves_of(feed: Feed, channel: int) -> list[Curve]:
    """Return the curves of one channel for all regions of a feed."""
    with feed.traces() as traces:
        points_of = {roi: traces.points(roi) for roi in traces.rois}
    curves = []
    for n, (roi, points) in enumerate(points_of.items()):
        raw, denoised = by_channel(points, channel)
        times = np.array([point.t_s for point in points])
        curves.append(Curve(roi.name, REGIONS[n % len(REGIONS)], times, dff(raw), dff(denoised)))
    return curves


class TracePlot(QWidget):
    """One row for each region: a thin, faint line for raw and a bold one for denoised."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(110)
        self._curves: list[Curve] = []

    def show_curves(self, curves: list[Curve]) -> None:
        """Show the newest of these curves."""
        self._curves = curves[-MAX_CURVES:]
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Paint the rows and the time axis."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(PANE))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if not self._curves:
            painter.setPen(QColor(FAINT))
            text = "No regions yet. R: rectangle, E: ellipse, O: by hand; then drag on a picture."
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, text)
        newest = max((curve.t_s[-1] for curve in self._curves if curve.t_s.size), default=0.0)
        height = (self.height() - _FOOT_HEIGHT) / max(len(self._curves), 1)
        for n, curve in enumerate(self._curves):
            self._paint_row(painter, curve, QRectF(0, n * height, self.width(), height), newest)
        if self._curves:
            painter.setPen(QColor(FAINT))
            foot = QRectF(_LABEL_WIDTH, self.height() - _FOOT_HEIGHT, self.width() - _LABEL_WIDTH - 4, _FOOT_HEIGHT)
            painter.drawText(foot, Qt.AlignmentFlag.AlignLeft, f"−{TRACE_S:.0f} s")
            painter.drawText(foot, Qt.AlignmentFlag.AlignHCenter, "dF/F: raw thin, denoised bold")
            painter.drawText(foot, Qt.AlignmentFlag.AlignRight, "newest")
        painter.end()

    def _paint_row(self, painter: QPainter, curve: Curve, row: QRectF, newest: float) -> None:
        painter.setPen(QColor(EDGE))
        painter.drawLine(QPointF(_LABEL_WIDTH, row.bottom() - 1), QPointF(row.right(), row.bottom() - 1))
        low, high = _span(curve)
        color = QColor.fromRgbF(*curve.color)
        painter.setPen(color)
        painter.drawText(QRectF(8, row.top() + 2, _LABEL_WIDTH - 10, 16), Qt.AlignmentFlag.AlignLeft, curve.name)
        painter.setPen(QColor(FAINT))
        scale = "F0 not above 0" if high <= low else f"{low:+.2f} … {high:+.2f}"
        painter.drawText(QRectF(8, row.top() + 18, _LABEL_WIDTH - 6, 16), Qt.AlignmentFlag.AlignLeft, scale)
        if high <= low or not curve.t_s.size:
            return
        x = _LABEL_WIDTH + (1 + (curve.t_s - newest) / TRACE_S) * (row.width() - _LABEL_WIDTH - 4)
        faint = QColor(color)
        faint.setAlphaF(0.45)
        for values, pen in ((curve.raw, QPen(faint, 1.0)), (curve.denoised, QPen(color, 1.8))):
            y = row.bottom() - 4 - (values - low) / (high - low) * (row.height() - 8)
            painter.setPen(pen)
            finite = np.isfinite(y)
            line = envelope(x[finite], np.clip(y[finite], row.top(), row.bottom()))
            points = [QPointF(a, b) for a, b in zip(*line, strict=True)]
            if values is curve.raw:
                painter.drawPolyline(points)
            else:  # single segments, as Qt takes 20 times as long for a bold polyline
                painter.drawLines([end for segment in itertools.pairwise(points) for end in segment])


def _span(curve: Curve) -> tuple[float, float]:
    """Return the range to show: all denoised values and 98 % of the raw ones; (0, 0) when there is none."""
    denoised, raw = (v[np.isfinite(v)] for v in (curve.denoised, curve.raw))
    ends = [
        *(np.percentile(raw, (1, 99)) if raw.size else ()),
        *((denoised.min(), denoised.max()) if denoised.size else ()),
    ]
    if not ends:
        return 0.0, 0.0
    low, high = float(min(ends)), float(max(ends))
    return (low, high) if high > low else (low - 0.5, low + 0.5)
