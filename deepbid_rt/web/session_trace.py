"""Latency and motion of the last minute, one point for each denoised frame, for the plots of the page."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile

from deepbid_rt.frame import Motion

SPAN_S = 60.0
SPACING_S = 1 / 60
"""A point closer than this to the one before is left out, so that there are at most 3600."""


@dataclass(frozen=True)
class SessionPoint:
    """Latency and motion of one denoised frame."""

    serial: int
    """Number of the point within the session, from 1. A reader asks for the points after the last one it has."""
    t_s: float
    """When the frame arrived, seconds since the Unix epoch."""
    latency_ms: float | None
    """Time since the microscope sent the frame; None when frames have no time, or the clocks of the two computers
    differ."""
    motion: Motion | None


class SessionTrace:
    """Keeps the points of the last `SPAN_S` seconds. Not thread-safe."""

    def __init__(self) -> None:
        self._points: deque[SessionPoint] = deque()
        self._serial = 0

    @property
    def serial(self) -> int:
        """Serial of the newest point; 0 before the first."""
        return self._serial

    def add(self, t_s: float, latency_ms: float | None, motion: Motion | None) -> None:
        """Add a frame, and remove the points that are too old."""
        if self._points and 0 <= t_s - self._points[-1].t_s < SPACING_S:
            return
        self._serial += 1
        self._points.append(SessionPoint(self._serial, t_s, latency_ms, motion))
        while self._points[0].t_s < t_s - SPAN_S:
            self._points.popleft()

    def since(self, serial: int) -> Iterator[SessionPoint]:
        """Return the points whose serial is greater than `serial`."""
        return dropwhile(lambda point: point.serial <= serial, list(self._points))
