"""The receive ring: a bounded buffer between a writer that never waits and a reader.

Pixels are copied into slots that are allocated when a series begins, not for each frame.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import OverrunError, StreamError
from deepbid_rt.frame import Event, Frame, Gap, StreamEnd, StreamInfo

MAX_SERIES = 1024
"""Largest number of unread series. More means that the reader has died while a sender keeps restarting."""
MAX_GAPS = 256
"""Largest number of neighbouring unread gaps with different causes. Further ones merge into a gap of cause ``ring``."""

Slot = NDArray[np.uint8]
Control = StreamInfo | Gap | StreamEnd | StreamError


@dataclass(slots=True)
class _Entry:
    """An unread frame, its slot, and the other events between it and the next frame."""

    frame: Frame
    slot: Slot
    after: deque[Control] = field(default_factory=deque)


class ReceiveRing:
    """Passes events from a writer to a reader, in order; drops the oldest unread frames when it is full.

    Each series begins with its `StreamInfo`, and all its frames have that size.
    `StreamInfo`, `Gap` and `StreamEnd` are never dropped. A dropped frame is replaced by a `Gap` with the cause
    ``ring``, and neighbouring gaps merge, so that the ring does not grow however long the reader pauses.
    A `StreamError` keeps its place in the order; `get` raises it when its turn comes.

    One lock guards the queues and the free slots. Both threads hold it for a few list operations only. Pixels are
    copied outside it: only the writer has a slot that is being written, only the reader one that is being read.

    Parameters
    ----------
    frames : int
        Largest number of unread frames.
    max_bytes : int
        Memory for the slots. When frames are large, fewer than `frames` are kept.
    """

    def __init__(self, frames: int = 256, *, max_bytes: int = 2**30) -> None:
        self._frames = frames
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        # _ahead holds the other events before the oldest unread frame, _entries the frames. So dropping a frame only
        # changes the ends of the queues, and since no frame lies between two events of _ahead, gaps there can merge.
        self._ahead: deque[Control] = deque()
        self._entries: deque[_Entry] = deque()
        # Last in, first out: the next slot is then likely to be in a cache, and only as many slots are ever touched
        # as the reader was behind.
        self._free: list[Slot] = []
        self._slot_bytes = 0
        self._capacity = frames
        self._series = 0
        self._lost = 0
        self._held: Slot | None = None
        self._failure: BaseException | None = None

    @property
    def max_frame_bytes(self) -> int:
        """Largest frame that the ring accepts, bytes: an eighth of its memory, so that several frames fit."""
        return self._max_bytes // 8

    @property
    def unread(self) -> int:
        """Frames waiting for the reader."""
        return len(self._entries)

    @property
    def lost(self) -> int:
        """Frames dropped so far."""
        return self._lost

    def put(self, event: Event | StreamError) -> None:
        """Append an event; the pixels of a frame are copied. For the writer thread; never waits for the reader.

        Raises
        ------
        OverrunError
            When more than `MAX_SERIES` series are unread.
        """
        if isinstance(event, Frame):
            self._put_frame(event)
            return
        if isinstance(event, StreamInfo):
            self._resize(event.frame_bytes)
        with self._lock:
            if isinstance(event, StreamInfo):
                if self._series >= MAX_SERIES:
                    raise OverrunError(
                        f"{MAX_SERIES} series began without one being read",
                        expected="a reader that keeps reading the stream",
                        todo="stop the sender that keeps restarting",
                    )
                self._series += 1
            _append(self._entries[-1].after if self._entries else self._ahead, event)
            self._filled.notify()

    def fail(self, error: BaseException) -> None:
        """Make `get` raise this error, each time, once all events before it were read. For a writer that must stop."""
        with self._lock:
            self._failure = error
            self._filled.notify()

    def get(self, timeout_s: float) -> Event | None:
        """Return the oldest event, or None after `timeout_s` seconds without one. For the reader thread.

        The pixels (C, Y, X) of a frame are a read-only view of its slot and stay valid until the next call.
        """
        with self._filled:
            self._release()
            self._filled.wait_for(lambda: self._ahead or self._entries or self._failure, timeout_s)
            if self._ahead:
                event = self._ahead.popleft()
                if isinstance(event, StreamInfo):
                    self._series -= 1
                if isinstance(event, StreamError):
                    raise event
                return event
            if self._entries:
                entry = self._entries.popleft()
                self._ahead = entry.after
                self._held = entry.slot
                return entry.frame
            if self._failure is not None:
                raise self._failure
            return None

    def _put_frame(self, frame: Frame) -> None:
        with self._lock:
            while len(self._entries) >= self._capacity:
                self._drop_oldest()
            # Never empty: there are capacity + 1 slots of this size, and the reader holds at most one.
            slot = self._free.pop()
        pixels: NDArray[Any] = slot.view(frame.pixels.dtype).reshape(frame.pixels.shape)
        np.copyto(pixels, frame.pixels)
        pixels.flags.writeable = False
        with self._lock:
            self._entries.append(_Entry(replace(frame, pixels=pixels), slot))
            self._filled.notify()

    def _resize(self, slot_bytes: int) -> None:
        """Allocate slots for a new series, unless the present ones have the right size."""
        if slot_bytes == self._slot_bytes:
            return
        capacity = max(1, min(self._frames, self._max_bytes // slot_bytes - 1))
        free = [np.empty(slot_bytes, np.uint8) for _ in range(capacity + 1)]
        with self._lock:
            self._slot_bytes, self._capacity, self._free = slot_bytes, capacity, free

    def _recycle(self, slot: Slot) -> None:
        # Slots of an earlier series that have another size, or are too many, are released when their frame is done.
        if slot.nbytes == self._slot_bytes and len(self._free) <= self._capacity:
            self._free.append(slot)

    def _release(self) -> None:
        if self._held is not None:
            self._recycle(self._held)
            self._held = None

    def _drop_oldest(self) -> None:
        entry = self._entries.popleft()
        _append(self._ahead, Gap(entry.frame.index, 1, "ring"))
        for event in entry.after:
            _append(self._ahead, event)
        self._recycle(entry.slot)
        self._lost += 1


def _append(queue: deque[Control], event: Control) -> None:
    last = queue[-1] if queue else None
    if isinstance(event, Gap) and isinstance(last, Gap) and last.first + last.count == event.first:
        same = last.cause == event.cause
        if same or len(queue) >= MAX_GAPS:
            queue[-1] = Gap(last.first, last.count + event.count, event.cause if same else "ring")
            return
    queue.append(event)
