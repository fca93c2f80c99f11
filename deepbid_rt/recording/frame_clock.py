"""The time of each frame in a recording."""

from __future__ import annotations

from typing import Literal

from deepbid_rt.frame import Frame

_MAX_S = 1e12
"""Longer times do not fit the digits that readers of recordings expect."""


class FrameClock:
    """Gives the frames of one series their times, all on one clock.

    The first frame decides: the acquisition's own time when it has one, else the time since the source has sent it,
    else its number and the rate. A later frame that lacks the acquisition's time gets it from the time that passed on
    the other clock.

    Parameters
    ----------
    rate_hz : float
        Frames per second, over all planes.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._t0_ns = 0
        self._ahead_s = 0.0  # acquisition's time less the other one, at the last frame that had both
        self.clock: Literal["acquisition", "sender", "frame number"] | None = None
        """What the times are; None before the first frame."""

    def time_s(self, frame: Frame) -> float:
        """Return the time of a frame, seconds. On the acquisition's clock the zero is its own."""
        acquired_s = frame.acquired_s
        if acquired_s is not None and not abs(acquired_s) < _MAX_S:
            acquired_s = None
        self._t0_ns = self._t0_ns or frame.t_ns
        if self.clock is None:
            self.clock = "acquisition" if acquired_s is not None else "sender" if frame.t_ns else "frame number"
        other_s = (frame.t_ns - self._t0_ns) / 1e9 if frame.t_ns else frame.index / self._rate_hz
        if self.clock != "acquisition":
            return other_s
        if acquired_s is None:
            return other_s + self._ahead_s
        self._ahead_s = acquired_s - other_s
        return acquired_s
