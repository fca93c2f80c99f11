import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deepbid_rt.frame import Frame, Gap, StreamEnd
from deepbid_rt.live.event_queue import MAX_NEIGHBOURING_GAPS, MAX_WAITING_SERIES, EventQueue, QueueClosed
from tests.fakes import stream

PIXELS = np.zeros((1, 1, 1), np.int16)


def frame(index):
    return Frame(index, PIXELS)


def drain(queue):
    events = []
    while True:
        try:
            events.append(queue.get(0))
        except QueueClosed:
            return events


def flattened(events):
    """Events with frames as their numbers and each gap as one entry per missing frame."""
    out = []
    for event in events:
        if isinstance(event, Frame):
            out.append(event.index)
        elif isinstance(event, Gap):
            out += [(event.cause, n) for n in range(event.first, event.first + event.count)]
        else:
            out.append(event)
    return out


class NewestMachine(RuleBasedStateMachine):
    """A queue that drops the oldest frames, against a list in which dropped frames are marked in place."""

    @initialize(capacity=st.integers(1, 5), drop_count=st.integers(1, 6))
    def begin(self, capacity, drop_count):
        self.queue = EventQueue(capacity, cause="engine", drop_count=drop_count)
        self.capacity, self.drop_count = capacity, drop_count
        self.model = []  # frame numbers, ("engine" | "source", number), or the events themselves
        self.number = self.lost = 0
        self.closed = False

    def inside(self):
        return [entry for entry in self.model if isinstance(entry, int)]

    @rule()
    def put_frame(self):
        self.queue.put(frame(self.number))
        if self.closed:
            self.lost += 1
        else:
            if len(self.inside()) >= self.capacity:
                for n in self.inside()[: self.drop_count]:
                    self.model[self.model.index(n)] = ("engine", n)
                    self.lost += 1
            self.model.append(self.number)
        self.number += 1

    @precondition(lambda self: sum(isinstance(e, tuple) for e in self.model) < 12)
    @rule(count=st.integers(1, 3))
    def put_gap(self, count):
        self.queue.put(Gap(self.number, count, "source"))
        if not self.closed:
            self.model += [("source", n) for n in range(self.number, self.number + count)]
        self.number += count

    @precondition(lambda self: sum(isinstance(e, tuple) for e in self.model) < 12)
    @rule()
    def jump(self):
        """Frame numbers may jump: a source may not report its losses."""
        self.number += 3

    @rule()
    def put_series(self):
        if sum(not isinstance(e, int | tuple) for e in self.model) < 3:
            info = stream()
            self.queue.put(info)
            if not self.closed:
                self.model.append(info)

    @rule()
    def get(self):
        if not self.model:
            if self.closed:
                with pytest.raises(QueueClosed):
                    self.queue.get(0)
            else:
                assert self.queue.get(0) is None
            return
        entries = flattened([self.queue.get(0)])
        assert entries == self.model[: len(entries)]
        del self.model[: len(entries)]

    @precondition(lambda self: len(self.model) > 6)
    @rule()
    def close(self):
        self.queue.close()
        self.closed = True

    @rule(now=st.integers(0, 9))
    def discard(self, now):
        if now:
            return
        assert self.queue.discard() == len(self.inside())
        self.lost += len(self.inside())
        self.model, self.closed = [], True

    @invariant()
    def counts(self):
        if hasattr(self, "queue"):
            assert self.queue.frames == len(self.inside()) <= self.capacity
            assert self.queue.lost == self.lost

    def teardown(self):
        if hasattr(self, "queue"):
            self.queue.close()
            assert flattened(drain(self.queue)) == self.model


TestNewest = NewestMachine.TestCase
TestNewest.settings = settings(max_examples=120, stateful_step_count=50)


def test_neighbouring_losses_become_one_gap():
    queue = EventQueue(2, cause="engine")
    for n in range(6):
        queue.put(frame(n))
    assert queue.get(0) == Gap(0, 4, "engine")
    assert [queue.get(0).index, queue.get(0).index] == [4, 5]


def test_losses_of_different_causes_or_series_stay_separate():
    queue = EventQueue(2)
    for event in (Gap(0, 2, "source"), frame(2), StreamEnd("done"), stream(), frame(3), frame(4), frame(5)):
        queue.put(event)
    queue.close()
    events = drain(queue)
    assert events[:3] == [Gap(0, 2, "source"), Gap(2, 1, "engine"), StreamEnd("done")]
    assert events[4] == Gap(3, 1, "engine")
    assert flattened(events[5:]) == [4, 5]


def test_several_frames_are_dropped_at_once_when_asked():
    queue = EventQueue(8, drop_count=4)
    for n in range(9):
        queue.put(frame(n))
    queue.close()
    assert flattened(drain(queue)) == [*(("engine", n) for n in range(4)), 4, 5, 6, 7, 8]
    assert queue.lost == 4


def test_a_queue_that_was_read_accepts_frames_again():
    queue = EventQueue(1)
    for n in range(5):
        queue.put(frame(n))
        assert queue.get(0).index == n
    assert queue.lost == 0


def test_a_source_that_sends_only_gaps_fills_nothing_and_no_missing_frame_is_forgotten():
    queue = EventQueue(4)
    for n in range(1000):
        queue.put(Gap(2 * n, 1, "source"))
    queue.close()
    events = drain(queue)
    assert len(events) <= MAX_NEIGHBOURING_GAPS
    assert sum(gap.count for gap in events) == 1000


def test_series_that_leave_no_frame_are_left_out_when_many_wait():
    queue = EventQueue(2)
    first = stream()
    queue.put(first)
    queue.put(frame(0))
    for _ in range(500):
        queue.put(StreamEnd("replaced"))
        queue.put(stream())
    queue.put(frame(1))
    queue.close()
    events = drain(queue)
    assert len(events) <= 2 * MAX_WAITING_SERIES + 4
    assert events[0] is first
    assert [event.index for event in events if isinstance(event, Frame)] == [0, 1]


def test_many_short_series_keep_their_newest_frames():
    queue = EventQueue(4)
    infos = [stream() for _ in range(200)]
    for n, info in enumerate(infos):
        queue.put(info)
        queue.put(frame(n))
        queue.put(StreamEnd("replaced"))
    queue.close()
    events = drain(queue)
    assert [event.index for event in events if isinstance(event, Frame)] == [196, 197, 198, 199]
    for n in range(196, 200):
        assert events[next(i for i, e in enumerate(events) if isinstance(e, Frame) and e.index == n) - 1] is infos[n]
    assert len(events) < 3 * MAX_WAITING_SERIES + 16
    assert queue.lost == 196


def test_large_frames_wait_in_smaller_numbers():
    queue = EventQueue(100, max_bytes=3 * PIXELS.nbytes)
    for n in range(10):
        queue.put(frame(n))
    assert queue.frames == 3
    tiny = EventQueue(100, max_bytes=1)
    for n in range(3):
        tiny.put(frame(n))
    assert (tiny.frames, tiny.lost) == (1, 2)


def test_the_capacity_can_be_given_in_seconds_of_the_stream():
    queue = EventQueue(2, capacity_s=0.2)
    queue.put(stream())  # 30 frames per second
    for n in range(10):
        queue.put(frame(n))
    assert queue.frames == 6


def test_a_closed_queue_counts_frames_and_ignores_other_events():
    queue = EventQueue(4)
    queue.put(frame(0))
    queue.close()
    queue.put(frame(1))
    queue.put(StreamEnd("done"))
    assert queue.lost == 1
    assert flattened(drain(queue)) == [0]


def test_a_waiting_reader_is_woken_by_a_frame_and_by_closing():
    queue = EventQueue(4)
    got = []
    waiting = threading.Event()

    def read():
        waiting.set()
        got.append(queue.get(60).index)
        waiting.set()
        try:
            queue.get(None)
        except QueueClosed:
            got.append("closed")

    reader = threading.Thread(target=read)
    reader.start()
    assert waiting.wait(10)
    waiting.clear()
    queue.put(frame(7))
    woken = waiting.wait(10)
    queue.close()
    reader.join(10)
    assert woken
    assert got == [7, "closed"]


def test_waiting_for_an_event_ends_after_the_timeout():
    assert EventQueue(1).get(0.01) is None


def test_two_threads_lose_and_reorder_nothing():
    queue = EventQueue(10_000)
    got = []

    def read():
        while True:
            try:
                got.append(queue.get().index)
            except QueueClosed:
                return

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(5000):
        queue.put(frame(n))
    queue.close()
    reader.join(10)
    assert got == list(range(5000))


def test_there_is_room_while_at_most_half_of_the_queue_is_filled():
    queue = EventQueue(4)
    for number in range(3):
        assert queue.wait_for_room(0.0)
        queue.put(frame(number))
    assert not queue.wait_for_room(0.0)
    queue.get()
    assert queue.wait_for_room(0.0)


@pytest.mark.parametrize("limits", [{"capacity": 1}, {"capacity": 9, "max_bytes": 3}], ids=["frames", "bytes"])
def test_a_small_queue_has_room_when_it_is_empty(limits):
    queue = EventQueue(**limits)
    assert queue.wait_for_room(0.0)
    queue.put(frame(0))
    assert not queue.wait_for_room(0.0)
    queue.get()
    assert queue.wait_for_room(0.0)


@pytest.mark.parametrize("end", ["get", "close", "discard"])
def test_a_writer_that_waits_for_room_is_woken(end):
    queue = EventQueue(1)
    queue.put(frame(0))
    waits, found = threading.Event(), []

    def wait():
        waits.set()
        found.append(queue.wait_for_room(30.0))

    writer = threading.Thread(target=wait)
    writer.start()
    waits.wait()
    getattr(queue, end)()
    writer.join(20.0)
    assert found == [True]
