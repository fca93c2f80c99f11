"""The receive ring: a bounded buffer between a writer that never waits and a reader.

Pixels are copied into slots that are used again and again. A slot is allocated when all others are in use.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Event, Frame, Gap, StreamEnd, StreamInfo

MAX_SERIES = 1024
"""Unread series beyond which those without frames are left out: a sender that keeps restarting fills no memory."""
MAX_GAPS = 256
"""Largest number of neighbouring unread gaps with different causes. Further ones merge into a gap of cause ``ring``."""

Slot = NDArray[np.uint8]
Control = StreamInfo | Gap | StreamEnd


@dataclass(slots=True)
class _Entry:
    """An unread frame, its slot, and the other events between it and the next frame."""

    frame: Frame
    slot: Slot
    after: deque[Control] = field(default_factory=deque)


class ReceiveRing:
    """Passes events from a writer to a reader, in order; drops the oldest unread frames when it is full.

    Each series begins with its `StreamInfo`, and all its frames have that size.
    A dropped frame is replaced by a `Gap` with the cause ``ring``, and neighbouring gaps merge. `StreamInfo`, `Gap` and
    `StreamEnd` are not dropped, except for whole series of which no frame is left, when more than `MAX_SERIES` are
    unread. So the ring does not grow however long the reader pauses.

    One lock guards the queues and the free slots. Both threads hold it for a few list operations only. Pixels are
    copied outside it: only the writer has a slot that is being written, only the reader one that is being read.

    Parameters
    ----------
    frames : int
        Largest number of unread frames.
    max_bytes : int
        Memory for the slots. When frames are large, fewer than `frames` are kept. It is allocated slot by slot, as far
        as the reader is behind. When the system gives less, the ring keeps fewer frames.
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

    def put(self, event: Event) -> None:
        """Append an event; the pixels of a frame are copied. For the writer thread; never waits for the reader."""
        if isinstance(event, Frame):
            self._put_frame(event)
            return
        with self._lock:
            if isinstance(event, StreamInfo):
                self._resize(event.frame_bytes)
                self._series += 1
                if self._series > MAX_SERIES:
                    self._leave_out_series_without_frames()
            _append(self._last_queue, event)
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
                return event
            if self._entries:
                entry = self._entries.popleft()
                self._ahead = entry.after
                self._held = entry.slot
                return entry.frame
            if self._failure is not None:
                raise self._failure
            return None

    @property
    def _last_queue(self) -> deque[Control]:
        return self._entries[-1].after if self._entries else self._ahead

    def _put_frame(self, frame: Frame) -> None:
        with self._lock:
            while len(self._entries) >= self._capacity:
                self._drop_oldest()
            slot = self._free.pop() if self._free else None
        if slot is None and (slot := self._allocate()) is None:
            # No memory: the newest frame is the one that is lost, as no older one has a slot of this size.
            with self._lock:
                self._lost += 1
                _append(self._last_queue, Gap(frame.index, 1, "ring"))
                self._filled.notify()
            return
        pixels: NDArray[Any] = slot.view(frame.pixels.dtype).reshape(frame.pixels.shape)
        np.copyto(pixels, frame.pixels)
        pixels.flags.writeable = False
        with self._lock:
            self._entries.append(_Entry(replace(frame, pixels=pixels), slot))
            self._filled.notify()

    def _allocate(self) -> Slot | None:
        """Return a new slot, or, when the system has no memory, that of the oldest unread frame, which is dropped."""
        try:
            slot = np.empty(self._slot_bytes, np.uint8)
        except MemoryError:
            with self._lock:
                while self._entries and not self._free:
                    self._drop_oldest()
                return self._free.pop() if self._free else None
        return slot

    def _resize(self, slot_bytes: int) -> None:
        """Let slots have the size of a new series' frames; the caller holds the lock. Nothing is allocated yet."""
        if slot_bytes == self._slot_bytes:
            return
        # One slot more than unread frames: the reader holds one.
        self._capacity = max(1, min(self._frames, self._max_bytes // slot_bytes - 1))
        self._slot_bytes, self._free = slot_bytes, []

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

    def _leave_out_series_without_frames(self) -> None:
        """Remove each unread series that has ended and of which no frame is left; the caller holds the lock."""
        for queue in (self._ahead, *(entry.after for entry in self._entries)):
            kept: list[Control] = []
            begin: int | None = None  # where the latest series that began in this queue stands in `kept`
            for event in queue:
                if isinstance(event, StreamInfo):
                    begin = len(kept)
                kept.append(event)
                if isinstance(event, StreamEnd) and begin is not None:
                    del kept[begin:]
                    self._series -= 1
                    begin = None
            queue.clear()
            queue.extend(kept)


def _append(queue: deque[Control], event: Control) -> None:
    last = queue[-1] if queue else None
    if isinstance(event, Gap) and isinstance(last, Gap) and last.first + last.count == event.first:
        same = last.cause == event.cause
        if same or len(queue) >= MAX_GAPS:
            queue[-1] = Gap(last.first, last.count + event.count, event.cause if same else "ring")
            return
    queue.append(event)
