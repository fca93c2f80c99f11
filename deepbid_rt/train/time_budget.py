"""The time limit of a training run, counted over all calls that the run was continued in."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeBudget:
    """A stopwatch with a limit.

    Parameters
    ----------
    minutes : float
        The limit; 0 sets none.
    before_s : float
        Time that earlier calls took, in seconds.
    clock : callable
        Returns seconds; never runs backwards.
    """

    def __init__(self, minutes: float, before_s: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = 60 * minutes
        self._clock = clock
        self._began = clock() - before_s

    @property
    def limited(self) -> bool:
        """True when there is a limit."""
        return self._limit_s > 0

    @property
    def elapsed_s(self) -> float:
        """Time so far, earlier calls included."""
        return self._clock() - self._began

    @property
    def used(self) -> float:
        """Fraction of the limit that is used up; 0 when there is no limit."""
        return self.used_after(0.0)

    def used_after(self, seconds: float) -> float:
        """Return what `used` will be after some more seconds."""
        return (self.elapsed_s + seconds) / self._limit_s if self.limited else 0.0

    @property
    def left_s(self) -> float:
        """Time to the limit; infinite when there is none."""
        return self._limit_s - self.elapsed_s if self.limited else float("inf")
