"""The window of the pictures: an OpenGL window within the viewer's, and the mouse on it. Decides nothing.

A window of its own and no `QOpenGLWidget`: Qt draws the latter into a texture and then all of the viewer's window anew,
at each frame, which costs software GL four times as much as the pictures.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QCoreApplication, QPointF, Qt, Signal
from PySide6.QtGui import QMouseEvent, QResizeEvent, QWheelEvent
from PySide6.QtOpenGL import QOpenGLWindow

from deepbid_rt.viewer.canvas import Canvas
from deepbid_rt.viewer.panels import Scene

_NOTCH = 120
"""What Qt says of one notch of a wheel."""


class PictureWindow(QOpenGLWindow):
    """Shows a scene, and says what the mouse does: each of its moves, however fast they come.

    Parameters
    ----------
    scene : callable
        Asked for what to draw whenever it is drawn, not more often than the screen shows pictures; None: nothing yet.
    """

    pressed = Signal(QPointF)
    """Left button; where: pixels from the upper left corner, as in `size()`. So are the others."""
    moved = Signal(QPointF)
    released = Signal(QPointF)
    wheeled = Signal(QPointF, float)
    """Where, and how many notches."""
    resized = Signal()

    def __init__(self, scene: Callable[[], Scene | None]) -> None:
        super().__init__()
        self._scene, self._canvas = scene, Canvas()
        # A region drawn by hand needs each move of the mouse, not the newest of some. On X11 Qt switches this on when
        # the application begins, so it can be switched off only after that.
        QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_CompressHighFrequencyEvents, False)
        # Keys are the business of the window around it.
        self.setFlag(Qt.WindowType.WindowDoesNotAcceptFocus)

    def paintGL(self) -> None:  # noqa: N802 - Qt's name
        """Draw."""
        self._canvas.draw(self._scene(), (self.width(), self.height()), self.devicePixelRatio())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Say that there is another size."""
        super().resizeEvent(event)
        self.resized.emit()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Say where."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.pressed.emit(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Say where."""
        self.moved.emit(event.position())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Say where."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.released.emit(event.position())

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Say where and how far."""
        self.wheeled.emit(event.position(), event.angleDelta().y() / _NOTCH)
