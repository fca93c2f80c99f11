"""Words as a picture, for the OpenGL window, which has no text of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QImage, QPainter

_HEIGHT = 20
"""Height of the letters in pixels."""
_MARGIN = 6


def words_picture(text: str, ground: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Return white words on a coloured ground.

    Parameters
    ----------
    text : str
    ground : tuple of float
        Red, green, blue from 0 to 1.

    Returns
    -------
    ndarray
        (Y, X, 4) uint8: red, green, blue, alpha.
    """
    font = QFont()
    font.setPixelSize(_HEIGHT)
    font.setBold(True)
    box = QFontMetrics(font).boundingRect(text)
    image = QImage(box.width() + 3 * _MARGIN, box.height() + _MARGIN, QImage.Format.Format_RGBA8888)
    image.fill(QColor.fromRgbF(*ground))
    painter = QPainter(image)
    painter.setFont(font)
    painter.setPen(Qt.GlobalColor.white)
    painter.drawText(image.rect(), Qt.AlignmentFlag.AlignCenter, text)
    painter.end()
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 4 * image.width()].reshape(image.height(), image.width(), 4).copy()
