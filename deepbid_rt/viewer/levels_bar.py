"""A widget: the histogram of counts, with two handles to drag, for the counts shown black and white."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from deepbid_rt.viewer.levels import Limits
from deepbid_rt.viewer.theme import FAINT, INK, PANE, TONES

BINS = 96
HANDLE_REACH_PX = 9
"""A press within this distance of a handle starts to drag it; screen pixels."""
_HEAD, _FOOT = 18, 18
_COLORS = {"raw": "#6b7480", "average": "#5fa8d3", "denoised": "#e6e9ee"}


class LevelsBar(QWidget):
    """Shows a histogram of each image source and the contrast limits of one channel."""

    changed = Signal(float, float)
    """Counts shown black and white; emitted while a handle is dragged."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(220, 80)
        self.setToolTip("drag the ends: manual contrast; key 0: automatic")
        self._counts: dict[str, NDArray[np.float64]] = {}
        self._limits: Limits = (0.0, 1.0)
        self._span: Limits = (0.0, 1.0)
        self._text = ""
        self._dragged: int | None = None  # 0: the handle of black, 1: that of white

    def show_levels(self, samples: dict[str, NDArray[np.float32]], limits: Limits, text: str) -> None:
        """Show histograms and limits.

        Parameters
        ----------
        samples : dict
            Some pixels of each image source.
        limits : Limits
            Counts shown black and white.
        text : str
            Text above the histogram.
        """
        self._limits, self._text = limits, text
        if self._dragged is None:
            black, white = limits
            margin = 0.35 * (white - black)
            self._span = (black - margin, white + margin)
        # The number of integer counts per bin varies; without smoothing the curve would look like a comb.
        self._counts = {
            name: np.convolve(np.histogram(pixels, BINS, self._span)[0], (0.25, 0.5, 0.25), "same")
            for name, pixels in samples.items()
        }
        self.update()

    def position_of(self, handle: int) -> float:
        """Return the x position of a handle (0: black, 1: white) in the widget."""
        low, high = self._span
        return (self._limits[handle] - low) / (high - low) * self.width()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Paint the histograms and the handles."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(PANE))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        floor = self.height() - _FOOT
        for name, counts in self._counts.items():
            top = max(counts.max(), 1.0)
            heights = floor - 4 - (floor - 8 - _HEAD) * np.sqrt(counts / top)
            xs = (np.arange(BINS) + 0.5) * self.width() / BINS
            line = QPolygonF([QPointF(x, y) for x, y in zip(xs, heights, strict=True)])
            painter.setPen(QPen(QColor(_COLORS.get(name, FAINT)), 1.3))
            painter.drawPolyline(line)
        for handle in range(2):
            x = self.position_of(handle)
            painter.setPen(QPen(QColor(TONES["warn"] if self._dragged == handle else INK), 2))
            painter.drawLine(QPointF(x, _HEAD + 2), QPointF(x, floor))
        painter.setPen(QColor(FAINT))
        foot = QRectF(4, floor, self.width() - 8, _FOOT)
        painter.drawText(
            foot, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, f"black {_short(self._limits[0])}"
        )
        painter.drawText(
            foot, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"white {_short(self._limits[1])} counts"
        )
        head = QRectF(4, 0, self.width() - 8, _HEAD)
        painter.drawText(head, Qt.AlignmentFlag.AlignLeft, self._text)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Start to drag the nearer handle, if it is close enough."""
        distances = [abs(self.position_of(handle) - event.position().x()) for handle in range(2)]
        self._dragged = int(np.argmin(distances)) if min(distances) <= HANDLE_REACH_PX else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Move the dragged handle."""
        if self._dragged is None:
            return
        low, high = self._span
        counts = low + event.position().x() / max(self.width(), 1) * (high - low)
        black, white = self._limits
        least = (high - low) / BINS
        self._limits = (
            (min(counts, white - least), white) if self._dragged == 0 else (black, max(counts, black + least))
        )
        self.changed.emit(*self._limits)
        self.update()

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:  # noqa: N802
        """Stop dragging."""
        self._dragged = None


def _short(counts: float) -> str:
    """Return counts as short text: no fraction for large numbers, and no power of ten below a million."""
    return f"{counts:.0f}" if 1000 <= abs(counts) < 1e6 else f"{counts:.4g}"
