"""The rate of events during the last seconds, and quantiles of their values. The caller passes the time."""

from __future__ import annotations

from collections import deque

import numpy as np

WINDOW_S = 5.0
"""Default length: long enough for a steady figure at 1 frame/s, short enough to follow a change."""
_MAX_EVENTS = 4096
"""Bounds memory and the cost of a quantile; 5 s at 800 frames/s."""


class RecentEvents:
    """Keeps the times of events during the last seconds, with one value for each.

    Parameters
    ----------
    window_s : float
        Seconds that count.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._events: deque[tuple[float, float]] = deque(maxlen=_MAX_EVENTS)

    def add(self, now_s: float, value: float = 0.0) -> None:
        """Add an event at the monotonic time `now_s`."""
        self._events.append((now_s, value))
        self._remove_old(now_s)

    def rate_hz(self, now_s: float) -> float:
        """Return the number of events per second."""
        self._remove_old(now_s)
        if len(self._events) < 2:
            return 0.0
        # From the first event to now or to the time when the next one is due, whichever is later. The rate of a stream
        # that stops then falls smoothly to 0, and that of a stream that has just begun is right at once.
        first, last = self._events[0][0], self._events[-1][0]
        period_s = (last - first) / (len(self._events) - 1)
        return (len(self._events) - 1) / max(last - first, now_s - first - period_s, 1e-9)

    def quantile(self, q: float, now_s: float) -> float | None:
        """Return the quantile `q` (0 to 1) of the values; None when there was no event."""
        self._remove_old(now_s)
        if not self._events:
            return None
        return float(np.quantile([value for _, value in self._events], q))

    def _remove_old(self, now_s: float) -> None:
        while self._events and self._events[0][0] < now_s - self._window_s:
            self._events.popleft()
