"""Pan and zoom, which all panels share, and the rectangles of the panels. Screen pixels; y points down."""

from __future__ import annotations

from dataclasses import dataclass

GUTTER = 4
"""Screen pixels between two panels."""
MAX_SCALE = 64.0
"""Largest number of screen pixels for one image pixel; for tiny images, 4 times the scale that fits the panel."""


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle on the canvas, screen pixels."""

    x: int
    y: int
    width: int
    height: int

    def contains(self, x: float, y: float) -> bool:
        """Return whether a point lies inside."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


def place_panels(count: int, width: int, height: int) -> list[Rect]:
    """Return the rectangles of `count` equal panels, from left to right; each at least one pixel wide."""
    each = max(1, (width - GUTTER * (count - 1)) // count)
    return [Rect(n * (each + GUTTER), 0, each, max(1, height)) for n in range(count)]


class Camera:
    """The image point in the middle of a panel, and the scale, which is the same in x and y."""

    def __init__(self) -> None:
        self.center = (0.5, 0.5)
        """(x, y) in image pixels."""
        self.scale = 1.0
        """Screen pixels for one image pixel."""
        self.fitted = True
        """True until the user pans or zooms: the whole image is shown at every size of the window."""
        self._fit_scale = 1.0

    def fit(self, panel: tuple[int, int], image: tuple[int, int]) -> None:
        """Show the whole image. `panel` is (width, height), `image` is (lines, pixels)."""
        (width, height), (lines, pixels) = panel, image
        self.center = (pixels / 2, lines / 2)
        self.scale = self._fit_scale = min(width / max(pixels, 1), height / max(lines, 1))
        self.fitted = True

    def to_image(self, at: tuple[float, float], panel: tuple[int, int]) -> tuple[float, float]:
        """Return the image point (x, y) at a point of a panel."""
        return (
            self.center[0] + (at[0] - panel[0] / 2) / self.scale,
            self.center[1] + (at[1] - panel[1] / 2) / self.scale,
        )

    def to_panel(self, point: tuple[float, float], panel: tuple[int, int]) -> tuple[float, float]:
        """Return the point of a panel at an image point; the inverse of `to_image`."""
        return (
            panel[0] / 2 + (point[0] - self.center[0]) * self.scale,
            panel[1] / 2 + (point[1] - self.center[1]) * self.scale,
        )

    def pan(self, dx: float, dy: float) -> None:
        """Move the image by (dx, dy) screen pixels."""
        self.center = (self.center[0] - dx / self.scale, self.center[1] - dy / self.scale)
        self.fitted = False

    def zoom(self, factor: float, at: tuple[float, float], panel: tuple[int, int]) -> None:
        """Scale by `factor`; the image point at the panel point `at` stays where it is."""
        x, y = self.to_image(at, panel)
        self.scale = min(max(self.scale * factor, self._fit_scale / 4), max(MAX_SCALE, self._fit_scale * 4))
        self.center = (x - (at[0] - panel[0] / 2) / self.scale, y - (at[1] - panel[1] / 2) / self.scale)
        self.fitted = False
