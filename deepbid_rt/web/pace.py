"""Limits a rate: tells how long each event must wait so that there are no more than so many a second."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Limits the rate of events. Not thread-safe.

    Parameters
    ----------
    rate_hz : float
        Events per second in the long run.
    burst : int
        Events that may come at once after a pause.
    clock : callable, optional
        Returns monotonic seconds.
    """

    def __init__(self, rate_hz: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._spacing_s = 1 / rate_hz
        self._ahead_s = (burst - 1) / rate_hz
        self._clock = clock
        self._due_s = clock()

    def wait_s(self) -> float:
        """Return how long an event that comes now must wait, seconds; 0 when it need not."""
        return max(0.0, self._due_s - self._ahead_s - self._clock())

    def take(self) -> float:
        """Count an event and return how long it must wait, seconds."""
        wait_s = self.wait_s()
        self._due_s = max(self._due_s, self._clock()) + self._spacing_s
        return wait_s
