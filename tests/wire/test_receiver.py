from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, get_args

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.frame import Event, Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.wire.codec import Encoder, Part
from deepbid_rt.wire.header import digest
from deepbid_rt.wire.receive_ring import ReceiveRing
from deepbid_rt.wire.receiver import Receiver
from deepbid_rt.wire.source_status import RefusalCause

NOTHING_REFUSED = dict.fromkeys(get_args(RefusalCause), 0)


class ReceiverSetup:
    """A receiver, its ring, and a clock that a test sets."""

    def __init__(self, **options: Any) -> None:
        self.ring = ReceiveRing(64, max_bytes=options.pop("max_bytes", 2**20))
        self.receiver = Receiver(self.ring, **options)
        self.now_s = 1000.0

    def push(self, *messages: list[Part]) -> list[Event]:
        for parts in messages:
            self.receiver.push(parts, now_s=self.now_s, now_ns=77)
        return self.events()

    def settle(self, *messages: list[Part], after_s: float = 0.2) -> list[Event]:
        """Push, and let pass the time for which messages are held."""
        for parts in messages:
            self.receiver.push(parts, now_s=self.now_s, now_ns=77)
        self.now_s += after_s
        self.receiver.tick(self.now_s)
        return self.events()

    def events(self) -> list[Event]:
        assert self.status.unexplained == 0
        events = []
        while (event := self.ring.get(0)) is not None:
            events.append(event)
        return events

    @property
    def status(self) -> Any:
        return self.receiver.status(self.now_s)


def a_stream(**more: Any) -> StreamInfo:
    return StreamInfo(**{"shape": (1, 3, 4), "dtype": np.dtype("<i2"), "rate_hz": 30.0, **more})


def a_frame(index: int, **more: Any) -> Frame:
    return Frame(index, np.full((1, 3, 4), index % 1000, "<i2"), **more)


def names(events: list[Event]) -> list[Any]:
    """The events, with frames as their numbers."""
    return [event.index if isinstance(event, Frame) else event for event in events]


def test_frames_are_passed_on_with_their_time_of_arrival() -> None:
    info, setup = a_stream(), ReceiverSetup()
    sender = Encoder(info, clock_ns=lambda: 55)
    setup.push(sender.start())
    setup.receiver.push(sender.frame(a_frame(4)), now_s=0, now_ns=77)
    frame = setup.ring.get(0)
    assert isinstance(frame, Frame)
    assert (frame.index, frame.t_ns, frame.arrived_ns) == (4, 55, 77)
    assert (frame.pixels == 4).all()


def test_the_first_frame_may_have_any_number() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    assert names(setup.push(sender.start(), sender.frame(a_frame(41)))) == [sender.info, 41]


def test_a_jump_of_seq_is_a_loss_on_the_wire() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    for index in (1, 2):
        sender.drop(a_frame(index))
    assert names(setup.settle(sender.frame(a_frame(3)))) == [Gap(1, 2, "transport"), 3]
    assert setup.status.lost == {"source": 0, "transport": 2, "ring": 0}


def test_a_jump_of_fn_alone_is_a_loss_at_the_source() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    events = setup.push(sender.start(), sender.frame(a_frame(0)), sender.frame(a_frame(5)))
    assert names(events) == [sender.info, 0, Gap(1, 4, "source"), 5]
    assert setup.status.lost == {"source": 4, "transport": 0, "ring": 0}


def test_losses_on_the_wire_and_at_the_source_are_distinguished() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    sender.drop(a_frame(1))
    assert names(setup.settle(sender.frame(a_frame(6)))) == [Gap(1, 1, "transport"), Gap(2, 4, "source"), 6]


def test_a_lost_note_is_not_a_lost_frame() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    sender.note("never arrives")
    assert names(setup.push(sender.frame(a_frame(1)))) == [1]


def test_frames_lost_right_after_the_start_are_found() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start())
    sender.drop(a_frame(10))
    assert names(setup.settle(sender.frame(a_frame(11)))) == [Gap(10, 1, "transport"), 11]


@pytest.mark.parametrize("how", ["end", "beat"])
def test_frames_lost_at_the_end_are_found(how: str) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    sender.drop(a_frame(1))
    sender.skip(Gap(2, 3, "source"))
    gaps = [Gap(1, 1, "transport"), Gap(2, 3, "source")]
    if how == "beat":
        assert setup.settle(sender.beat(), sender.beat()) == gaps
    else:
        assert setup.settle(sender.end(StreamEnd("done"))) == [*gaps, StreamEnd("done")]


def test_an_idle_beat_replaces_a_lost_end() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    sender.end(StreamEnd("abort"))
    assert setup.settle(sender.beat(), sender.beat()) == [StreamEnd("abort")]
    assert setup.status.state == "ended"


def test_a_late_receiver_waits_for_a_beat() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    sender.start()
    assert setup.settle(sender.frame(a_frame(0)), sender.frame(a_frame(1))) == []
    assert setup.status.refused == {**NOTHING_REFUSED, "undescribed": 2}
    assert setup.status.state == "undescribed"
    assert names(setup.push(sender.beat(), sender.frame(a_frame(2)))) == [sender.info, 2]
    assert setup.status.bad == {}


def test_a_late_receiver_finds_losses_after_the_beat() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    sender.start()
    sender.frame(a_frame(0))
    setup.push(sender.beat())
    sender.drop(a_frame(1))
    assert names(setup.settle(sender.frame(a_frame(2)))) == [Gap(1, 1, "transport"), 2]


def test_an_ended_series_is_not_announced_to_late_receivers() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    sender.start()
    sender.end(StreamEnd("done"))
    assert setup.push(sender.beat()) == []


def test_a_beat_that_arrives_after_the_end_begins_nothing() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start())
    late = sender.beat()
    setup.settle(sender.end(StreamEnd("done")))
    assert setup.push(late) == []


def test_a_new_series_replaces_one_that_did_not_end() -> None:
    setup = ReceiverSetup()
    first, second = Encoder(a_stream()), Encoder(a_stream())
    setup.push(first.start(), first.frame(a_frame(0)))
    events = setup.settle(second.start(), second.frame(a_frame(0)))
    assert names(events) == [StreamEnd("replaced"), second.info, 0]


def test_a_series_after_an_end_replaces_nothing() -> None:
    setup = ReceiverSetup()
    first, second = Encoder(a_stream()), Encoder(a_stream())
    events = setup.push(first.start(), first.end(StreamEnd("done")), second.start())
    assert events == [first.info, StreamEnd("done"), second.info]


@pytest.mark.parametrize("what", ["seq", "fn"])
def test_numbers_that_go_back_begin_a_new_series_at_the_third_frame_and_none_is_lost(what: str) -> None:
    setup, info = ReceiverSetup(), a_stream()
    sender = Encoder(info)
    setup.push(sender.start(), sender.frame(a_frame(7)), sender.frame(a_frame(8)))
    first = 3 if what == "fn" else 9
    if what == "seq":
        sender = Encoder(info)
        sender.start()
    assert setup.push(*(sender.frame(a_frame(index)) for index in (first, first + 1))) == []
    assert setup.status.held == 2
    again = replace(info, series=f"{info.series}-1")
    events = setup.push(sender.frame(a_frame(first + 2)))
    assert names(events) == [StreamEnd("replaced"), again, first, first + 1, first + 2]
    assert (setup.status.received, setup.status.refused) == (5, NOTHING_REFUSED)


def test_a_late_beat_changes_nothing() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    late = sender.beat()
    setup.push(sender.frame(a_frame(1)), sender.frame(a_frame(2)))
    assert setup.push(late) == []
    assert names(setup.push(sender.frame(a_frame(3)))) == [3]


def test_a_frame_of_another_shape_is_refused_and_the_next_that_fits_goes_on() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    events = setup.push(
        *(sender.start(), sender.frame(a_frame(0)), other_shape(sender), sender.frame(a_frame(2))),
        sender.end(StreamEnd("done")),
    )
    assert names(events) == [sender.info, 0, Gap(1, 1, "source"), 2, StreamEnd("done")]
    assert (setup.status.bad, setup.status.received) == ({"series": 1}, 2)
    assert setup.status.refused == {**NOTHING_REFUSED, "mismatched": 1}
    assert sum(setup.status.lost.values()) == 0, "a refused frame is not counted twice"


def test_frames_that_keep_contradicting_their_series_stay_refused_and_the_status_says_so() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    for _ in range(50):
        setup.now_s += 1 / 30
        setup.push(other_shape(sender))
    assert setup.status.refused["mismatched"] == 50
    assert setup.status.problem == (
        "frame 1 of shape (1, 4, 3), type <i2 and plane 0; expected shape (1, 3, 4), type <i2 and plane below 1 "
        "as its series began; let the sender begin a new series when its frames change."
    )
    setup.push(sender.frame(a_frame(51)))
    setup.now_s += 3.1
    assert setup.status.problem == ""


def other_shape(sender: Encoder) -> list[Part]:
    topic, header, payload = sender.frame(a_frame(1))
    return [topic, msgpack.packb({**msgpack.unpackb(header), "shape": [1, 4, 3]}), payload]


def test_a_frame_of_a_plane_that_was_not_announced_is_refused() -> None:
    sender, setup = Encoder(a_stream(planes=2)), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0, plane=1)))
    events = setup.push(sender.frame(a_frame(1, plane=2)), sender.frame(a_frame(2, plane=1)))
    assert names(events) == [Gap(1, 1, "source"), 2]
    assert "plane below 2" in setup.status.problem


def test_bad_messages_are_counted_and_logged_once_per_kind(caplog: pytest.LogCaptureFixture) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    with caplog.at_level(logging.WARNING):
        events = setup.push(
            sender.start(), [b"x"], [b"x"], [b"x", b"y", b"z"], sender.frame(a_frame(0)), [b"raw/a/beat/", b"\xc1", b""]
        )
    assert names(events) == [sender.info, 0]
    assert setup.status.bad == {"parts": 2, "topic": 1, "header": 1}
    assert len(caplog.records) == 3


def test_a_stream_of_unknown_layout_is_a_problem_until_a_start_with_its_layout_follows() -> None:
    info = a_stream()
    parts = Encoder(info).start()
    header = msgpack.unpackb(parts[1])
    del header["scan"]["layout"]
    body = {key: value for key, value in header.items() if key not in ("v", "k", "sid", "seq", "ts", "hh")}
    parts[1] = msgpack.packb({**header, "hh": digest(body)})
    setup, sender = ReceiverSetup(), Encoder(replace(info, rate_hz=20.0))
    sender.start()
    assert setup.settle(parts, sender.frame(a_frame(0)), parts) == []
    assert "choose --scan collinear or --scan ordinary" in setup.status.problem
    assert (setup.status.bad, setup.status.refused["undescribed"]) == ({"layout": 2}, 1)
    assert names(setup.push(sender.beat(), sender.frame(a_frame(1)))) == [sender.info, 1]
    assert setup.status.problem == ""
    (described,) = ReceiverSetup(default_layout="collinear").push(parts)
    assert isinstance(described, StreamInfo)
    assert described.scan == ScanGeometry("collinear")


def test_frames_too_large_for_the_ring_are_a_problem_and_the_next_series_goes_on() -> None:
    setup, sender = ReceiverSetup(), Encoder(a_stream())
    assert setup.push(Encoder(a_stream(shape=(8, 8192, 8192))).start()) == []
    assert setup.status.problem == (
        "a series with frames of 1073741824 bytes; expected at most 131072; give the source a larger ring."
    )
    assert names(setup.push(sender.start(), sender.frame(a_frame(0)))) == [sender.info, 0]
    assert setup.status.problem == ""


def test_a_second_sender_is_refused_while_the_first_is_alive() -> None:
    setup = ReceiverSetup()
    first, second = Encoder(a_stream()), Encoder(a_stream(source="scope2"))
    assert setup.push(first.start(), second.start()) == [first.info]
    assert setup.status.bad == {"sender": 1}
    setup.now_s += 3.0
    assert setup.push(second.start()) == [StreamEnd("replaced"), second.info]


def test_a_frame_of_another_start_body_is_refused() -> None:
    info, setup = a_stream(), ReceiverSetup()
    sender, other = Encoder(info), Encoder(replace(info, rate_hz=15.0))
    other.start()
    assert setup.push(sender.start(), other.frame(a_frame(0))) == [info]
    assert setup.status.bad == {"hash": 1}


def test_a_beat_that_describes_the_running_series_otherwise_changes_nothing() -> None:
    info, setup = a_stream(), ReceiverSetup()
    sender, other = Encoder(info), Encoder(replace(info, rate_hz=15.0))
    other.start()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    assert setup.push(other.beat()) == []
    assert setup.status.bad == {"hash": 1}
    assert names(setup.push(sender.frame(a_frame(1)), sender.beat(), sender.frame(a_frame(2)))) == [1, 2]
    assert setup.status.refused == NOTHING_REFUSED
    assert sum(setup.status.lost.values()) == 0


def test_a_series_whose_frames_follow_the_other_description_begins_anew() -> None:
    """The sender has changed its start body, and its start message was lost."""
    info, setup = a_stream(), ReceiverSetup()
    sender, other = Encoder(info), Encoder(replace(info, rate_hz=15.0))
    other.start()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    begun = setup.settle(other.beat(), other.frame(a_frame(0)), other.frame(a_frame(1)))
    assert names(begun) == [StreamEnd("replaced"), replace(other.info, series=f"{info.series}-1"), 0, 1]


def test_a_stray_start_with_another_description_does_not_split_a_series_that_goes_on() -> None:
    info, setup = a_stream(), ReceiverSetup()
    sender, other = Encoder(info), Encoder(replace(info, rate_hz=15.0))
    setup.push(sender.start(), sender.frame(a_frame(0)), other.start())
    assert names(setup.push(sender.frame(a_frame(1)), sender.frame(a_frame(2)))) == [1, 2]
    assert setup.settle() == [StreamEnd("replaced"), replace(other.info, series=f"{info.series}-1")]


def test_of_two_descriptions_that_alternate_the_first_goes_on_and_every_frame_is_counted() -> None:
    info, setup = a_stream(), ReceiverSetup()
    senders = Encoder(info), Encoder(replace(info, rate_hz=15.0))
    setup.push(*(sender.start() for sender in senders))
    got = []
    for n in range(60):
        setup.now_s += 1 / 60
        got += setup.push(senders[n % 2].frame(a_frame(n)))
    assert not [event for event in got if isinstance(event, StreamInfo)]
    assert [event.index for event in got if isinstance(event, Frame)] == list(range(0, 60, 2))
    assert setup.status.refused == {**NOTHING_REFUSED, "mismatched": 30}
    assert "sent with two descriptions" in setup.status.problem


def test_old_descriptions_are_not_kept() -> None:
    """A sender that begins series after series must not fill the memory."""
    setup, first = ReceiverSetup(), Encoder(a_stream())
    setup.push(first.start(), first.end(StreamEnd("done")))
    for _ in range(8):
        other = Encoder(a_stream())
        setup.push(other.start(), other.end(StreamEnd("done")))
    assert setup.settle(first.frame(a_frame(0))) == []
    assert setup.status.refused["undescribed"] == 1


def test_frames_after_the_end_of_their_series_begin_a_new_one(caplog: pytest.LogCaptureFixture) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    ended = setup.push(end_of(sender, last_fn=0))
    sender.note("takes the number of the end message")
    assert names(ended) == [StreamEnd("done")]
    events = setup.push(sender.frame(a_frame(1)), sender.frame(a_frame(2)))
    assert names(events) == [replace(sender.info, series=f"{sender.info.series}-1"), 1, 2]
    assert "frame 1 continues a series that is not running" in caplog.text


def end_of(sender: Encoder, last_fn: int) -> list[Part]:
    """An end message of a sender that then goes on."""
    twin = Encoder(sender.info)
    twin.start()
    twin.frame(a_frame(last_fn))
    return twin.end(StreamEnd("done"))


def test_a_frame_that_comes_after_the_end_had_counted_it_is_late_and_not_lost_twice() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    late = sender.frame(a_frame(1))
    setup.settle(sender.end(StreamEnd("done")))
    assert setup.push(late) == []
    assert setup.status.refused == {**NOTHING_REFUSED, "late": 1}
    assert setup.status.lost == {"source": 0, "transport": 1, "ring": 0}


def test_frames_without_a_description_are_a_state_a_count_and_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    sender.start()
    for index in range(5):
        assert setup.settle(sender.frame(a_frame(index))) == []
    assert setup.status.state == "undescribed"
    assert setup.status.refused["undescribed"] == 5
    [record] = caplog.records
    assert record.message == (
        "frames of scope1 arrive whose series has not been described yet; they cannot be used. A sender describes its "
        "series at the start and in a beat every second"
    )
    setup.now_s += 3.0
    assert setup.status.state == "waiting"
    setup.push(sender.beat())
    assert setup.status.state == "live"


def test_the_state_follows_frames_and_beats() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    states = [setup.status.state]
    setup.push(sender.start())
    states.append(setup.status.state)
    setup.now_s += 0.5
    states.append(setup.status.state)
    setup.now_s += 0.01
    states.append(setup.status.state)
    setup.now_s += 2.9
    setup.push(sender.beat())
    setup.now_s += 2.9
    states.append(setup.status.state)
    setup.now_s += 0.2
    states.append(setup.status.state)
    setup.push(sender.frame(a_frame(0)))
    states.append(setup.status.state)
    setup.push(sender.end(StreamEnd("done")))
    states.append(setup.status.state)
    assert states == ["waiting", "live", "live", "stalled", "stalled", "lost", "live", "ended"]


def test_a_slow_stream_stalls_after_five_periods() -> None:
    sender, setup = Encoder(a_stream(rate_hz=2.0)), ReceiverSetup()
    setup.push(sender.start())
    setup.now_s += 2.5
    assert setup.status.state == "live"
    setup.now_s += 0.1
    assert setup.status.state == "stalled"


@given(st.lists(st.sampled_from(["sent", "dropped", "skipped", "note lost", "beat"]), max_size=40))
@settings(max_examples=100, deadline=None)
def test_every_frame_number_is_received_or_part_of_a_gap_with_its_cause(plan: list[str]) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    messages, expected = [sender.start(), sender.frame(a_frame(0))], [(0, None)]
    for index, what in enumerate(plan, 1):
        frame = a_frame(len(expected))
        if what == "sent":
            messages.append(sender.frame(frame))
            expected.append((frame.index, None))
        elif what == "dropped":
            sender.drop(frame)
            expected.append((frame.index, "transport"))
        elif what == "skipped":
            sender.skip(Gap(frame.index, 1, "source"))
            expected.append((frame.index, "source"))
        elif what == "beat":
            messages.append(sender.beat())
        else:
            sender.note(f"lost {index}")
    messages.append(sender.end(StreamEnd("done")))
    events = setup.settle(*messages)
    got: list[tuple[int, str | None]] = []
    for event in events[1:-1]:
        if isinstance(event, Frame):
            got.append((event.index, None))
        else:
            assert isinstance(event, Gap)
            got += [(index, event.cause) for index in range(event.first, event.first + event.count)]
    assert [index for index, _ in got] == [index for index, _ in expected]
    if "note lost" not in plan:
        # Losses on the wire are reported first: the numbers show how many there were, not their order.
        causes = [cause for _, cause in got]
        assert sorted(map(str, causes)) == sorted(str(cause) for _, cause in expected)
        assert [cause is None for cause in causes] == [cause is None for _, cause in expected]


# Order


def some_frames(sender: Encoder, count: int, first: int = 0) -> list[list[Part]]:
    return [sender.frame(a_frame(index)) for index in range(first, first + count)]


@given(st.permutations(range(8)))
@settings(max_examples=50, deadline=None)
def test_frames_within_the_window_are_put_in_order(order: list[int]) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    start, frames = sender.start(), some_frames(sender, 8)
    events = setup.push(start, *(frames[index] for index in order), sender.end(StreamEnd("done")))
    assert names(events) == [sender.info, *range(8), StreamEnd("done")]
    assert (setup.status.lost, setup.status.duplicates) == ({"source": 0, "transport": 0, "ring": 0}, 0)


@given(seed=st.integers(0, 2**32), count=st.integers(1, 60), first=st.sampled_from([0, 7]))
@settings(max_examples=200, deadline=None)
def test_a_network_that_delays_and_repeats_messages_a_little_loses_nothing(seed: int, count: int, first: int) -> None:
    rng, sender, setup = np.random.default_rng(seed), Encoder(a_stream()), ReceiverSetup()
    messages = [sender.start()]
    for frame in range(first, first + count):
        messages.append(sender.frame(a_frame(frame)))
        messages += [sender.note("note")] if rng.random() < 0.1 else []
        # A beat that overtakes the start begins the series: nobody knows that frames before it are still to come.
        messages += [sender.beat()] if rng.random() < 0.1 and len(messages) > 8 else []
    messages.append(sender.end(StreamEnd("done")))
    places = np.arange(len(messages)) + rng.uniform(0, 7.9, len(messages))
    again = np.arange(len(messages)) + rng.uniform(0, 16, len(messages))
    copied = [n for n in range(len(messages)) if rng.random() < 0.3]
    arrivals = sorted([(places[n], n) for n in range(len(messages))] + [(again[n], n) for n in copied])
    got: list[Event] = []
    for _, n in arrivals:
        got += setup.push(messages[n])
        setup.now_s += 0.001
    got += setup.settle()
    assert names(got) == [sender.info, *range(first, first + count), StreamEnd("done")]
    assert setup.status.refused == NOTHING_REFUSED
    assert sum(setup.status.lost.values()) == 0
    assert setup.status.duplicates == sum(b"/frame/" in bytes(messages[n][0]) for n in copied)


def test_frames_in_order_are_passed_on_at_once() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start())
    for index in range(5):
        assert names(setup.push(sender.frame(a_frame(index)))) == [index]
        assert setup.receiver.wait_s(setup.now_s, 0.05) == 0.05
    sender.note("lost, and no frame waits for it")
    assert names(setup.push(sender.frame(a_frame(5)))) == [5]
    assert names(setup.push(sender.frame(a_frame(9)))) == [Gap(6, 3, "source"), 9]


@pytest.mark.parametrize(("rate_hz", "hold_s"), [(30.0, 0.05), (1000.0, 0.002)])
def test_a_frame_waits_for_a_missing_one_for_two_periods_and_at_most_50_ms(rate_hz: float, hold_s: float) -> None:
    sender, setup = Encoder(a_stream(rate_hz=rate_hz)), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    sender.drop(a_frame(1))
    assert setup.push(sender.frame(a_frame(2))) == []
    assert setup.status.held == 1
    assert setup.receiver.wait_s(setup.now_s, 1.0) == pytest.approx(hold_s)
    assert setup.settle(after_s=0.9 * hold_s) == []
    assert names(setup.settle(after_s=0.2 * hold_s)) == [Gap(1, 1, "transport"), 2]
    assert setup.receiver.wait_s(setup.now_s, 1.0) == 1.0


def test_a_frame_that_waits_is_passed_on_when_the_window_is_full() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    sender.drop(a_frame(1))
    assert setup.push(*some_frames(sender, 8, 2)) == []
    assert names(setup.push(sender.frame(a_frame(10)))) == [Gap(1, 1, "transport"), *range(2, 11)]


def test_large_frames_wait_within_the_memory_of_the_ring() -> None:
    info = a_stream()
    sender, setup = Encoder(info), ReceiverSetup(max_bytes=16 * info.frame_bytes)
    setup.push(sender.start(), sender.frame(a_frame(0)))
    sender.drop(a_frame(1))
    setup.push(*some_frames(sender, 2, 2))
    assert setup.status.held == 2
    assert names(setup.push(sender.frame(a_frame(4)))) == [Gap(1, 1, "transport"), 2, 3, 4]


def test_copies_of_frames_are_duplicates_and_no_loss() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    start, frames = sender.start(), some_frames(sender, 6)
    events = setup.push(start, *frames[:4], frames[1], frames[3], frames[5], frames[5], frames[4], *frames)
    assert names(events) == [sender.info, *range(6)]
    assert (setup.status.duplicates, setup.status.received) == (9, 6)
    assert setup.status.refused == NOTHING_REFUSED
    assert sum(setup.status.lost.values()) == 0


def test_copies_of_frames_that_wait_are_duplicates() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    start, frames = sender.start(), some_frames(sender, 6)
    copied = [each for index in (2, 3, 4, 1) for each in [frames[index]] * 3]
    assert names(setup.push(start, frames[0], *copied, frames[5])) == [sender.info, *range(6)]
    assert (setup.status.duplicates, setup.status.refused) == (8, NOTHING_REFUSED)


def test_copies_of_the_first_frames_after_a_restart_do_not_delay_it() -> None:
    info, setup = a_stream(), ReceiverSetup()
    first, again = Encoder(info), Encoder(info)
    setup.push(first.start(), *some_frames(first, 9))
    again.start()
    copied = [each for frame in some_frames(again, 3) for each in [frame] * 2]
    assert names(setup.push(*copied))[2:] == [0, 1, 2]
    assert (setup.status.duplicates, setup.status.refused) == (3, NOTHING_REFUSED)


def test_numbers_that_stand_still_are_duplicates() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    events = setup.push(sender.start(), *(sender.frame(a_frame(0)) for _ in range(20)))
    assert names(events) == [sender.info, 0]
    assert (setup.status.duplicates, setup.status.held) == (18, 1)
    assert names(setup.push(sender.frame(a_frame(1)), sender.frame(a_frame(2)))) == [1, 2]
    assert (setup.status.duplicates, setup.status.held) == (19, 0)


def test_a_frame_that_comes_after_its_gap_is_late() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    start, frames = sender.start(), some_frames(sender, 20)
    setup.push(start, frames[0], *frames[2:])
    assert setup.push(frames[1]) == []
    assert setup.status.refused == {**NOTHING_REFUSED, "late": 1}
    assert setup.status.lost["transport"] == 1


def test_the_first_frames_are_put_in_order_too() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    start, frames = sender.start(), some_frames(sender, 3, 40)
    assert names(setup.push(start, frames[1], frames[0], frames[2])) == [sender.info, 40, 41, 42]


def test_frames_that_overtake_their_start_are_put_behind_it() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    start, frames = sender.start(), some_frames(sender, 4)
    assert setup.push(frames[1], frames[0]) == []
    assert (setup.status.held, setup.receiver.wait_s(setup.now_s, 1.0)) == (2, pytest.approx(0.05))
    assert names(setup.push(start, *frames[2:])) == [sender.info, 0, 1, 2, 3]
    assert setup.status.refused == NOTHING_REFUSED


def test_frames_that_overtake_the_end_and_the_next_start_are_put_behind_it() -> None:
    first, second, setup = Encoder(a_stream()), Encoder(a_stream()), ReceiverSetup()
    setup.push(first.start(), first.frame(a_frame(0)))
    start, frames = second.start(), some_frames(second, 2)
    events = setup.settle(frames[0], first.end(StreamEnd("done")), start, frames[1])
    assert names(events) == [StreamEnd("done"), second.info, 0, 1]


@pytest.mark.parametrize("last", ["beat", "end"])
def test_a_beat_or_an_end_that_overtakes_frames_does_not_make_them_lost(last: str) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    start, frames = sender.start(), some_frames(sender, 4)
    overtaking = sender.beat() if last == "beat" else sender.end(StreamEnd("done"))
    events = setup.push(start, frames[0], overtaking, *frames[1:])
    assert names(events) == [sender.info, 0, 1, 2, 3, *([] if last == "beat" else [StreamEnd("done")])]
    assert sum(setup.status.lost.values()) == 0
    assert setup.settle() == []


def test_what_waits_is_delivered_when_the_receiver_closes() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    sender.drop(a_frame(1))
    setup.push(sender.frame(a_frame(2)))
    setup.receiver.close(setup.now_s)
    assert names(setup.events()) == [Gap(1, 1, "transport"), 2]
    assert setup.status.held == 0


# Restarts


def test_copies_of_the_start_and_of_the_frames_after_it_begin_no_series() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    start, frames = sender.start(), some_frames(sender, 6)
    setup.push(start, *frames[:3])
    assert setup.push(start, *frames[:3]) == []
    assert names(setup.push(*frames[3:])) == [3, 4, 5]
    assert setup.status.duplicates == 3


def test_a_start_anew_begins_a_series_at_its_first_frame() -> None:
    info, setup = a_stream(), ReceiverSetup()
    first, again = Encoder(info), Encoder(info)
    setup.push(first.start(), *some_frames(first, 3))
    assert setup.push(again.start()) == []
    events = setup.push(*some_frames(again, 2))
    assert names(events) == [StreamEnd("replaced"), replace(info, series=f"{info.series}-1"), 0, 1]


def test_a_start_anew_with_another_shape_and_the_same_hash_begins_a_series_at_its_first_frame() -> None:
    """A sender that cannot compute hashes may send any text."""
    info, setup = a_stream(), ReceiverSetup()
    first, again = Encoder(info), Encoder(replace(info, shape=(1, 4, 3)))
    setup.push(first.start(), first.frame(a_frame(0)))
    messages = [again.start(), again.frame(Frame(9, np.zeros((1, 4, 3), "<i2")))]
    hh = msgpack.unpackb(first.note("")[1])["hh"]
    messages = [[parts[0], msgpack.packb({**msgpack.unpackb(parts[1]), "hh": hh}), parts[2]] for parts in messages]
    _, begun, frame = setup.push(*messages)
    assert isinstance(begun, StreamInfo)
    assert isinstance(frame, Frame)
    assert (begun.shape, begun.series, frame.pixels.shape) == ((1, 4, 3), f"{info.series}-1", (1, 4, 3))


def test_a_sender_that_restarts_after_the_end_with_its_start_lost_is_found_by_its_frames() -> None:
    info, setup = a_stream(), ReceiverSetup()
    first, again = Encoder(info), Encoder(info)
    setup.push(first.start(), *some_frames(first, 9), first.end(StreamEnd("done")))
    again.start()
    events = setup.push(*some_frames(again, 4))
    assert names(events) == [replace(info, series=f"{info.series}-1"), 0, 1, 2, 3]
    assert setup.status.refused == NOTHING_REFUSED


def test_a_sender_that_restarts_after_the_end_with_its_start_lost_is_found_by_its_beat() -> None:
    info, setup = a_stream(), ReceiverSetup()
    first, again = Encoder(info), Encoder(info)
    setup.push(first.start(), *some_frames(first, 9), first.end(StreamEnd("done")))
    again.start()
    assert names(setup.push(again.beat(), again.frame(a_frame(0)))) == [replace(info, series=f"{info.series}-1"), 0]


def test_a_beat_shows_that_the_running_series_has_restarted() -> None:
    info, setup = a_stream(), ReceiverSetup()
    first, again = Encoder(info), Encoder(info)
    setup.push(first.start(), *some_frames(first, 9))
    again.start()
    events = setup.push(again.beat(), again.frame(a_frame(0)))
    assert names(events) == [StreamEnd("replaced"), replace(info, series=f"{info.series}-1"), 0]


def test_old_copies_in_a_row_begin_no_series() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    start, frames = sender.start(), some_frames(sender, 12)
    setup.push(start, *frames)
    assert setup.push(*frames[:11]) == []
    assert setup.status.duplicates == 11


def test_a_restarted_sender_with_a_clock_that_stands_still_is_found_once_the_old_frames_are_over() -> None:
    info, setup = a_stream(), ReceiverSetup()
    first, again = (Encoder(info, clock_ns=lambda: 5) for _ in range(2))
    setup.push(first.start(), *some_frames(first, 9))
    setup.now_s += 3.0
    again.start()
    events = setup.push(*some_frames(again, 4))
    assert names(events) == [StreamEnd("replaced"), replace(info, series=f"{info.series}-1"), 2, 3]
    assert setup.status.duplicates == 2


# Plausible numbers


def edited(parts: list[Part], **changes: Any) -> list[Part]:
    return [parts[0], msgpack.packb({**msgpack.unpackb(parts[1]), **changes}), parts[2]]


@pytest.mark.parametrize("key", ["fn", "seq"])
def test_a_frame_with_an_impossible_number_is_refused_and_no_loss(key: str) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), *some_frames(sender, 3))
    wild = edited(Encoder(sender.info).frame(a_frame(3)), **{"seq": 4, "fn": 3, key: 2**62})
    assert setup.push(wild) == []
    assert names(setup.settle(*some_frames(sender, 3, 3)))[-3:] == [3, 4, 5]
    assert setup.status.refused == {**NOTHING_REFUSED, "implausible": 1}
    assert sum(setup.status.lost.values()) == 0


def test_frames_that_go_on_from_an_impossible_number_begin_a_series_and_none_is_lost() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), *some_frames(sender, 3))
    events = setup.push(*some_frames(sender, 4, 2**62))
    assert names(events) == [
        StreamEnd("replaced"),
        replace(sender.info, series=f"{sender.info.series}-1"),
        *range(2**62, 2**62 + 4),
    ]
    assert setup.status.refused == NOTHING_REFUSED
    assert sum(setup.status.lost.values()) == 0


def test_a_long_pause_makes_a_large_loss_plausible() -> None:
    sender, setup = Encoder(a_stream(rate_hz=1000.0)), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    sender.skip(Gap(1, 100_000, "source"))
    assert names(setup.push(sender.frame(a_frame(100_001)))) == [Gap(1, 100_000, "source"), 100_001]
    setup.now_s += 60.0
    assert names(setup.push(sender.frame(a_frame(700_001)))) == [Gap(100_002, 599_999, "source"), 700_001]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("beat", {"last_fn": 2**62}),
        ("beat", {"last_seq": 2**62}),
        ("end", {"last_fn": 2**62}),
        ("note", {"seq": 2**62}),
    ],
)
def test_other_messages_with_impossible_numbers_are_bad_and_change_nothing(kind: str, changes: dict[str, int]) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), *some_frames(sender, 3))
    twin = Encoder(sender.info)
    twin.start()
    some_frames(twin, 3)
    make = {"beat": twin.beat, "end": lambda: twin.end(StreamEnd("done")), "note": lambda: twin.note("")}[kind]
    assert setup.settle(edited(make(), **changes)) == []
    assert setup.status.bad == {"implausible": 1}
    if kind == "end":
        sender.note("takes the number of the end message")
    assert names(setup.settle(*some_frames(sender, 2, 3)))[-1] == 4
    assert sum(setup.status.lost.values()) == 0


# Several streams


def test_of_two_senders_with_one_name_the_first_goes_on_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    setup = ReceiverSetup()
    first, second = Encoder(a_stream()), Encoder(a_stream())
    got = setup.push(first.start())
    second.start()
    for index in range(30):
        got += setup.push(first.frame(a_frame(index)), second.beat(), second.frame(a_frame(index)))
        setup.now_s += 1 / 30
    assert names(got) == [first.info, *range(30)]
    assert setup.status.refused["other-sender"] + setup.status.held == 30
    assert setup.status.held <= 4
    assert len([record for record in caplog.records if "a second sender" in record.message]) == 1
    assert "a second sender (raw/scope1" in setup.status.problem
    setup.now_s += 3.0
    assert names(setup.push(second.frame(a_frame(30)))) == [StreamEnd("replaced"), second.info, 30]


def test_the_frames_of_a_series_that_replaces_another_are_all_delivered() -> None:
    setup = ReceiverSetup()
    first, second = Encoder(a_stream()), Encoder(a_stream())
    got = setup.push(first.start(), *some_frames(first, 3), second.start())
    for index in range(20):
        got += setup.push(second.frame(a_frame(index)))
        setup.now_s += 1 / 30
    assert names(got) == [first.info, 0, 1, 2, StreamEnd("replaced"), second.info, *range(20)]
    assert setup.status.refused == NOTHING_REFUSED


def test_a_late_frame_of_a_replaced_series_disturbs_nothing() -> None:
    setup = ReceiverSetup()
    first, second = Encoder(a_stream()), Encoder(a_stream())
    start, frames = first.start(), some_frames(first, 4)
    setup.push(start, *frames[:3], second.start(), second.frame(a_frame(0)), frames[3])
    assert names(setup.settle(second.frame(a_frame(1)))) == [StreamEnd("replaced"), second.info, 0, 1]
    assert setup.push(frames[1]) == []
    assert (setup.status.refused, setup.status.duplicates) == (NOTHING_REFUSED, 1)


def test_a_series_that_comes_back_after_another_gets_a_new_name() -> None:
    setup = ReceiverSetup()
    first, second = Encoder(a_stream()), Encoder(a_stream())
    setup.push(first.start(), first.frame(a_frame(0)), first.end(StreamEnd("done")))
    setup.push(second.start(), second.frame(a_frame(0)), second.end(StreamEnd("done")))
    again = Encoder(first.info)
    events = setup.push(again.start(), again.frame(a_frame(0)))
    assert names(events) == [replace(first.info, series=f"{first.info.series}-1"), 0]


def test_frames_of_another_sender_are_refused_while_the_first_is_alive() -> None:
    setup = ReceiverSetup()
    first, second = Encoder(a_stream()), Encoder(a_stream(source="scope2", shape=(8, 8192, 8192)))
    setup.push(first.start(), first.frame(a_frame(0)))
    twin = Encoder(a_stream(source="scope2"))
    assert setup.push(second.start(), twin.start(), twin.frame(a_frame(0))) == []
    assert setup.status.refused == {**NOTHING_REFUSED, "other-sender": 1}
    assert names(setup.push(first.frame(a_frame(1)))) == [1]


def test_hundreds_of_starts_in_a_row_end_nothing() -> None:
    setup = ReceiverSetup()
    for _ in range(3000):
        sender = Encoder(a_stream())
        for parts in (sender.start(), sender.end(StreamEnd("done"))):
            setup.receiver.push(parts, now_s=setup.now_s, now_ns=1)
    sender = Encoder(a_stream())
    events = setup.push(sender.start(), sender.frame(a_frame(0)))
    assert names(events)[-2:] == [sender.info, 0]
    assert len(events) < 2100
    assert setup.status.bad == {}


# What never ends the stream


class RaisingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise BrokenPipeError("nobody reads stderr")


def test_a_log_handler_that_raises_does_not_reach_the_receiver() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    handler = RaisingHandler()
    logging.getLogger("deepbid_rt").addHandler(handler)
    try:
        events = setup.push([b"x"], sender.start(), sender.note("hello"), other_shape(sender), sender.frame(a_frame(2)))
    finally:
        logging.getLogger("deepbid_rt").removeHandler(handler)
    assert names(events)[-1] == 2
    assert setup.status.bad == {"parts": 1, "series": 1}


@pytest.mark.parametrize("where", ["deepbid_rt.wire.receiver.decode", "deepbid_rt.wire.receive_ring.ReceiveRing.put"])
def test_an_error_of_this_program_costs_one_message_and_is_counted(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("inside")

    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    with monkeypatch.context() as patch:
        patch.setattr(where, broken)
        setup.push(sender.frame(a_frame(1)), sender.frame(a_frame(2)))
    assert names(setup.settle(sender.frame(a_frame(3))))[-1] == 3
    assert setup.status.bad == {"internal": 2}
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_text_of_a_sender_cannot_command_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    with caplog.at_level(logging.INFO):
        setup.push(
            *(sender.start(), sender.note("\x1b[2J\nERROR forged " + "x" * 1000)),
            *(edited(sender.frame(a_frame(0)), hh="\x1b[31m" + "y" * 1000), [b"raw/\x1b[2J/beat/", b"", b""]),
        )
    assert setup.status.bad == {"hash": 1, "topic": 1}
    for record in caplog.records:
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 600


# Rare orders of events


def test_a_beat_of_the_run_before_a_restart_changes_nothing() -> None:
    info, setup = a_stream(), ReceiverSetup()
    first, again = Encoder(info), Encoder(info)
    setup.push(first.start(), *some_frames(first, 50))
    late = first.beat()
    setup.push(again.start(), again.frame(a_frame(0)))
    assert setup.settle(late) == []
    assert names(setup.push(again.frame(a_frame(1)))) == [1]
    assert sum(setup.status.lost.values()) == 0


def test_copies_of_frames_that_overtake_their_start_take_no_room() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    start, frames = sender.start(), some_frames(sender, 3)
    setup.push(*(frames[index] for index in (0, 1, 2) for _ in range(4)))
    assert (setup.status.held, setup.status.duplicates) == (3, 9)
    assert names(setup.push(start)) == [sender.info, 0, 1, 2]


def test_closing_delivers_what_follows_an_end_that_waited() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    start, frames = sender.start(), some_frames(sender, 3)
    end = end_of(sender, last_fn=2)
    end = [end[0], msgpack.packb({**msgpack.unpackb(end[1]), "seq": 4}), end[2]]
    sender.note("takes the number of the end message")
    after = some_frames(sender, 3, 3)
    setup.push(start, frames[0], frames[2], end, after[0], after[2])
    setup.receiver.close(setup.now_s)
    again = replace(sender.info, series=f"{sender.info.series}-1")
    expected = [Gap(1, 1, "transport"), 2, StreamEnd("done"), again, 3, Gap(4, 1, "transport"), 5]
    assert names(setup.events()) == expected
    assert setup.status.held == 0


def test_a_series_that_begins_while_another_is_flushed_is_ended_too() -> None:
    info, setup = a_stream(), ReceiverSetup()
    sender, again = Encoder(info), Encoder(info)
    start, frames = sender.start(), some_frames(sender, 3)
    end = end_of(sender, last_fn=2)
    end = [end[0], msgpack.packb({**msgpack.unpackb(end[1]), "seq": 4}), end[2]]
    sender.note("takes the number of the end message")
    setup.push(start, frames[0], frames[2], end, sender.frame(a_frame(3)))
    events = setup.push(again.start(), again.frame(a_frame(0)))
    assert [type(event) for event in events if isinstance(event, StreamInfo | StreamEnd)] == [
        *(StreamEnd, StreamInfo, StreamEnd, StreamInfo)
    ]


def test_a_sender_that_keeps_jumping_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start())
    for jump in range(100):
        setup.push(*some_frames(sender, 3, jump * 10**6))
    assert setup.status.received == 300
    assert len(caplog.records) == 21


def test_a_challenger_waits_in_bounded_memory_and_what_does_not_fit_is_counted() -> None:
    setup = ReceiverSetup()
    slow, fast = Encoder(a_stream(rate_hz=1.0)), Encoder(a_stream(rate_hz=100.0))
    setup.push(slow.start(), slow.frame(a_frame(0)), fast.start())
    for index in range(290):
        setup.now_s += 0.01
        setup.push(fast.frame(a_frame(index)))
        assert setup.status.held <= 256
    assert setup.status.refused == {**NOTHING_REFUSED, "other-sender": 34}
    events = setup.settle(after_s=0.2)
    frames = [event.index for event in events if isinstance(event, Frame)]
    assert frames == list(range(290 - 64, 290))  # the ring holds 64
    assert (setup.status.received, setup.status.lost["transport"]) == (1 + 256, 0)
