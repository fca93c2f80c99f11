"""A bounded queue of events between two threads. It never refuses an event: what does not fit is counted.

A writer that can wait asks for room first, see `EventQueue.wait_for_room`.

Only frames are dropped, and each dropped frame becomes part of a `Gap`. Starts, gaps and ends stay, except for series
of which no frame is left, when many of them wait.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import MutableSequence

from deepbid_rt.frame import Event, Frame, Gap, GapCause, StreamEnd, StreamInfo

MAX_WAITING_SERIES = 16
"""Starts that may wait. Beyond it, series without frames are left out: a sender that keeps restarting fills nothing."""
MAX_NEIGHBOURING_GAPS = 8
"""Gaps in a row that stay apart by their cause; further ones become part of the last."""


class QueueClosed(Exception):  # noqa: N818 - an end, not an error
    """The queue is closed and empty."""


class EventQueue:
    """First-in, first-out queue for one writer thread and one reader thread.

    When a frame arrives at a full queue, the oldest frames are dropped and counted, and a `Gap` takes their place.

    Parameters
    ----------
    capacity : int
        Largest number of waiting frames.
    capacity_s : float, optional
        The same in seconds of the stream; the larger one holds.
    max_bytes : int
        Largest number of bytes of waiting pixels. At least one frame always fits.
    cause : GapCause
        Cause written into the gaps.
    drop_count : int
        Frames dropped at each overflow. With more than one, a slow reader does not get a gap before every frame.
    """

    def __init__(
        self,
        capacity: int,
        *,
        capacity_s: float = 0.0,
        max_bytes: int = 2**30,
        cause: GapCause = "engine",
        drop_count: int = 1,
    ) -> None:
        self._least_capacity = self._capacity = capacity
        self._capacity_s = capacity_s
        self._max_bytes = max_bytes
        self._cause: GapCause = cause
        self._drop_count = drop_count
        self._events: deque[Event] = deque()
        self._frames = self._bytes = self._starts = 0
        self._lost = 0
        self._closed = False
        self._change = threading.Condition()

    @property
    def lost(self) -> int:
        """Frames dropped so far, and those that came after `close`."""
        return self._lost

    @property
    def frames(self) -> int:
        """Frames waiting now."""
        return self._frames

    @property
    def oldest_ns(self) -> int | None:
        """`Frame.arrived_ns` of the oldest waiting frame; None when no frame waits."""
        with self._change:
            return next((event.arrived_ns for event in self._events if isinstance(event, Frame)), None)

    def put(self, event: Event) -> None:
        """Append an event. After `close`, frames are counted as lost and other events are ignored."""
        with self._change:
            if self._closed:
                self._lost += isinstance(event, Frame)
                return
            if isinstance(event, Frame):
                self._make_room(event.pixels.nbytes)
                self._frames += 1
                self._bytes += event.pixels.nbytes
                self._events.append(event)
            elif isinstance(event, Gap):
                append_gap(self._events, event)
            else:
                self._events.append(event)
                if isinstance(event, StreamInfo):
                    self._starts += 1
                    self._capacity = max(self._least_capacity, math.ceil(self._capacity_s * event.rate_hz))
                if self._starts > MAX_WAITING_SERIES:
                    self._leave_out_series_without_frames()
            self._change.notify_all()

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
            self._starts -= isinstance(event, StreamInfo)
            if isinstance(event, Frame):
                self._count_out(event)
            self._change.notify_all()
            return event

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until at most half of the queue is filled, or it is closed; False after the timeout."""

        def has_room() -> bool:
            half_full = self._frames > self._capacity // 2 or self._bytes > self._max_bytes // 2
            return self._closed or not self._frames or not half_full

        with self._change:
            return self._change.wait_for(has_room, timeout_s)

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
            self._frames = self._bytes = self._starts = 0
            self._events.clear()
            self._closed = True
            self._change.notify_all()
            return frames

    # The caller of the following methods holds the lock.

    def _make_room(self, newcomer_bytes: int) -> None:
        if self._frames < self._capacity and self._bytes + newcomer_bytes <= self._max_bytes:
            return
        keep: deque[Event] = deque()
        dropped = 0
        while self._events and (dropped < self._drop_count or self._bytes + newcomer_bytes > self._max_bytes):
            event = self._events.popleft()
            if isinstance(event, Frame):
                self._count_out(event)
                self._lost += 1
                dropped += 1
                append_gap(keep, Gap(event.index, 1, self._cause))
            elif isinstance(event, Gap):
                append_gap(keep, event)
            else:
                keep.append(event)
        self._events.extendleft(reversed(keep))

    def _count_out(self, frame: Frame) -> None:
        self._frames -= 1
        self._bytes -= frame.pixels.nbytes

    def _leave_out_series_without_frames(self) -> None:
        """Remove each waiting series that began and ended and of which only gaps are left."""
        kept: deque[Event] = deque()
        series: list[Event] = []  # the events since the latest start, or before the first one
        for event in self._events:
            if isinstance(event, StreamInfo):
                kept.extend(series)
                series = []
            series.append(event)
            if isinstance(event, StreamEnd):
                if isinstance(series[0], StreamInfo) and not any(isinstance(e, Frame) for e in series):
                    self._starts -= 1
                else:
                    kept.extend(series)
                series = []
        kept.extend(series)
        self._events = kept


def append_gap(events: MutableSequence[Event], gap: Gap) -> None:
    """Append a gap to events, as part of the last gap if it continues that one. No missing frame is forgotten."""
    last = events[-1] if events else None
    if isinstance(last, Gap):
        same = last.cause == gap.cause and last.first + last.count == gap.first
        many = len(events) >= MAX_NEIGHBOURING_GAPS
        if same or (many and all(isinstance(events[-n], Gap) for n in range(1, MAX_NEIGHBOURING_GAPS + 1))):
            events[-1] = Gap(last.first, last.count + gap.count, last.cause)
            return
    events.append(gap)
