"""Rates and ages over the last seconds. Plain numbers; the caller says what time it is."""

from __future__ import annotations

from collections import deque

import numpy as np

WINDOW_S = 5.0
_MOST = 4096


class Recent:
    """Remembers when things happened during the last seconds, and a value of each."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._events: deque[tuple[float, float]] = deque(maxlen=_MOST)

    def add(self, now_s: float, value: float = 0.0) -> None:
        """Note that something happened."""
        self._events.append((now_s, value))
        self._forget(now_s)

    def rate_hz(self, now_s: float) -> float:
        """Return how often things happened, per second."""
        self._forget(now_s)
        if len(self._events) < 2:
            return 0.0
        # From the first event to now or the next one due, whichever is later: a stream that stops sinks to 0 smoothly,
        # and one that just began shows its rate at once.
        first, last = self._events[0][0], self._events[-1][0]
        period_s = (last - first) / (len(self._events) - 1)
        return (len(self._events) - 1) / max(last - first, now_s - first - period_s, 1e-9)

    def quantile(self, q: float, now_s: float) -> float | None:
        """Return the q-th quantile (0..1) of the values; None when nothing happened."""
        self._forget(now_s)
        if not self._events:
            return None
        return float(np.quantile([value for _, value in self._events], q))

    def _forget(self, now_s: float) -> None:
        while self._events and self._events[0][0] < now_s - self._window_s:
            self._events.popleft()
