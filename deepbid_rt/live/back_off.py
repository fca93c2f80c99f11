"""When to try again what has failed: after 1, 2, 4 ... seconds, at most every 30."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_S = 1.0
LONGEST_S = 30.0
"""A disk that has room again, or a driver that works again, is used after this time at the latest."""
HEALTHY_S = 60.0
"""After so long without a failure the next one is tried again after `FIRST_S` seconds."""


class BackOff:
    """Times of the next attempts of one part. For one thread.

    Parameters
    ----------
    first_s : float
        Seconds between the first failure and the next attempt; doubled with each further failure.
    clock : callable
        Returns monotonic seconds.
    """

    def __init__(self, first_s: float = FIRST_S, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._first_s = first_s
        self._clock = clock
        self._wait_s = 0.0
        self._failed_s = -float("inf")

    def failed(self) -> None:
        """Count a failure: wait longer than the last time, unless that was long ago."""
        now_s = self._clock()
        recent = now_s - self._failed_s < self._wait_s + HEALTHY_S
        self._wait_s = min(2 * self._wait_s, LONGEST_S) if recent and self._wait_s else self._first_s
        self._failed_s = now_s

    @property
    def remaining_s(self) -> float:
        """Seconds until the next attempt; 0 when it is due."""
        return max(0.0, self._failed_s + self._wait_s - self._clock())
