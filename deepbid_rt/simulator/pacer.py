"""A steady beat on any clock, that neither drifts nor bursts.

Knows nothing of frames.
"""

from __future__ import annotations

from collections.abc import Callable


class Pacer:
    """Ticks at a steady rate: tick k is due k periods after the start, whatever the ticks before it cost.

    A tick that comes late by no more than `slack_s` is followed by quicker ones until the schedule is met again.
    Beyond that the rest of the delay is given up and the schedule moves back by it: after a long stall at most
    ``1 + slack_s * rate_hz`` ticks follow each other at once.

    Parameters
    ----------
    rate_hz : float
        Ticks per second.
    clock : callable
        Returns seconds; must not run backwards.
    sleep : callable
        Waits for so many seconds, or less when interrupted.
    slack_s : float, optional
        Delay that is made up for; one period when left out.
    """

    def __init__(
        self,
        rate_hz: float,
        clock: Callable[[], float],
        sleep: Callable[[float], object],
        slack_s: float | None = None,
    ) -> None:
        self._period_s = 1.0 / rate_hz
        self._clock, self._sleep = clock, sleep
        self._slack_s = self._period_s if slack_s is None else slack_s
        self._start_s: float | None = None
        self._ticks = 0
        self.slipped_s = 0.0
        """Time given up so far because ticks came later than the slack, seconds."""

    def wait(self, late_s: float = 0.0) -> float:
        """Wait until the next tick is due, and `late_s` longer; the ticks after it stay where they are.

        Returns
        -------
        float
            The clock's time at the end of the wait.
        """
        now_s = self._clock()
        if self._start_s is None:
            self._start_s = now_s
        # Computed from the start each time: adding up periods would add up their rounding as well.
        due_s = self._start_s + self.slipped_s + self._ticks * self._period_s
        self._ticks += 1
        excess_s = now_s - due_s - self._slack_s
        if excess_s > 0:
            self.slipped_s += excess_s
            return now_s
        if due_s + late_s > now_s:
            self._sleep(due_s + late_s - now_s)
            now_s = self._clock()
        return now_s
