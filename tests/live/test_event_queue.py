import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deepbid_rt.errors import OverrunError
from deepbid_rt.frame import Frame, Gap, StreamEnd
from deepbid_rt.live.event_queue import EventQueue, Overflow, QueueClosed
from tests.fakes import stream

PIXELS = np.zeros((1, 1, 1), np.int16)


def frame(index):
    return Frame(index, PIXELS)


def drain(box):
    events = []
    while True:
        try:
            events.append(box.get(0))
        except QueueClosed:
            return events


def told(events):
    """Events with frames as their numbers, and gaps spread out into the frames they stand for."""
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
    """Drop-oldest against a plain list in which given-up frames are marked in place."""

    @initialize(capacity=st.integers(1, 5), give_up=st.integers(1, 6))
    def begin(self, capacity, give_up):
        self.box = EventQueue(capacity, Overflow.NEWEST, cause="engine", give_up=give_up)
        self.capacity, self.give_up = capacity, give_up
        self.model = []  # frame numbers, ("engine" | "source", number), or the events themselves
        self.number = self.lost = 0
        self.closed = False

    def inside(self):
        return [entry for entry in self.model if isinstance(entry, int)]

    @rule()
    def put_frame(self):
        self.box.put(frame(self.number))
        if self.closed:
            self.lost += 1
        else:
            if len(self.inside()) >= self.capacity:
                for n in self.inside()[: self.give_up]:
                    self.model[self.model.index(n)] = ("engine", n)
                    self.lost += 1
            self.model.append(self.number)
        self.number += 1

    @precondition(lambda self: sum(isinstance(e, tuple) for e in self.model) < 12)
    @rule(count=st.integers(1, 3))
    def put_gap(self, count):
        self.box.put(Gap(self.number, count, "source"))
        if not self.closed:
            self.model += [("source", n) for n in range(self.number, self.number + count)]
        self.number += count

    @precondition(lambda self: sum(isinstance(e, tuple) for e in self.model) < 12)
    @rule()
    def jump(self):
        """Frame numbers need not follow each other: planes, or a source that says nothing of its losses."""
        self.number += 3

    @rule()
    def put_series(self):
        if sum(not isinstance(e, int | tuple) for e in self.model) < 3:
            info = stream()
            self.box.put(info)
            if not self.closed:
                self.model.append(info)

    @rule()
    def get(self):
        if not self.model:
            if self.closed:
                with pytest.raises(QueueClosed):
                    self.box.get(0)
            else:
                assert self.box.get(0) is None
            return
        entries = told([self.box.get(0)])
        assert entries == self.model[: len(entries)]
        del self.model[: len(entries)]

    @precondition(lambda self: len(self.model) > 6)
    @rule()
    def close(self):
        self.box.close()
        self.closed = True

    @rule(now=st.integers(0, 9))
    def abandon(self, now):
        if now:
            return
        assert self.box.abandon() == len(self.inside())
        self.lost += len(self.inside())
        self.model, self.closed = [], True

    @invariant()
    def counts(self):
        if hasattr(self, "box"):
            assert self.box.frames == len(self.inside()) <= self.capacity
            assert self.box.lost == self.lost

    def teardown(self):
        if hasattr(self, "box"):
            self.box.close()
            assert told(drain(self.box)) == self.model


TestNewest = NewestMachine.TestCase
TestNewest.settings = settings(max_examples=120, stateful_step_count=50)


def test_neighbouring_losses_are_one_gap():
    box = EventQueue(2, Overflow.NEWEST, cause="engine")
    for n in range(6):
        box.put(frame(n))
    assert box.get(0) == Gap(0, 4, "engine")
    assert [box.get(0).index, box.get(0).index] == [4, 5]


def test_losses_of_different_causes_or_series_stay_apart():
    box = EventQueue(2, Overflow.NEWEST)
    for event in (Gap(0, 2, "source"), frame(2), StreamEnd("done"), stream(), frame(3), frame(4), frame(5)):
        box.put(event)
    box.close()
    events = drain(box)
    assert events[:3] == [Gap(0, 2, "source"), Gap(2, 1, "engine"), StreamEnd("done")]
    assert events[4] == Gap(3, 1, "engine")
    assert told(events[5:]) == [4, 5]


def test_many_are_given_up_at_once_when_asked():
    box = EventQueue(8, Overflow.NEWEST, give_up=4)
    for n in range(9):
        box.put(frame(n))
    box.close()
    assert told(drain(box)) == [*(("engine", n) for n in range(4)), 4, 5, 6, 7, 8]
    assert box.lost == 4


def test_failing_names_the_frame_and_keeps_what_is_inside():
    box = EventQueue(2, Overflow.FAIL, owner="the recorder")
    box.put(frame(0))
    box.put(frame(1))
    with pytest.raises(OverrunError) as failed:
        box.put(frame(2))
    assert str(failed.value) == (
        "the recorder was 2 frames behind when frame 2 came; expected the recorder to keep up with the stream; "
        "use a faster disk, a smaller frame or a lower rate; every frame before this one is kept."
    )
    assert (box.lost, box.frames) == (1, 2)
    box.put(StreamEnd("error"))
    box.close()
    assert told(drain(box)) == [0, 1, StreamEnd("error")]


def test_room_made_by_the_reader_is_used_again():
    box = EventQueue(1, Overflow.FAIL)
    for n in range(5):
        box.put(frame(n))
        assert box.get(0).index == n
    assert box.lost == 0


def test_a_source_that_only_interrupts_is_an_error_not_a_leak():
    box = EventQueue(4, Overflow.NEWEST, owner="the engine")

    def interrupt():
        for n in range(100):
            box.put(Gap(2 * n, 1, "source"))

    with pytest.raises(OverrunError) as failed:
        interrupt()
    assert str(failed.value) == (
        "the engine has more than 20 series and gaps waiting; expected a source that sends more frames than "
        "interruptions; check the source: it starts series or loses frames all the time."
    )


def test_a_closed_mailbox_counts_frames_and_ignores_the_rest():
    box = EventQueue(4, Overflow.FAIL)
    box.put(frame(0))
    box.close()
    box.put(frame(1))
    box.put(StreamEnd("done"))
    assert box.lost == 1
    assert told(drain(box)) == [0]


def test_a_waiting_reader_is_woken_by_a_frame_and_by_the_end():
    box = EventQueue(4, Overflow.FAIL)
    got = []
    waiting = threading.Event()

    def read():
        waiting.set()
        got.append(box.get(60).index)
        waiting.set()
        try:
            box.get(None)
        except QueueClosed:
            got.append("closed")

    reader = threading.Thread(target=read)
    reader.start()
    assert waiting.wait(10)
    waiting.clear()
    box.put(frame(7))
    woken = waiting.wait(10)
    box.close()
    reader.join(10)
    assert woken
    assert got == [7, "closed"]


def test_an_empty_wait_ends_in_time():
    assert EventQueue(1, Overflow.FAIL).get(0.01) is None


def test_two_threads_lose_and_swap_nothing():
    box = EventQueue(10_000, Overflow.FAIL)
    got = []

    def read():
        while True:
            try:
                got.append(box.get().index)
            except QueueClosed:
                return

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(5000):
        box.put(frame(n))
    box.close()
    reader.join(10)
    assert got == list(range(5000))
