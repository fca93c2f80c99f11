"""The receive ring: between one writer that never waits and one reader.

Knows nothing of sockets or messages. Pixels live in slots that are allocated when a series begins, not per frame.
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
"""Unread series; more means that the reader is gone while a sender keeps restarting."""
MAX_GAPS = 256
"""Neighbouring unread gaps of different causes; from here on they merge under the cause ``ring``."""

Slot = NDArray[np.uint8]
Control = StreamInfo | Gap | StreamEnd | StreamError


@dataclass(slots=True)
class _Entry:
    """An unread frame, its slot, and what came after it and before the next frame."""

    frame: Frame
    slot: Slot
    after: deque[Control] = field(default_factory=deque)


class ReceiveRing:
    """Hands events from a writer to a reader, in order, giving up the oldest unread frames when full.

    Each series begins with its `StreamInfo`, and all its frames are of that size.
    `StreamInfo`, `Gap` and `StreamEnd` are never given up: a frame that is becomes a `Gap` with the cause ``ring``
    in its place, and neighbouring gaps merge, so that a reader can pause for ever without the queue growing.
    A `StreamError` travels in the same order and is raised by `get` when its turn comes.

    One mutex guards the queue and the free slots; both threads hold it for a few list operations. Pixels are copied
    outside it: a slot being written is known to the writer alone, a slot being read to the reader alone.

    Parameters
    ----------
    frames : int
        Most unread frames.
    max_bytes : int
        Memory for slots; when frames are large, fewer than ``frames`` are kept.
    """

    def __init__(self, frames: int = 256, *, max_bytes: int = 2**30) -> None:
        self._frames = frames
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        # What stands ahead of the oldest unread frame, and the frames. Giving up a frame thus touches ends of
        # queues only, and nothing in _ahead has a frame between it and its neighbour: gaps there can merge.
        self._ahead: deque[Control] = deque()
        self._entries: deque[_Entry] = deque()
        # Last in, first out: the slot used next is the one most likely to be in a cache, and memory is touched
        # only as far as the reader ever lagged.
        self._free: list[Slot] = []
        self._slot_bytes = 0
        self._capacity = frames
        self._series = 0
        self._lost = 0
        self._held: Slot | None = None
        self._failure: BaseException | None = None

    @property
    def max_frame_bytes(self) -> int:
        """Largest frame the ring takes: an eighth of its memory, so that a few fit."""
        return self._max_bytes // 8

    @property
    def unread(self) -> int:
        """Frames waiting for the reader."""
        return len(self._entries)

    @property
    def lost(self) -> int:
        """Frames given up since the ring was made."""
        return self._lost

    def put(self, event: Event | StreamError) -> None:
        """Add an event; a frame's pixels are copied. For the writer thread; never waits for the reader.

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
                        expected="the reader of the stream to be alive",
                        todo="stop the sender that keeps restarting",
                    )
                self._series += 1
            _append(self._entries[-1].after if self._entries else self._ahead, event)
            self._filled.notify()

    def fail(self, error: BaseException) -> None:
        """Let `get` raise this error for ever once everything before it was read. For a writer that dies."""
        with self._lock:
            self._failure = error
            self._filled.notify()

    def get(self, timeout_s: float) -> Event | None:
        """Take the oldest event, or None when none came in time. For the reader thread.

        The pixels (C, Y, X) of a frame are a read-only view of its slot and stay as they are until the next call.
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
                self._give_up_oldest()
            # Never empty: of capacity + 1 slots of this size, the reader holds at most one.
            slot = self._free.pop()
        pixels: NDArray[Any] = slot.view(frame.pixels.dtype).reshape(frame.pixels.shape)
        np.copyto(pixels, frame.pixels)
        pixels.flags.writeable = False
        with self._lock:
            self._entries.append(_Entry(replace(frame, pixels=pixels), slot))
            self._filled.notify()

    def _resize(self, slot_bytes: int) -> None:
        """Allocate slots for a new series, unless those at hand fit."""
        if slot_bytes == self._slot_bytes:
            return
        capacity = max(1, min(self._frames, self._max_bytes // slot_bytes - 1))
        free = [np.empty(slot_bytes, np.uint8) for _ in range(capacity + 1)]
        with self._lock:
            self._slot_bytes, self._capacity, self._free = slot_bytes, capacity, free

    def _recycle(self, slot: Slot) -> None:
        # Slots of earlier series, of other size or too many, are let go as they are read or given up.
        if slot.nbytes == self._slot_bytes and len(self._free) <= self._capacity:
            self._free.append(slot)

    def _release(self) -> None:
        if self._held is not None:
            self._recycle(self._held)
            self._held = None

    def _give_up_oldest(self) -> None:
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
