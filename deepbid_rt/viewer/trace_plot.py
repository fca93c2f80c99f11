"""Raw and denoised dF/F of the regions, laid over each other, the last minute. A widget."""

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
from deepbid_rt.viewer.theme import EDGE, FAINT, PANE
from deepbid_rt.viewer.traces import SECONDS, by_channel, dff, envelope

_LABEL = 116
_FOOT = 16
SHOWN = 4
"""Most regions in the plot: the newest ones."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One region."""

    name: str
    color: tuple[float, float, float]
    t_s: NDArray[np.float64]
    raw: NDArray[np.float64]
    """dF/F; NaN where unknown."""
    denoised: NDArray[np.float64]


def curves_of(feed: Feed, channel: int) -> list[Curve]:
    """Return the curves of one channel of all regions that a feed follows."""
    with feed.traces() as traces:
        points_of = {roi: traces.points(roi) for roi in traces.rois}
    curves = []
    for n, (roi, points) in enumerate(points_of.items()):
        raw, denoised = by_channel(points, channel)
        times = np.array([point.t_s for point in points])
        curves.append(Curve(roi.name, REGIONS[n % len(REGIONS)], times, dff(raw), dff(denoised)))
    return curves


class TracePlot(QWidget):
    """Stacked lanes, one for each region; thin and faint: raw, bold: denoised."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(110)
        self._curves: list[Curve] = []

    def show_curves(self, curves: list[Curve]) -> None:
        """Show these regions."""
        self._curves = curves[-SHOWN:]
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Paint."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(PANE))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if not self._curves:
            painter.setPen(QColor(FAINT))
            text = "No regions yet. R: rectangle, E: ellipse, O: by hand; then drag on a picture."
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, text)
        newest = max((curve.t_s[-1] for curve in self._curves if curve.t_s.size), default=0.0)
        height = (self.height() - _FOOT) / max(len(self._curves), 1)
        for n, curve in enumerate(self._curves):
            self._paint_lane(painter, curve, QRectF(0, n * height, self.width(), height), newest)
        if self._curves:
            painter.setPen(QColor(FAINT))
            foot = QRectF(_LABEL, self.height() - _FOOT, self.width() - _LABEL - 4, _FOOT)
            painter.drawText(foot, Qt.AlignmentFlag.AlignLeft, f"−{SECONDS:.0f} s")
            painter.drawText(foot, Qt.AlignmentFlag.AlignHCenter, "dF/F: raw thin, denoised bold")
            painter.drawText(foot, Qt.AlignmentFlag.AlignRight, "newest")
        painter.end()

    def _paint_lane(self, painter: QPainter, curve: Curve, lane: QRectF, newest: float) -> None:
        painter.setPen(QColor(EDGE))
        painter.drawLine(QPointF(_LABEL, lane.bottom() - 1), QPointF(lane.right(), lane.bottom() - 1))
        low, high = _span(curve)
        color = QColor.fromRgbF(*curve.color)
        painter.setPen(color)
        painter.drawText(QRectF(8, lane.top() + 2, _LABEL - 10, 16), Qt.AlignmentFlag.AlignLeft, curve.name)
        painter.setPen(QColor(FAINT))
        scale = "F0 not above 0" if high <= low else f"{low:+.2f} … {high:+.2f}"
        painter.drawText(QRectF(8, lane.top() + 18, _LABEL - 6, 16), Qt.AlignmentFlag.AlignLeft, scale)
        if high <= low or not curve.t_s.size:
            return
        x = _LABEL + (1 + (curve.t_s - newest) / SECONDS) * (lane.width() - _LABEL - 4)
        faint = QColor(color)
        faint.setAlphaF(0.45)
        for values, pen in ((curve.raw, QPen(faint, 1.0)), (curve.denoised, QPen(color, 1.8))):
            y = lane.bottom() - 4 - (values - low) / (high - low) * (lane.height() - 8)
            painter.setPen(pen)
            known = np.isfinite(y)
            line = envelope(x[known], np.clip(y[known], lane.top(), lane.bottom()))
            points = [QPointF(a, b) for a, b in zip(*line, strict=True)]
            if values is curve.raw:
                painter.drawPolyline(points)
            else:  # piece by piece: Qt takes 20 times as long for a bold line in one
                painter.drawLines([end for piece in itertools.pairwise(points) for end in piece])


def _span(curve: Curve) -> tuple[float, float]:
    """Return the range to show: all of denoised, and all but the rarest of raw; (0, 0) when nothing is known."""
    denoised, raw = (v[np.isfinite(v)] for v in (curve.denoised, curve.raw))
    ends = [
        *(np.percentile(raw, (1, 99)) if raw.size else ()),
        *((denoised.min(), denoised.max()) if denoised.size else ()),
    ]
    if not ends:
        return 0.0, 0.0
    low, high = float(min(ends)), float(max(ends))
    return (low, high) if high > low else (low - 0.5, low + 0.5)
