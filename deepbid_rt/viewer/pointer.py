"""The mouse on the pictures: pans, zooms, moves the dividing line, and draws regions."""

from __future__ import annotations

from collections.abc import Callable

from deepbid_rt.viewer.camera import Camera, Rect
from deepbid_rt.viewer.controls import Controls
from deepbid_rt.viewer.roi import RoiShape, Vertex

DIVIDER_REACH_PX = 8
"""A press within this distance of the dividing line starts to move it; screen pixels."""
ZOOM_PER_NOTCH = 1.25


class Pointer:
    """Turns press, move, release and wheel into changes; positions are pixels of the canvas.

    Parameters
    ----------
    controls, camera
        Changed by dragging and by the wheel.
    drawn : callable
        Called with the shape and the points of each region that was drawn.
    """

    def __init__(
        self, controls: Controls, camera: Camera, drawn: Callable[[RoiShape, tuple[Vertex, ...]], None]
    ) -> None:
        self._controls, self._camera, self._drawn = controls, camera, drawn
        self._panel: Rect | None = None
        self._last = (0.0, 0.0)
        self._moving_split = False
        self.points: list[Vertex] = []
        """The points of the region that is being drawn; image pixels."""

    def press(self, at: tuple[float, float], panels: list[Rect]) -> None:
        """Start a drag in one of the panels."""
        self._panel = next((panel for panel in panels if panel.contains(*at)), None)
        if self._panel is None:
            return
        self._last = at
        line = self._panel.x + self._controls.split * self._panel.width
        self._moving_split = (
            self._controls.mode == "swipe" and self._controls.tool is None and abs(at[0] - line) <= DIVIDER_REACH_PX
        )
        if self._controls.tool is not None:
            self.points = [self._image_point(at, self._panel)]

    def move(self, at: tuple[float, float]) -> bool:
        """Continue a drag; returns False when there is none."""
        panel = self._panel
        if panel is None:
            return False
        if self._moving_split:
            self._controls.split = min(max((at[0] - panel.x) / panel.width, 0.0), 1.0)
        elif self.points:
            kept = self.points if self._controls.tool == "lasso" else self.points[:1]
            self.points = [*kept, self._image_point(at, panel)]
        else:
            self._camera.pan(at[0] - self._last[0], at[1] - self._last[1])
        self._last = at
        return True

    def release(self, at: tuple[float, float]) -> None:
        """End a drag, and call `drawn` with the region if one was drawn and it has a size."""
        self.move(at)
        points, shape = tuple(self.points), self._controls.tool
        self._panel, self.points, self._moving_split = None, [], False
        wide = len({round(x, 3) for x, _ in points}) > 1 and len({round(y, 3) for _, y in points}) > 1
        if shape is not None and wide and len(points) >= (3 if shape == "lasso" else 2):
            self._controls.tool = None
            self._drawn(shape, points)

    def wheel(self, at: tuple[float, float], notches: float, panels: list[Rect]) -> None:
        """Zoom in all panels; the image point under the pointer stays where it is."""
        for panel in panels:
            if panel.contains(*at):
                local = (at[0] - panel.x, at[1] - panel.y)
                self._camera.zoom(ZOOM_PER_NOTCH**notches, local, (panel.width, panel.height))

    def _image_point(self, at: tuple[float, float], panel: Rect) -> Vertex:
        return self._camera.to_image((at[0] - panel.x, at[1] - panel.y), (panel.width, panel.height))
