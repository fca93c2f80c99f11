"""What the mouse does on the pictures: move, zoom, shift the dividing line, draw a region. Knows no window."""

from __future__ import annotations

from collections.abc import Callable

from deepbid_rt.viewer.camera import Camera, Rect
from deepbid_rt.viewer.controls import Controls
from deepbid_rt.viewer.roi import Point, Shape

GRAB = 8
"""Screen pixels around the dividing line that take hold of it."""
ZOOM = 1.25


class Pointer:
    """Interprets press, move, release and wheel; positions are pixels of the canvas.

    Parameters
    ----------
    controls, camera
        Changed by dragging.
    drawn : callable
        Called with shape and points of each region that was drawn.
    """

    def __init__(self, controls: Controls, camera: Camera, drawn: Callable[[Shape, tuple[Point, ...]], None]) -> None:
        self._controls, self._camera, self._drawn = controls, camera, drawn
        self._panel: Rect | None = None
        self._last = (0.0, 0.0)
        self._moving_split = False
        self.points: list[Point] = []
        """The region being drawn, image pixels."""

    def press(self, at: tuple[float, float], panels: list[Rect]) -> None:
        """Begin a drag."""
        self._panel = next((panel for panel in panels if panel.contains(*at)), None)
        if self._panel is None:
            return
        self._last = at
        line = self._panel.x + self._controls.split * self._panel.width
        self._moving_split = (
            self._controls.mode == "swipe" and self._controls.tool is None and abs(at[0] - line) <= GRAB
        )
        if self._controls.tool is not None:
            self.points = [self._place(at, self._panel)]

    def move(self, at: tuple[float, float]) -> bool:
        """Go on with a drag; False when there is none."""
        panel = self._panel
        if panel is None:
            return False
        if self._moving_split:
            self._controls.split = min(max((at[0] - panel.x) / panel.width, 0.0), 1.0)
        elif self.points:
            kept = self.points if self._controls.tool == "lasso" else self.points[:1]
            self.points = [*kept, self._place(at, panel)]
        else:
            self._camera.pan(at[0] - self._last[0], at[1] - self._last[1])
        self._last = at
        return True

    def release(self, at: tuple[float, float]) -> None:
        """End a drag; hands a drawn region over, unless it has no size."""
        self.move(at)
        points, shape = tuple(self.points), self._controls.tool
        self._panel, self.points, self._moving_split = None, [], False
        wide = len({round(x, 3) for x, _ in points}) > 1 and len({round(y, 3) for _, y in points}) > 1
        if shape is not None and wide and len(points) >= (3 if shape == "lasso" else 2):
            self._controls.tool = None
            self._drawn(shape, points)

    def wheel(self, at: tuple[float, float], notches: float, panels: list[Rect]) -> None:
        """Zoom about the place under the pointer, in all panels."""
        for panel in panels:
            if panel.contains(*at):
                local = (at[0] - panel.x, at[1] - panel.y)
                self._camera.zoom(ZOOM**notches, local, (panel.width, panel.height))

    def _place(self, at: tuple[float, float], panel: Rect) -> Point:
        return self._camera.to_image((at[0] - panel.x, at[1] - panel.y), (panel.width, panel.height))
