"""The last minute in points: one per frame, few enough for a plot. Pure; not thread-safe."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile

from deepbid_rt.frame import Motion

SPAN_S = 60.0
SPACING_S = 1 / 60
"""Points nearer than this to the one before are left out, so that there are 3600 at most."""


@dataclass(frozen=True)
class Point:
    """One denoised frame."""

    serial: int
    """Counts all points of a session from 1, so that a reader can ask for those it has not seen."""
    t_s: float
    """When it came, seconds since the Unix epoch."""
    latency_ms: float | None
    """From the microscope's send; None where the source has no clock."""
    motion: Motion | None


class Trace:
    """The points of the last `SPAN_S` seconds."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque()
        self._serial = 0

    @property
    def serial(self) -> int:
        """Of the newest point; 0 before the first."""
        return self._serial

    def add(self, t_s: float, latency_ms: float | None, motion: Motion | None) -> None:
        """Add a frame and forget those that are too old."""
        if self._points and 0 <= t_s - self._points[-1].t_s < SPACING_S:
            return
        self._serial += 1
        self._points.append(Point(self._serial, t_s, latency_ms, motion))
        while self._points[0].t_s < t_s - SPAN_S:
            self._points.popleft()

    def since(self, serial: int) -> Iterator[Point]:
        """Return the points that came after number `serial`."""
        return dropwhile(lambda point: point.serial <= serial, list(self._points))
