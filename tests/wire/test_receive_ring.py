from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deepbid_rt.frame import Event, Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.wire.receive_ring import MAX_GAPS, MAX_SERIES, ReceiveRing


def a_stream(side: int = 4, **more: Any) -> StreamInfo:
    return StreamInfo((1, side, side), np.dtype("<i2"), 30.0, **more)


def a_frame(index: int, side: int = 4) -> Frame:
    return Frame(index, np.full((1, side, side), index, "<i2"))


def drain(ring: ReceiveRing) -> list[Event]:
    events = []
    while (event := ring.get(0)) is not None:
        events.append(event)
    return events


def one_entry_per_frame(events: list[Event]) -> list[Any]:
    """The events with one entry per missing frame, so that merged and unmerged gaps compare equal."""
    out: list[Any] = []
    for event in events:
        if isinstance(event, Gap):
            out += [("gap", index, event.cause) for index in range(event.first, event.first + event.count)]
        elif isinstance(event, Frame):
            out.append(("frame", event.index, event.pixels.tolist()))
        else:
            out.append(event)
    return out


class RingAgainstAList(RuleBasedStateMachine):
    """The ring against a list in which the oldest frame becomes a gap when there are too many."""

    @initialize(capacity=st.integers(1, 5), side=st.integers(1, 4))
    def begin(self, capacity: int, side: int) -> None:
        self.capacity = capacity
        self.ring = ReceiveRing(capacity)
        self.model: deque[Any] = deque()
        self.held: tuple[Frame, int] | None = None
        self.index = 0
        self.put_frames = self.got_frames = 0
        self.new_series(side)

    @rule(side=st.integers(1, 4))
    def new_series(self, side: int) -> None:
        self.side = side
        info = a_stream(side)
        self.ring.put(info)
        self.model.append(info)

    @rule(count=st.integers(1, 4))
    def put_frames_(self, count: int) -> None:
        for _ in range(count):
            frame = a_frame(self.index, self.side)
            self.ring.put(frame)
            frames = [at for at, item in enumerate(self.model) if isinstance(item, tuple) and item[0] == "frame"]
            if len(frames) == self.capacity:
                self.model[frames[0]] = ("gap", self.model[frames[0]][1], "ring")
            self.model.append(("frame", self.index, frame.pixels.tolist()))
            self.index += 1
            self.put_frames += 1

    @rule(count=st.integers(1, 3), cause=st.sampled_from(["source", "transport"]))
    def put_gap(self, count: int, cause: Any) -> None:
        self.ring.put(Gap(self.index, count, cause))
        self.model.extend(("gap", index, cause) for index in range(self.index, self.index + count))
        self.index += count

    @rule(reason=st.sampled_from(["done", "replaced"]))
    def put_end(self, reason: str) -> None:
        end = StreamEnd(reason)
        self.ring.put(end)
        self.model.append(end)

    @precondition(lambda self: not self.model)
    @rule()
    def get_nothing(self) -> None:
        assert self.ring.get(0) is None
        self.held = None

    @precondition(lambda self: self.model)
    @rule()
    def get(self) -> None:
        event = self.ring.get(0)
        assert event is not None
        for item in one_entry_per_frame([event]):
            assert self.model.popleft() == item
        self.held = (event, event.index) if isinstance(event, Frame) else None
        self.got_frames += isinstance(event, Frame)

    @invariant()
    def the_frame_that_the_reader_holds_is_unchanged(self) -> None:
        if getattr(self, "held", None):
            frame, index = self.held
            assert (frame.pixels == index).all()
            assert not frame.pixels.flags.writeable

    @invariant()
    def every_frame_is_read_unread_or_lost(self) -> None:
        if hasattr(self, "ring"):
            assert self.put_frames == self.got_frames + self.ring.unread + self.ring.lost
            assert self.ring.unread <= self.capacity


TestRingAgainstAList = RingAgainstAList.TestCase
TestRingAgainstAList.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_oldest_frames_are_dropped_and_reported_as_one_gap() -> None:
    ring, info = ReceiveRing(3), a_stream()
    ring.put(info)
    for index in range(10):
        ring.put(a_frame(index))
    events = drain(ring)
    assert events[:2] == [info, Gap(0, 7, "ring")]
    assert [(event.index, int(event.pixels[0, 0, 0])) for event in events[2:]] == [(7, 7), (8, 8), (9, 9)]
    assert ring.lost == 7


def test_gaps_of_different_causes_keep_their_order_and_cause() -> None:
    ring = ReceiveRing(1)
    ring.put(a_stream())
    ring.put(a_frame(0))
    ring.put(Gap(1, 2, "transport"))
    ring.put(a_frame(3))
    ring.put(a_frame(4))
    assert [event for event in drain(ring) if isinstance(event, Gap)] == [
        Gap(0, 1, "ring"),
        Gap(1, 2, "transport"),
        Gap(3, 1, "ring"),
    ]


def test_a_reader_that_never_reads_costs_no_memory() -> None:
    ring = ReceiveRing(2)
    ring.put(a_stream())
    for index in range(0, 20_000, 2):
        ring.put(a_frame(index))
        ring.put(Gap(index + 1, 1, "source"))
    events = drain(ring)
    assert len(events) < 2 * MAX_GAPS
    missing = [event.count for event in events if isinstance(event, Gap)]
    assert sum(missing) + sum(isinstance(event, Frame) for event in events) == 20_000


def test_of_too_many_unread_series_those_without_frames_are_left_out() -> None:
    ring, kept = ReceiveRing(2), a_stream()
    ring.put(kept)
    for index in range(3):
        ring.put(a_frame(index))
    ring.put(StreamEnd("done"))
    for _ in range(5 * MAX_SERIES):
        ring.put(a_stream())
        ring.put(Gap(0, 1, "source"))
        ring.put(StreamEnd("done"))
    last = a_stream()
    ring.put(last)
    events = drain(ring)
    assert len(events) <= 3 * MAX_SERIES + 6
    assert [event.index if isinstance(event, Frame) else event for event in events[:5]] == [
        *(kept, Gap(0, 1, "ring"), 1, 2),
        StreamEnd("done"),
    ]
    assert events[-1] == last
    assert [isinstance(event, StreamInfo) for event in events].count(True) == [
        isinstance(event, StreamEnd) for event in events
    ].count(True) + 1


def test_memory_is_allocated_as_far_as_the_reader_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    allocated = []
    empty = np.empty
    monkeypatch.setattr("deepbid_rt.wire.receive_ring.np.empty", lambda *a: allocated.append(a[0]) or empty(*a))
    ring, info = ReceiveRing(256, max_bytes=2**30), a_stream(8)
    ring.put(StreamInfo((1, 8192, 8192), np.dtype("<i2"), 30.0))
    ring.put(info)
    assert allocated == []
    for index in range(50):
        ring.put(a_frame(index, 8))
        drain(ring)
    assert sum(allocated) <= 2 * info.frame_bytes


def test_without_memory_the_ring_keeps_fewer_frames_and_counts_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    left, empty = [3], np.empty

    def scarce(*args: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise MemoryError
        return empty(*args)

    monkeypatch.setattr("deepbid_rt.wire.receive_ring.np.empty", scarce)
    ring = ReceiveRing(8)
    ring.put(a_stream())
    for index in range(6):
        ring.put(a_frame(index))
    assert [event.index for event in drain(ring) if isinstance(event, Frame)] == [3, 4, 5]
    ring.put(a_stream(7))
    for index in range(4):
        ring.put(a_frame(index, 7))
    assert drain(ring)[1:] == [Gap(0, 4, "ring")]
    assert ring.lost == 7


def test_the_error_of_the_writer_is_raised_once_everything_was_read() -> None:
    ring = ReceiveRing(4)
    ring.put(StreamEnd("done"))
    ring.fail(ZeroDivisionError("gone"))
    assert ring.get(0) == StreamEnd("done")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="gone"):
            ring.get(0)


def test_large_frames_get_fewer_slots() -> None:
    info = a_stream(64)
    ring = ReceiveRing(256, max_bytes=10 * info.frame_bytes)
    ring.put(info)
    for index in range(100):
        ring.put(a_frame(index, 64))
    assert ring.unread == 9
    assert ring.max_frame_bytes == 10 * info.frame_bytes // 8


def test_the_writer_may_reuse_its_array_at_once() -> None:
    ring, frame = ReceiveRing(3), a_frame(7)
    ring.put(a_stream())
    ring.put(frame)
    frame.pixels[:] = 0
    events = drain(ring)
    assert isinstance(events[1], Frame)
    assert (events[1].pixels == 7).all()


def test_slots_are_reused() -> None:
    ring = ReceiveRing(3)
    ring.put(a_stream())
    kept = []  # so that no address is free to be allocated again
    for index in range(50):
        ring.put(a_frame(index))
        event = ring.get(0)
        if isinstance(event, Frame):
            kept.append(event.pixels)
    assert 1 <= len({pixels.__array_interface__["data"][0] for pixels in kept}) <= 4


def test_with_two_threads_every_frame_is_intact_or_part_of_a_gap() -> None:
    ring, total = ReceiveRing(4), 3000
    ring.put(a_stream(32))

    def write() -> None:
        for index in range(total):
            ring.put(a_frame(index, 32))
        ring.put(StreamEnd("done"))

    writer = threading.Thread(target=write)
    writer.start()
    numbers: list[int] = []
    while not isinstance(event := ring.get(10), StreamEnd):
        if isinstance(event, Frame):
            assert (event.pixels == event.index).all()
            numbers.append(event.index)
        elif isinstance(event, Gap):
            numbers += range(event.first, event.first + event.count)
        else:
            assert isinstance(event, StreamInfo)
    writer.join()
    assert numbers == list(range(total))


def test_a_waiting_reader_is_woken() -> None:
    ring, got = ReceiveRing(2), []
    reader = threading.Thread(target=lambda: got.append(ring.get(30)))
    reader.start()
    ring.put(StreamEnd("done"))
    reader.join(10)
    assert got == [StreamEnd("done")]
