"""Tells whether the clock of the sender can be used to measure latencies.

A frame says when it was sent, on the sender's clock, and when it arrived, on this one. Where the two clocks differ, the
difference says nothing about the time that the frame took.
"""

from __future__ import annotations

import statistics
from collections import deque

from deepbid_rt.frame import Frame

FRAMES = 16
"""Frames whose median counts: one late frame changes nothing, and half a second at 30 Hz is enough to know."""
LARGEST_TRANSPORT_NS = 2_000_000_000
"""Longest transport at the beginning of a series that is believed. Frames cross a laboratory's network in milliseconds;
a sender that already holds back two seconds of frames at the start is less likely than a clock that is wrong."""
STILL_FRAMES = 8
"""Frames in a row with the same time stamp after which the stamps stand still. A sender may send a volume at once, but
stamps each of its frames."""
WORTH_SAYING_NS = 5_000_000
"""Smallest lead of the sender's clock that is worth an alarm. Clocks that are synchronised over a network (NTP) differ
by a few milliseconds, which changes no decision."""


class ClockCheck:
    """Follows the clocks of one series. One thread pushes; any thread may ask.

    The clock is not used when frames seem to arrive before they are sent, when the first ones seem to travel for more
    than `LARGEST_TRANSPORT_NS`, when the stamps run backwards by more than that, and when they stand still. A delay
    that grows while frames arrive is a real one: a sender or a network that falls behind.
    """

    def __init__(self) -> None:
        self._offsets: deque[int] = deque(maxlen=FRAMES)
        self._last_ns = 0
        self._same = 0
        self._set_back = False
        self._decided = False
        self.offset_ns: int | None = None
        """Median time from sending to arrival of the latest frames, nanoseconds; None before the first."""
        self.problem: str | None = None
        """Why the sender's clock is not used, in words; None while it is used."""

    @property
    def usable(self) -> bool:
        """True while latencies can be measured from the time at which frames were sent."""
        return self.problem is None

    @property
    def worth_an_alarm(self) -> bool:
        """True when there is a problem that a user should mend."""
        return self.problem is not None and not (
            self._same < STILL_FRAMES and self.offset_ns is not None and -WORTH_SAYING_NS < self.offset_ns < 0
        )

    def push(self, frame: Frame) -> None:
        """Take the stamps of the next frame of the series; does nothing for a frame that lacks one of them."""
        if not frame.t_ns or not frame.arrived_ns:
            return
        if self._last_ns:
            self._same = self._same + 1 if frame.t_ns == self._last_ns else 0
            self._set_back |= frame.t_ns < self._last_ns - LARGEST_TRANSPORT_NS
        self._last_ns = frame.t_ns
        self._offsets.append(frame.arrived_ns - frame.t_ns)
        self.offset_ns = offset = int(statistics.median(self._offsets))
        far = offset > LARGEST_TRANSPORT_NS
        if 0 <= self._offsets[-1] <= LARGEST_TRANSPORT_NS:
            self._set_back = False
        if self._same >= STILL_FRAMES:
            self.problem = "the sender's time stamps stand still"
        elif offset < 0:
            self.problem = f"the sender's clock is ahead of this computer's by at least {_words(-offset)}"
        elif far and (self._set_back or self.problem or not self._decided):
            self.problem = f"the sender's clock is behind this computer's by about {_words(offset)}"
        else:
            self.problem = None
        self._decided |= len(self._offsets) == FRAMES

    def begins_ns(self, frame: Frame) -> int | None:
        """Return the time from which the latency of a frame counts, nanoseconds since the Unix epoch on this computer.

        The time at which it was sent, where that can be known, else that of its arrival. None for a frame from a file,
        whose latency has no meaning.
        """
        return frame.t_ns if self._sent_in_time(frame) else frame.arrived_ns or None

    def transport_ns(self, frame: Frame) -> int | None:
        """Return the time that a frame took to arrive, nanoseconds; None when it is unknown."""
        return frame.arrived_ns - frame.t_ns if self._sent_in_time(frame) else None

    def _sent_in_time(self, frame: Frame) -> bool:
        # Before the first frame is pushed nothing is known of the clock: a frame that took long is not believed.
        earliest = 1 if self.offset_ns is not None else max(1, frame.arrived_ns - LARGEST_TRANSPORT_NS)
        return self.usable and earliest <= frame.t_ns <= frame.arrived_ns


def _words(duration_ns: int) -> str:
    seconds = duration_ns / 1e9
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    return (
        f"{seconds:.1f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
