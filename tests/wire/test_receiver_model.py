"""Receiver and ring against a trivial model, with a network and senders that do everything wrong."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any

import msgpack
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deepbid_rt.frame import Event, Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.wire.codec import Encoder, Part
from deepbid_rt.wire.receive_ring import ReceiveRing
from deepbid_rt.wire.receiver import Receiver
from deepbid_rt.wire.reorder_window import WINDOW

RATE_HZ = 30.0


class Sender:
    """A sender whose every frame carries a number of its own in its pixels, whatever its frame number is."""

    def __init__(self, info: StreamInfo, clock: Any) -> None:
        self.info = info
        self.clock = clock
        self.begin_again()

    def begin_again(self) -> None:
        self.encoder = Encoder(self.info, clock_ns=self.clock)
        self.fn = 0


class Machine(RuleBasedStateMachine):
    """Messages go from senders into a network, and from there to the receiver, some never and some more than once.

    The model is the list of frames that were handed to the receiver. It must account for each of them. The reader must
    get each frame at most once per series, in order, with gaps for the numbers between, and with the pixels that were
    sent under this number.
    """

    @initialize(capacity=st.integers(1, 12))
    def begin(self, capacity: int) -> None:
        self.ring = ReceiveRing(capacity, max_bytes=2**20)
        self.receiver = Receiver(self.ring)
        self.now_s = 1000.0
        self.stamp = 0
        self.sent: dict[int, int] = {}  # frame number by stamp
        self.network: list[list[Part]] = []
        self.pushed = 0  # frame messages that decode
        self.got: Counter[int] = Counter()  # frames that the reader got, by stamp
        self.next: int | None = None
        self.in_series = False
        self.shape = (1, 2, 2)
        base = StreamInfo((1, 2, 2), np.dtype("<f4"), RATE_HZ, series="series-a")
        self.senders = [
            Sender(base, self.clock_ns),
            Sender(StreamInfo(base.shape, base.dtype, RATE_HZ, series="series-b"), self.clock_ns),
            Sender(StreamInfo(base.shape, base.dtype, RATE_HZ, series="series-c", source="scope2"), self.clock_ns),
        ]

    def clock_ns(self) -> int:
        self.ticks = getattr(self, "ticks", 0) + 1
        return int(self.now_s * 1e9) + self.ticks

    # Senders

    who = st.sampled_from([0, 0, 0, 0, 1, 2])

    @rule(who=who)
    def start(self, who: int) -> None:
        self.senders[who].begin_again()
        self.network.append(self.senders[who].encoder.start())

    @rule(who=who, count=st.integers(1, 12))
    def frames(self, who: int, count: int) -> None:
        sender = self.senders[who]
        for _ in range(count):
            self.network.append(sender.encoder.frame(self.a_frame(sender, sender.fn)))
            sender.fn += 1
            self.now_s += 0.25 / RATE_HZ

    @rule(who=who, fn=st.sampled_from([0, 3, 1000, 10**6, 2**62]))
    def a_wild_number(self, who: int, fn: int) -> None:
        sender = self.senders[who]
        self.network.append(sender.encoder.frame(self.a_frame(sender, fn)))

    @rule(who=who, count=st.integers(1, 300))
    def lose_at_the_source(self, who: int, count: int) -> None:
        self.senders[who].fn += count

    @rule(who=who)
    def a_wrong_shape(self, who: int) -> None:
        sender = self.senders[who]
        topic, header, payload = sender.encoder.frame(self.a_frame(sender, sender.fn))
        sender.fn += 1
        self.network.append([topic, msgpack.packb({**msgpack.unpackb(header), "shape": [1, 1, 4]}), payload])

    @rule(who=who, what=st.sampled_from(["beat", "note", "end"]))
    def another_message(self, who: int, what: str) -> None:
        encoder = self.senders[who].encoder
        make = {"beat": encoder.beat, "note": lambda: encoder.note("x"), "end": lambda: encoder.end(StreamEnd("done"))}
        self.network.append(make[what]())

    def a_frame(self, sender: Sender, fn: int) -> Frame:
        self.stamp += 1
        self.sent[self.stamp] = fn
        return Frame(fn, np.full(sender.info.shape, self.stamp, sender.info.dtype))

    # Network

    @precondition(lambda self: self.network)
    @rule()
    def deliver_all(self) -> None:
        while self.network:
            self.push(self.network.pop(0))

    @precondition(lambda self: self.network)
    @rule(at=st.integers(0, 20), copies=st.integers(1, 3))
    def deliver_one(self, at: int, copies: int) -> None:
        parts = self.network.pop(at % len(self.network))
        for _ in range(copies):
            self.push(parts)

    @precondition(lambda self: self.network)
    @rule(at=st.integers(0, 20))
    def lose_one(self, at: int) -> None:
        del self.network[at % len(self.network)]

    @precondition(lambda self: self.network)
    @rule(at=st.integers(0, 20))
    def deliver_and_keep(self, at: int) -> None:
        self.push(self.network[at % len(self.network)])

    @rule()
    def rubbish(self) -> None:
        self.receiver.push([b"raw/x/frame/", struct.pack("<I", self.stamp), b""], now_s=self.now_s, now_ns=1)

    def push(self, parts: list[Part]) -> None:
        self.pushed += b"/frame/" in bytes(parts[0])
        self.receiver.push(parts, now_s=self.now_s, now_ns=1)

    @rule(wait_s=st.sampled_from([0.001, 0.03, 0.06, 0.2, 3.1]))
    def wait(self, wait_s: float) -> None:
        self.now_s += wait_s
        self.receiver.tick(self.now_s)

    # Reader

    @rule(count=st.integers(1, 30))
    def read(self, count: int) -> None:
        for _ in range(count):
            event = self.ring.get(0)
            if event is None:
                return
            self.check(event)

    def check(self, event: Event) -> None:
        match event:
            case StreamInfo():
                assert not self.in_series
                self.in_series, self.next = True, None
            case StreamEnd():
                assert self.in_series
                self.in_series = False
            case Gap():
                assert self.in_series
                assert self.next in (None, event.first)
                assert 0 < event.count <= 10**6
                self.next = event.first + event.count
            case Frame():
                assert self.in_series
                assert self.next in (None, event.index)
                self.next = event.index + 1
                assert event.pixels.shape == self.shape
                stamps = set(event.pixels.ravel().tolist())
                assert len(stamps) == 1
                stamp = int(stamps.pop())
                assert self.sent[stamp] == event.index
                self.got[stamp] += 1

    def teardown(self) -> None:
        if not hasattr(self, "ring"):
            return
        self.receiver.close(self.now_s)
        while (event := self.ring.get(0)) is not None:
            self.check(event)
        status = self.receiver.status(self.now_s)
        assert (status.held, status.unexplained, status.unread) == (0, 0, 0)
        assert sum(self.got.values()) + status.lost["ring"] == status.received

    @invariant()
    def every_frame_that_arrived_is_accounted_for(self) -> None:
        if not hasattr(self, "ring"):
            return
        status = self.receiver.status(self.now_s)
        assert status.arrived == self.pushed
        assert status.unexplained == 0
        assert status.refused["internal"] == 0
        assert "internal" not in status.bad
        assert sum(self.got.values()) + status.unread + status.lost["ring"] == status.received
        assert min(status.lost.values()) >= 0
        assert 0 <= status.held <= WINDOW + 2 + 256


TestReceiverModel = Machine.TestCase
TestReceiverModel.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
