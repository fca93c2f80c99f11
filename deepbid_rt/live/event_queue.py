"""A bounded queue of events between two threads, with a named policy for overflow.

Knows nothing of what the events mean beyond this: frames may be given up and become a `Gap`; everything else may not.
"""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum

from deepbid_rt.errors import OverrunError
from deepbid_rt.frame import Event, Frame, Gap, GapCause


class Overflow(Enum):
    """What happens to a frame that finds the mailbox full."""

    NEWEST = "newest"
    """The oldest frames are given up, counted, and leave a `Gap` in their place."""
    FAIL = "fail"
    """The frame is refused with `OverrunError`; what is inside stays deliverable."""


class QueueClosed(Exception):  # noqa: N818 - an end, not an error
    """The mailbox is closed and empty."""


class EventQueue:
    """Bounded FIFO for one writer and one reader thread.

    Parameters
    ----------
    capacity : int
        Most frames inside.
    overflow : Overflow
        The policy.
    cause : GapCause
        Cause written into gaps, for ``NEWEST``.
    give_up : int
        Frames given up at each overflow, for ``NEWEST``. More than one keeps a slow reader from meeting a gap at
        every frame.
    owner : str
        Who reads, for the error message.
    """

    def __init__(
        self, capacity: int, overflow: Overflow, *, cause: GapCause = "engine", give_up: int = 1, owner: str = "reader"
    ) -> None:
        self._capacity = capacity
        self._overflow = overflow
        self._cause: GapCause = cause
        self._give_up = give_up
        self._owner = owner
        self._events: deque[Event] = deque()
        self._frames = 0
        self._lost = 0
        self._closed = False
        self._change = threading.Condition()

    @property
    def lost(self) -> int:
        """Frames given up or refused so far."""
        return self._lost

    @property
    def frames(self) -> int:
        """Frames inside."""
        return self._frames

    def put(self, event: Event) -> None:
        """Append an event; never waits. After `close`, frames are counted as lost and other events ignored.

        Raises
        ------
        OverrunError
            When the mailbox is full and its policy is ``FAIL``.
        """
        with self._change:
            if isinstance(event, Frame):
                if self._closed:
                    self._lost += 1
                    return
                if self._frames >= self._capacity:
                    self._make_room(event)
                self._frames += 1
            elif self._closed:
                return
            elif len(self._events) - self._frames > self._capacity + 16:
                raise OverrunError(
                    f"{self._owner} has more than {self._capacity + 16} series and gaps waiting",
                    expected="a source that sends more frames than interruptions",
                    todo="check the source: it starts series or loses frames all the time",
                )
            self._events.append(event)
            self._change.notify()

    def get(self, timeout_s: float | None = None) -> Event | None:
        """Take the oldest event, waiting up to `timeout_s` (None: for ever); None when none came.

        Raises
        ------
        QueueClosed
            When the mailbox is closed and empty.
        """
        with self._change:
            if not self._change.wait_for(lambda: self._events or self._closed, timeout_s):
                return None
            if not self._events:
                raise QueueClosed
            event = self._events.popleft()
            self._frames -= isinstance(event, Frame)
            return event

    def close(self) -> None:
        """Let the reader drain what is inside and then meet `QueueClosed`."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def abandon(self) -> int:
        """Close, throw the contents away, and return how many frames that were (counted as lost)."""
        with self._change:
            frames = self._frames
            self._lost += frames
            self._frames = 0
            self._events.clear()
            self._closed = True
            self._change.notify_all()
            return frames

    def _make_room(self, newcomer: Frame) -> None:
        if self._overflow is Overflow.FAIL:
            self._lost += 1
            raise OverrunError(
                f"{self._owner} was {self._capacity} frames behind when frame {newcomer.index} came",
                expected=f"{self._owner} to keep up with the stream",
                todo="use a faster disk, a smaller frame or a lower rate; every frame before this one is kept",
            )
        keep: deque[Event] = deque()
        for _ in range(self._give_up):
            while self._events and not isinstance(self._events[0], Frame):
                keep.append(self._events.popleft())
            if not self._events:
                break
            frame = self._events.popleft()
            gap = Gap(frame.index, 1, self._cause) if isinstance(frame, Frame) else None
            last = keep[-1] if keep else None
            if gap and isinstance(last, Gap) and last.cause == gap.cause and last.first + last.count == gap.first:
                keep[-1] = Gap(last.first, last.count + 1, last.cause)
            elif gap:
                keep.append(gap)
            self._frames -= 1
            self._lost += 1
        self._events.extendleft(reversed(keep))
