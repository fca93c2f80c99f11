from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Event, Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.wire.codec import Encoder, Part
from deepbid_rt.wire.header import digest
from deepbid_rt.wire.receive_ring import ReceiveRing
from deepbid_rt.wire.receiver import Receiver
from deepbid_rt.wire.series import Series


class Receiver:
    """An intake, its ring, and a clock that stands still unless told."""

    def __init__(self, **options: Any) -> None:
        self.ring = ReceiveRing(64, max_bytes=options.pop("max_bytes", 2**20))
        self.intake = Receiver(self.ring, **options)
        self.now_s = 1000.0

    def take(self, *messages: list[Part]) -> list[Event]:
        for parts in messages:
            self.intake.take(parts, now_s=self.now_s, now_ns=77)
        return self.events()

    def events(self) -> list[Event]:
        events = []
        while (event := self.ring.get(0)) is not None:
            events.append(event)
        return events

    @property
    def status(self) -> Any:
        return self.intake.status(self.now_s)


def a_stream(**more: Any) -> StreamInfo:
    return StreamInfo(**{"shape": (1, 3, 4), "dtype": np.dtype("<i2"), "rate_hz": 30.0, **more})


def a_frame(index: int, **more: Any) -> Frame:
    return Frame(index, np.full((1, 3, 4), index % 1000, "<i2"), **more)


def names(events: list[Event]) -> list[Any]:
    """Frames by number, everything else as it is."""
    return [event.index if isinstance(event, Frame) else event for event in events]


def test_frames_come_through_in_order_with_the_time_of_arrival() -> None:
    info, receiver = a_stream(), Receiver()
    sender = Encoder(info, clock_ns=lambda: 55)
    receiver.take(sender.start())
    receiver.intake.take(sender.frame(a_frame(4)), now_s=0, now_ns=77)
    frame = receiver.ring.get(0)
    assert isinstance(frame, Frame)
    assert (frame.index, frame.t_ns, frame.arrived_ns) == (4, 55, 77)
    assert (frame.pixels == 4).all()


def test_the_first_frame_may_have_any_number() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    assert names(receiver.take(sender.start(), sender.frame(a_frame(41)))) == [sender.info, 41]


def test_a_jump_of_seq_is_a_loss_on_the_wire() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    receiver.take(sender.start(), sender.frame(a_frame(0)))
    for index in (1, 2):
        sender.drop(a_frame(index))
    assert names(receiver.take(sender.frame(a_frame(3)))) == [Gap(1, 2, "transport"), 3]
    assert receiver.status.lost == {"source": 0, "transport": 2, "ring": 0}


def test_a_jump_of_fn_alone_is_a_loss_at_the_source() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    events = receiver.take(sender.start(), sender.frame(a_frame(0)), sender.frame(a_frame(5)))
    assert names(events) == [sender.info, 0, Gap(1, 4, "source"), 5]
    assert receiver.status.lost == {"source": 4, "transport": 0, "ring": 0}


def test_both_losses_at_once_are_told_apart() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    receiver.take(sender.start(), sender.frame(a_frame(0)))
    sender.drop(a_frame(1))
    assert names(receiver.take(sender.frame(a_frame(6)))) == [Gap(1, 1, "transport"), Gap(2, 4, "source"), 6]


def test_a_lost_note_is_not_a_lost_frame() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    receiver.take(sender.start(), sender.frame(a_frame(0)))
    sender.note("never arrives")
    assert names(receiver.take(sender.frame(a_frame(1)))) == [1]


def test_frames_lost_right_after_the_start_are_found() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    receiver.take(sender.start())
    sender.drop(a_frame(10))
    assert names(receiver.take(sender.frame(a_frame(11)))) == [Gap(10, 1, "transport"), 11]


@pytest.mark.parametrize("how", ["end", "beat"])
def test_frames_lost_at_the_end_are_found(how: str) -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    receiver.take(sender.start(), sender.frame(a_frame(0)))
    sender.drop(a_frame(1))
    sender.skip(Gap(2, 3, "source"))
    gaps = [Gap(1, 1, "transport"), Gap(2, 3, "source")]
    if how == "beat":
        assert receiver.take(sender.beat(), sender.beat()) == gaps
    else:
        assert receiver.take(sender.end(StreamEnd("done"))) == [*gaps, StreamEnd("done")]


def test_a_lost_end_is_made_good_by_an_idle_beat() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    receiver.take(sender.start(), sender.frame(a_frame(0)))
    sender.end(StreamEnd("abort"))
    assert receiver.take(sender.beat(), sender.beat()) == [StreamEnd("abort")]
    assert receiver.status.state == "ended"


def test_a_late_joiner_waits_for_a_beat() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    sender.start()
    assert receiver.take(sender.frame(a_frame(0)), sender.frame(a_frame(1))) == []
    assert receiver.status.unannounced == 2
    assert names(receiver.take(sender.beat(), sender.frame(a_frame(2)))) == [sender.info, 2]
    assert receiver.status.bad == {}


def test_a_late_joiner_knows_what_it_missed_after_the_beat() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    sender.start()
    sender.frame(a_frame(0))
    receiver.take(sender.beat())
    sender.drop(a_frame(1))
    assert names(receiver.take(sender.frame(a_frame(2)))) == [Gap(1, 1, "transport"), 2]


def test_a_series_that_is_over_is_not_announced_to_late_joiners() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    sender.start()
    sender.end(StreamEnd("done"))
    assert receiver.take(sender.beat()) == []


def test_a_beat_that_the_end_overtook_begins_nothing() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    receiver.take(sender.start())
    late = sender.beat()
    receiver.take(sender.end(StreamEnd("done")))
    assert receiver.take(late) == []


def test_messages_from_the_past_do_not_turn_the_count_back() -> None:
    series = Series("raw", "a", "b", a_stream(), next_seq=5, next_fn=None)
    series.follow(5)
    series.follow(2)
    series.miss_before(3)
    assert (series.next_seq, series.missed) == (6, 0)


def test_a_new_series_replaces_one_that_did_not_end() -> None:
    receiver = Receiver()
    first, second = Encoder(a_stream()), Encoder(a_stream())
    receiver.take(first.start(), first.frame(a_frame(0)))
    events = receiver.take(second.start(), second.frame(a_frame(0)))
    assert names(events) == [StreamEnd("replaced"), second.info, 0]


def test_a_series_after_an_end_just_begins() -> None:
    receiver = Receiver()
    first, second = Encoder(a_stream()), Encoder(a_stream())
    events = receiver.take(first.start(), first.end(StreamEnd("done")), second.start())
    assert events == [first.info, StreamEnd("done"), second.info]


@pytest.mark.parametrize("what", ["seq", "fn"])
def test_numbers_going_back_are_a_new_series_under_a_new_name(what: str) -> None:
    receiver, info = Receiver(), a_stream()
    sender = Encoder(info)
    receiver.take(sender.start(), sender.frame(a_frame(7)), sender.frame(a_frame(8)))
    if what == "seq":
        sender = Encoder(info)
        sender.start()
    again = replace(info, series=f"{info.series}-1")
    assert names(receiver.take(sender.frame(a_frame(3 if what == "fn" else 9)))) == [
        StreamEnd("replaced"),
        again,
        3 if what == "fn" else 9,
    ]


def test_a_beat_that_was_overtaken_changes_nothing() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    receiver.take(sender.start(), sender.frame(a_frame(0)))
    late = sender.beat()
    receiver.take(sender.frame(a_frame(1)), sender.frame(a_frame(2)))
    assert receiver.take(late) == []
    assert names(receiver.take(sender.frame(a_frame(3)))) == [3]


def test_a_frame_that_changes_shape_is_one_clear_error_after_what_came_before() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    for parts in (sender.start(), sender.frame(a_frame(0)), other_shape(sender), sender.frame(a_frame(2))):
        receiver.intake.take(parts, now_s=0, now_ns=0)
    receiver.intake.take(sender.end(StreamEnd("done")), now_s=0, now_ns=0)
    assert receiver.ring.get(0) == sender.info
    assert isinstance(receiver.ring.get(0), Frame)
    with pytest.raises(StreamError) as caught:
        receiver.ring.get(0)
    assert str(caught.value) == (
        "frame 1 of shape (1, 4, 3), type <i2 and plane 0; expected shape (1, 3, 4), type <i2 and plane below 1 "
        "as its series began; let the sender begin a new series when its frames change."
    )
    assert receiver.events() == [StreamEnd("done")]
    assert (receiver.status.bad, receiver.status.received) == ({"series": 2}, 1)


def other_shape(sender: Encoder) -> list[Part]:
    topic, header, payload = sender.frame(a_frame(1))
    return [topic, msgpack.packb({**msgpack.unpackb(header), "shape": [1, 4, 3]}), payload]


def test_a_plane_that_was_not_announced_is_an_error() -> None:
    sender, receiver = Encoder(a_stream(planes=2)), Receiver()
    receiver.take(sender.start(), sender.frame(a_frame(0, plane=1)))
    with pytest.raises(StreamError, match="plane below 2"):
        receiver.take(sender.frame(a_frame(1, plane=2)))


def test_bad_messages_are_counted_and_logged_once_per_kind(caplog: pytest.LogCaptureFixture) -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    with caplog.at_level(logging.WARNING):
        events = receiver.take(
            sender.start(), [b"x"], [b"x"], [b"x", b"y", b"z"], sender.frame(a_frame(0)), [b"raw/a/beat/", b"\xc1", b""]
        )
    assert names(events) == [sender.info, 0]
    assert receiver.status.bad == {"parts": 2, "topic": 1, "header": 1}
    assert len(caplog.records) == 3


def test_a_stream_of_unknown_layout_is_refused_once_and_aloud() -> None:
    parts = Encoder(a_stream()).start()
    header = msgpack.unpackb(parts[1])
    del header["scan"]["layout"]
    body = {key: value for key, value in header.items() if key not in ("v", "k", "sid", "seq", "ts", "hh")}
    parts[1] = msgpack.packb({**header, "hh": digest(body)})
    receiver = Receiver()
    with pytest.raises(StreamError, match="choose --scan collinear or --scan ordinary"):
        receiver.take(parts)
    assert receiver.take(parts) == []
    (info,) = Receiver(default_layout="collinear").take(parts)
    assert isinstance(info, StreamInfo)
    assert info.scan == ScanGeometry("collinear")


def test_frames_too_large_for_the_ring_are_refused_before_slots_are_made() -> None:
    receiver = Receiver()
    with pytest.raises(StreamError) as caught:
        receiver.take(Encoder(a_stream(shape=(8, 8192, 8192))).start())
    assert str(caught.value) == (
        "a series with frames of 1073741824 bytes; expected at most 131072; give the source a larger ring."
    )


def test_a_second_sender_is_refused_while_the_first_is_there() -> None:
    receiver = Receiver()
    first, second = Encoder(a_stream()), Encoder(a_stream(source="scope2"))
    assert receiver.take(first.start(), second.start()) == [first.info]
    assert receiver.status.bad == {"sender": 1}
    receiver.now_s += 3.0
    assert receiver.take(second.start()) == [StreamEnd("replaced"), second.info]


def test_a_frame_of_another_start_body_is_refused() -> None:
    info, receiver = a_stream(), Receiver()
    sender, other = Encoder(info), Encoder(replace(info, rate_hz=15.0))
    other.start()
    assert receiver.take(sender.start(), other.frame(a_frame(0))) == [info]
    assert receiver.status.bad == {"hash": 1}


def test_the_state_follows_frames_and_beats() -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
    states = [receiver.status.state]
    receiver.take(sender.start())
    states.append(receiver.status.state)
    receiver.now_s += 0.5
    states.append(receiver.status.state)
    receiver.now_s += 0.01
    states.append(receiver.status.state)
    receiver.now_s += 2.9
    receiver.take(sender.beat())
    receiver.now_s += 2.9
    states.append(receiver.status.state)
    receiver.now_s += 0.2
    states.append(receiver.status.state)
    receiver.take(sender.frame(a_frame(0)))
    states.append(receiver.status.state)
    receiver.take(sender.end(StreamEnd("done")))
    states.append(receiver.status.state)
    assert states == ["waiting", "live", "live", "stalled", "stalled", "lost", "live", "ended"]


def test_a_slow_stream_stalls_after_five_periods() -> None:
    sender, receiver = Encoder(a_stream(rate_hz=2.0)), Receiver()
    receiver.take(sender.start())
    receiver.now_s += 2.5
    assert receiver.status.state == "live"
    receiver.now_s += 0.1
    assert receiver.status.state == "stalled"


@given(st.lists(st.sampled_from(["sent", "dropped", "skipped", "note lost", "beat"]), max_size=40))
@settings(max_examples=100, deadline=None)
def test_every_frame_number_is_read_or_named_missing_with_its_cause(plan: list[str]) -> None:
    sender, receiver = Encoder(a_stream()), Receiver()
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
    events = receiver.take(*messages)
    got: list[tuple[int, str | None]] = []
    for event in events[1:-1]:
        if isinstance(event, Frame):
            got.append((event.index, None))
        else:
            assert isinstance(event, Gap)
            got += [(index, event.cause) for index in range(event.first, event.first + event.count)]
    assert [index for index, _ in got] == [index for index, _ in expected]
    if "note lost" not in plan:
        # A hole's losses on the wire are reported first: the numbers tell how many, not in which order.
        holes = [cause for _, cause in got]
        assert sorted(map(str, holes)) == sorted(str(cause) for _, cause in expected)
        assert [cause is None for cause in holes] == [cause is None for _, cause in expected]
