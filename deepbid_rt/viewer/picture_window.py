"""The OpenGL window with the pictures, inside the viewer's window, and its mouse events.

It is a window and not a `QOpenGLWidget`. Qt draws such a widget into a texture and then redraws the whole window of the
viewer at each frame; with software GL that takes four times as long as drawing the pictures.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QCoreApplication, QPointF, Qt, Signal
from PySide6.QtGui import QMouseEvent, QResizeEvent, QWheelEvent
from PySide6.QtOpenGL import QOpenGLWindow

from deepbid_rt.viewer.canvas import MARK_COLOR, Canvas
from deepbid_rt.viewer.panels import NOT_DENOISED, NOT_LIVE, Scene
from deepbid_rt.viewer.words_picture import words_picture

_ANGLE_PER_NOTCH = 120
"""Qt's angle for one notch of a mouse wheel, in eighths of a degree."""


class PictureWindow(QOpenGLWindow):
    """Shows a scene and emits signals for the mouse, one for every single move.

    Parameters
    ----------
    scene : callable
        Returns the scene, or None before the first frame. Called once for each drawing, at most at the refresh rate of
        the screen.
    """

    pressed = Signal(QPointF)
    """Left button pressed; position in logical pixels from the upper left corner, as for all signals here."""
    moved = Signal(QPointF)
    released = Signal(QPointF)
    wheeled = Signal(QPointF, float)
    """Position, and number of notches."""
    resized = Signal()

    def __init__(self, scene: Callable[[], Scene | None]) -> None:
        super().__init__()
        self._scene, self._canvas = (
            scene,
            Canvas({words: words_picture(words, MARK_COLOR) for words in (NOT_DENOISED, NOT_LIVE)}),
        )
        # A region drawn by hand needs every move of the mouse, so Qt must not merge moves. On X11 Qt switches merging
        # on when the application starts, so it can be switched off only after that.
        QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_CompressHighFrequencyEvents, False)
        # The window around this one handles the keys.
        self.setFlag(Qt.WindowType.WindowDoesNotAcceptFocus)

    def paintGL(self) -> None:  # noqa: N802 - Qt's name
        """Draw the scene."""
        self._canvas.draw(self._scene(), (self.width(), self.height()), self.devicePixelRatio())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Emit `resized`."""
        super().resizeEvent(event)
        self.resized.emit()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Emit `pressed`."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.pressed.emit(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Emit `moved`."""
        self.moved.emit(event.position())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Emit `released`."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.released.emit(event.position())

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Emit `wheeled`."""
        self.wheeled.emit(event.position(), event.angleDelta().y() / _ANGLE_PER_NOTCH)
