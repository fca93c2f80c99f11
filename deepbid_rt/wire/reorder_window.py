"""Messages that came before their turn, until the missing ones come or the time is over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from deepbid_rt.frame import StreamEnd
from deepbid_rt.wire.message import AnyMessage, FrameMessage

Kept = TypeVar("Kept", bound=AnyMessage)

WINDOW = 8
"""Messages that wait for a missing one. A message that comes later than that is late."""
MAX_HOLD_S = 0.05
"""Longest time for which a message waits, seconds."""
_HOLD_PERIODS = 2.0


def kept(message: Kept) -> Kept:
    """Return the message with pixels of its own, to be used after the received buffers are gone."""
    if not isinstance(message, FrameMessage):
        return message
    return replace(message, frame=replace(message.frame, pixels=message.frame.pixels.copy()))


@dataclass(slots=True)
class Tail:
    """What a beat says about the end of what was sent, while messages that it counts are missing."""

    last_seq: int
    last_fn: int | None
    end: StreamEnd | None
    deadline_s: float


class ReorderWindow:
    """Holds the messages of one series that arrived ahead of a missing one, by number. It has no clock.

    Parameters
    ----------
    rate_hz : float
        Frames per second. Messages wait for 2 frame periods, and at most 50 ms.
    max_bytes : int
        Largest number of bytes of held pixels.
    """

    __slots__ = ("_bytes", "_hold_s", "_max_bytes", "_waiting", "frames", "tail")

    def __init__(self, rate_hz: float, max_bytes: int) -> None:
        self._hold_s = min(_HOLD_PERIODS / rate_hz, MAX_HOLD_S)
        self._max_bytes = max_bytes
        self._waiting: dict[int, tuple[AnyMessage, float]] = {}
        self._bytes = 0
        self.frames = 0
        """Frames that are held."""
        self.tail: Tail | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting) or self.tail is not None

    def __contains__(self, seq: int) -> bool:
        return seq in self._waiting

    @property
    def full(self) -> bool:
        """True when more is held than the window allows."""
        return len(self._waiting) > WINDOW or self._bytes > self._max_bytes

    @property
    def deadline_s(self) -> float | None:
        """Monotonic time at which something must be released; None when nothing is held."""
        times = [deadline for _, deadline in self._waiting.values()]
        if self.tail is not None:
            times.append(self.tail.deadline_s)
        return min(times, default=None)

    def hold(self, message: AnyMessage, now_s: float) -> None:
        """Hold a message; its pixels are copied."""
        self._waiting[message.seq] = kept(message), now_s + self._hold_s
        if isinstance(message, FrameMessage):
            self.frames += 1
            self._bytes += message.frame.pixels.nbytes

    def hold_tail(self, last_seq: int, last_fn: int | None, end: StreamEnd | None, now_s: float) -> None:
        """Remember the numbers of a beat until the messages that it counts have come; it replaces an earlier one."""
        deadline = now_s + self._hold_s if self.tail is None else self.tail.deadline_s
        self.tail = Tail(last_seq, last_fn, end, deadline)

    def pop_next(self, next_seq: int, next_fn: int | None) -> AnyMessage | None:
        """Remove and return the message whose turn has come: the next one, or the one with the next frame."""
        if not self._waiting:
            return None
        message = self._waiting[min(self._waiting)][0]
        fits = message.seq == next_seq or (isinstance(message, FrameMessage) and message.frame.index == next_fn)
        return self._remove(message) if fits else None

    def pop_lowest(self, *, up_to: int | None = None) -> AnyMessage | None:
        """Remove and return the message with the lowest number, if it is at most `up_to`; None without one."""
        lowest = min(self._waiting, default=None)
        if lowest is None or (up_to is not None and lowest > up_to):
            return None
        return self._remove(self._waiting[lowest][0])

    def _remove(self, message: AnyMessage) -> AnyMessage:
        del self._waiting[message.seq]
        if isinstance(message, FrameMessage):
            self.frames -= 1
            self._bytes -= message.frame.pixels.nbytes
        return message
