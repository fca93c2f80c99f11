"""The histogram with its two handles: what is black and what is white, to be dragged. A widget; knows no stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from deepbid_rt.viewer.levels import Limits
from deepbid_rt.viewer.theme import FAINT, INK, PANE, TONES

BINS = 96
GRAB = 9
"""Screen pixels around a handle that take hold of it."""
_HEAD, _FOOT = 18, 18
_COLORS = {"raw": "#6b7480", "average": "#5fa8d3", "denoised": "#e6e9ee"}


class LevelsBar(QWidget):
    """Shows how often which counts occur in each source, and the limits of one channel."""

    changed = Signal(float, float)
    """Counts of black and white, while a handle is dragged."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(220, 80)
        self.setToolTip("drag the ends: manual contrast; key 0: automatic")
        self._counts: dict[str, NDArray[np.float64]] = {}
        self._limits: Limits = (0.0, 1.0)
        self._span: Limits = (0.0, 1.0)
        self._note = ""
        self._held: int | None = None

    def show_levels(self, samples: dict[str, NDArray[np.float32]], limits: Limits, note: str) -> None:
        """Show some pixels of each source, and the limits; `note` says how they came about."""
        self._limits, self._note = limits, note
        if self._held is None:
            black, white = limits
            margin = 0.35 * (white - black)
            self._span = (black - margin, white + margin)
        # Whole counts fall into bins of equal width unequally often: without smoothing the curve is a comb.
        self._counts = {
            name: np.convolve(np.histogram(some, BINS, self._span)[0], (0.25, 0.5, 0.25), "same")
            for name, some in samples.items()
        }
        self.update()

    def position_of(self, handle: int) -> float:
        """Return where a handle stands: 0 black, 1 white."""
        low, high = self._span
        return (self._limits[handle] - low) / (high - low) * self.width()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Paint."""
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
            painter.setPen(QPen(QColor(TONES["warn"] if self._held == handle else INK), 2))
            painter.drawLine(QPointF(x, _HEAD + 2), QPointF(x, floor))
        painter.setPen(QColor(FAINT))
        foot = QRectF(4, floor, self.width() - 8, _FOOT)
        painter.drawText(
            foot, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, f"black {self._limits[0]:.4g}"
        )
        painter.drawText(
            foot, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"white {self._limits[1]:.4g} counts"
        )
        head = QRectF(4, 0, self.width() - 8, _HEAD)
        painter.drawText(head, Qt.AlignmentFlag.AlignLeft, self._note)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Take hold of the nearer handle."""
        distances = [abs(self.position_of(handle) - event.position().x()) for handle in range(2)]
        self._held = int(np.argmin(distances)) if min(distances) <= GRAB else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Drag it."""
        if self._held is None:
            return
        low, high = self._span
        counts = low + event.position().x() / max(self.width(), 1) * (high - low)
        black, white = self._limits
        least = (high - low) / BINS
        self._limits = (min(counts, white - least), white) if self._held == 0 else (black, max(counts, black + least))
        self.changed.emit(*self._limits)
        self.update()

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:  # noqa: N802
        """Let go."""
        self._held = None


def _short(counts: float) -> str:
    """Return as many digits as are of use: no fraction of a large number, no power of ten for 65535."""
    return f"{counts:.0f}" if 1000 <= abs(counts) < 1e6 else f"{counts:.4g}"
