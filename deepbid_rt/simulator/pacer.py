"""Waits that keep a steady rate on any clock, without drift and with bounded bursts."""

from __future__ import annotations

from collections.abc import Callable


class Pacer:
    """Keeps a steady rate: call k of `wait` returns k periods after the first, however long the caller took between.

    If a call comes late by at most `slack_s`, the next calls return sooner until the schedule is met again. Any further
    delay is not made up for; the schedule moves back by it. So after a long stall, at most ``1 + slack_s * rate_hz``
    calls return at once.

    Parameters
    ----------
    rate_hz : float
        Calls per second.
    clock : callable
        Returns seconds; must not run backwards.
    sleep : callable
        Waits for a number of seconds, or less when interrupted.
    slack_s : float, optional
        Delay that is made up for; one period by default.
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
        self._calls = 0
        self.slipped_s = 0.0
        """Total delay beyond the slack so far, by which the schedule moved back, seconds."""

    def wait(self, late_s: float = 0.0) -> float:
        """Wait until the next call is due, and `late_s` longer; later calls keep their times.

        Returns
        -------
        float
            The clock's time at the end of the wait.
        """
        now_s = self._clock()
        if self._start_s is None:
            self._start_s = now_s
        # Computed from the start each time, as adding up periods would add up their rounding errors.
        due_s = self._start_s + self.slipped_s + self._calls * self._period_s
        self._calls += 1
        beyond_slack_s = now_s - due_s - self._slack_s
        if beyond_slack_s > 0:
            self.slipped_s += beyond_slack_s
            return now_s
        if due_s + late_s > now_s:
            self._sleep(due_s + late_s - now_s)
            now_s = self._clock()
        return now_s
