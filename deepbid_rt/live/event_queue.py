"""A bounded queue of events between two threads, with a named policy for overflow.

Only frames are ever dropped, and each dropped frame becomes part of a `Gap`. Starts, gaps and ends always stay.
"""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum

from deepbid_rt.errors import OverrunError
from deepbid_rt.frame import Event, Frame, Gap, GapCause

MAX_OTHER_EVENTS = 16
"""Starts, gaps and ends that may wait beyond the capacity. Far more than a working source sends between frames."""


class Overflow(Enum):
    """What happens when a frame arrives at a full queue."""

    NEWEST = "newest"
    """The oldest frames are dropped and counted, and a `Gap` takes their place."""
    FAIL = "fail"
    """The new frame is refused with `OverrunError`. The events in the queue stay and can still be read."""


class QueueClosed(Exception):  # noqa: N818 - an end, not an error
    """The queue is closed and empty."""


class EventQueue:
    """First-in, first-out queue for one writer thread and one reader thread.

    Parameters
    ----------
    capacity : int
        Largest number of waiting frames.
    overflow : Overflow
        What happens when it is exceeded.
    cause : GapCause
        Cause written into the gaps, for ``NEWEST``.
    drop_count : int
        Frames dropped at each overflow, for ``NEWEST``. With more than one, a slow reader does not get a gap before
        every frame.
    reader : str
        Name of the reader, for error messages.
    """

    def __init__(
        self,
        capacity: int,
        overflow: Overflow,
        *,
        cause: GapCause = "engine",
        drop_count: int = 1,
        reader: str = "reader",
    ) -> None:
        self._capacity = capacity
        self._overflow = overflow
        self._cause: GapCause = cause
        self._drop_count = drop_count
        self._reader = reader
        self._events: deque[Event] = deque()
        self._frames = 0
        self._lost = 0
        self._closed = False
        self._change = threading.Condition()

    @property
    def lost(self) -> int:
        """Frames dropped or refused so far."""
        return self._lost

    @property
    def frames(self) -> int:
        """Frames waiting now."""
        return self._frames

    def put(self, event: Event) -> None:
        """Append an event; never waits. After `close`, frames are counted as lost and other events are ignored.

        Raises
        ------
        OverrunError
            When the queue is full and its policy is ``FAIL``, or when too many other events are waiting.
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
            elif len(self._events) - self._frames > self._capacity + MAX_OTHER_EVENTS:
                raise OverrunError(
                    f"{self._reader} has more than {self._capacity + MAX_OTHER_EVENTS} series starts and gaps waiting",
                    expected="a source that sends more frames than interruptions",
                    todo="check the source: it keeps starting new series or losing frames",
                )
            self._events.append(event)
            self._change.notify()

    def get(self, timeout_s: float | None = None) -> Event | None:
        """Return the oldest event, waiting up to `timeout_s` seconds (None: for ever); None after the timeout.

        Raises
        ------
        QueueClosed
            When the queue is closed and empty.
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
        """Accept no more events. The reader gets what is waiting and then `QueueClosed`."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def discard(self) -> int:
        """Close the queue and throw its contents away; return how many frames that were. They count as lost."""
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
                f"{self._reader} was {self._capacity} frames behind when frame {newcomer.index} came",
                expected=f"{self._reader} to keep up with the stream",
                todo="use a faster disk, a smaller frame or a lower rate; all frames before this one are kept",
            )
        keep: deque[Event] = deque()
        for _ in range(self._drop_count):
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
