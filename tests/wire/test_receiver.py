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

    def events(self) -> list[Event]:
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
    assert names(setup.push(sender.frame(a_frame(3)))) == [Gap(1, 2, "transport"), 3]
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
    assert names(setup.push(sender.frame(a_frame(6)))) == [Gap(1, 1, "transport"), Gap(2, 4, "source"), 6]


def test_a_lost_note_is_not_a_lost_frame() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    sender.note("never arrives")
    assert names(setup.push(sender.frame(a_frame(1)))) == [1]


def test_frames_lost_right_after_the_start_are_found() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start())
    sender.drop(a_frame(10))
    assert names(setup.push(sender.frame(a_frame(11)))) == [Gap(10, 1, "transport"), 11]


@pytest.mark.parametrize("how", ["end", "beat"])
def test_frames_lost_at_the_end_are_found(how: str) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    sender.drop(a_frame(1))
    sender.skip(Gap(2, 3, "source"))
    gaps = [Gap(1, 1, "transport"), Gap(2, 3, "source")]
    if how == "beat":
        assert setup.push(sender.beat(), sender.beat()) == gaps
    else:
        assert setup.push(sender.end(StreamEnd("done"))) == [*gaps, StreamEnd("done")]


def test_an_idle_beat_replaces_a_lost_end() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    sender.end(StreamEnd("abort"))
    assert setup.push(sender.beat(), sender.beat()) == [StreamEnd("abort")]
    assert setup.status.state == "ended"


def test_a_late_receiver_waits_for_a_beat() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    sender.start()
    assert setup.push(sender.frame(a_frame(0)), sender.frame(a_frame(1))) == []
    assert setup.status.refused == {"undescribed": 2, "mismatched": 0, "late": 0}
    assert setup.status.state == "undescribed"
    assert names(setup.push(sender.beat(), sender.frame(a_frame(2)))) == [sender.info, 2]
    assert setup.status.bad == {}


def test_a_late_receiver_finds_losses_after_the_beat() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    sender.start()
    sender.frame(a_frame(0))
    setup.push(sender.beat())
    sender.drop(a_frame(1))
    assert names(setup.push(sender.frame(a_frame(2)))) == [Gap(1, 1, "transport"), 2]


def test_an_ended_series_is_not_announced_to_late_receivers() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    sender.start()
    sender.end(StreamEnd("done"))
    assert setup.push(sender.beat()) == []


def test_a_beat_that_arrives_after_the_end_begins_nothing() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start())
    late = sender.beat()
    setup.push(sender.end(StreamEnd("done")))
    assert setup.push(late) == []


def test_late_messages_do_not_change_the_counts() -> None:
    series = Series("raw", "a", "b", a_stream(), next_seq=5, next_fn=None)
    series.follow(5)
    series.follow(2)
    series.miss_before(3)
    assert (series.next_seq, series.missed) == (6, 0)


def test_a_new_series_replaces_one_that_did_not_end() -> None:
    setup = ReceiverSetup()
    first, second = Encoder(a_stream()), Encoder(a_stream())
    setup.push(first.start(), first.frame(a_frame(0)))
    events = setup.push(second.start(), second.frame(a_frame(0)))
    assert names(events) == [StreamEnd("replaced"), second.info, 0]


def test_a_series_after_an_end_replaces_nothing() -> None:
    setup = ReceiverSetup()
    first, second = Encoder(a_stream()), Encoder(a_stream())
    events = setup.push(first.start(), first.end(StreamEnd("done")), second.start())
    assert events == [first.info, StreamEnd("done"), second.info]


@pytest.mark.parametrize("what", ["seq", "fn"])
def test_numbers_that_go_back_begin_a_new_series_with_a_new_name(what: str) -> None:
    setup, info = ReceiverSetup(), a_stream()
    sender = Encoder(info)
    setup.push(sender.start(), sender.frame(a_frame(7)), sender.frame(a_frame(8)))
    if what == "seq":
        sender = Encoder(info)
        sender.start()
    again = replace(info, series=f"{info.series}-1")
    assert names(setup.push(sender.frame(a_frame(3 if what == "fn" else 9)))) == [
        StreamEnd("replaced"),
        again,
        3 if what == "fn" else 9,
    ]


def test_a_late_beat_changes_nothing() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    late = sender.beat()
    setup.push(sender.frame(a_frame(1)), sender.frame(a_frame(2)))
    assert setup.push(late) == []
    assert names(setup.push(sender.frame(a_frame(3)))) == [3]


def test_a_frame_of_another_shape_is_one_error_after_the_frames_before_it() -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    for parts in (sender.start(), sender.frame(a_frame(0)), other_shape(sender), sender.frame(a_frame(2))):
        setup.receiver.push(parts, now_s=0, now_ns=0)
    setup.receiver.push(sender.end(StreamEnd("done")), now_s=0, now_ns=0)
    assert setup.ring.get(0) == sender.info
    assert isinstance(setup.ring.get(0), Frame)
    with pytest.raises(StreamError) as caught:
        setup.ring.get(0)
    assert str(caught.value) == (
        "frame 1 of shape (1, 4, 3), type <i2 and plane 0; expected shape (1, 3, 4), type <i2 and plane below 1 "
        "as its series began; let the sender begin a new series when its frames change."
    )
    assert setup.events() == [StreamEnd("done")]
    assert (setup.status.bad, setup.status.received) == ({"series": 2}, 1)
    assert setup.status.refused["mismatched"] == 2


def other_shape(sender: Encoder) -> list[Part]:
    topic, header, payload = sender.frame(a_frame(1))
    return [topic, msgpack.packb({**msgpack.unpackb(header), "shape": [1, 4, 3]}), payload]


def test_a_plane_that_was_not_announced_is_an_error() -> None:
    sender, setup = Encoder(a_stream(planes=2)), ReceiverSetup()
    setup.push(sender.start(), sender.frame(a_frame(0, plane=1)))
    with pytest.raises(StreamError, match="plane below 2"):
        setup.push(sender.frame(a_frame(1, plane=2)))


def test_bad_messages_are_counted_and_logged_once_per_kind(caplog: pytest.LogCaptureFixture) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    with caplog.at_level(logging.WARNING):
        events = setup.push(
            sender.start(), [b"x"], [b"x"], [b"x", b"y", b"z"], sender.frame(a_frame(0)), [b"raw/a/beat/", b"\xc1", b""]
        )
    assert names(events) == [sender.info, 0]
    assert setup.status.bad == {"parts": 2, "topic": 1, "header": 1}
    assert len(caplog.records) == 3


def test_a_stream_of_unknown_layout_raises_one_error() -> None:
    parts = Encoder(a_stream()).start()
    header = msgpack.unpackb(parts[1])
    del header["scan"]["layout"]
    body = {key: value for key, value in header.items() if key not in ("v", "k", "sid", "seq", "ts", "hh")}
    parts[1] = msgpack.packb({**header, "hh": digest(body)})
    setup = ReceiverSetup()
    with pytest.raises(StreamError, match="choose --scan collinear or --scan ordinary"):
        setup.push(parts)
    assert setup.push(parts) == []
    (info,) = ReceiverSetup(default_layout="collinear").push(parts)
    assert isinstance(info, StreamInfo)
    assert info.scan == ScanGeometry("collinear")


def test_frames_too_large_for_the_ring_are_refused_before_slots_are_allocated() -> None:
    setup = ReceiverSetup()
    with pytest.raises(StreamError) as caught:
        setup.push(Encoder(a_stream(shape=(8, 8192, 8192))).start())
    assert str(caught.value) == (
        "a series with frames of 1073741824 bytes; expected at most 131072; give the source a larger ring."
    )


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
    assert setup.status.refused == {"undescribed": 0, "mismatched": 0, "late": 0}
    assert sum(setup.status.lost.values()) == 0


def test_a_series_whose_frames_follow_the_other_description_begins_anew() -> None:
    """The sender has changed its start body, and its start message was lost."""
    info, setup = a_stream(), ReceiverSetup()
    sender, other = Encoder(info), Encoder(replace(info, rate_hz=15.0))
    other.start()
    setup.push(sender.start(), sender.frame(a_frame(0)))
    begun = setup.push(other.beat(), other.frame(a_frame(0)), other.frame(a_frame(1)))
    assert names(begun) == [StreamEnd("replaced"), replace(other.info, series=f"{info.series}-1"), 0, 1]


def test_frames_return_to_the_first_description_after_a_start_with_another() -> None:
    info, setup = a_stream(), ReceiverSetup()
    sender, other = Encoder(info), Encoder(replace(info, rate_hz=15.0))
    setup.push(sender.start(), sender.frame(a_frame(0)), other.start())
    events = setup.push(sender.frame(a_frame(1)), sender.frame(a_frame(2)))
    assert names(events) == [StreamEnd("replaced"), replace(info, series=f"{info.series}-2"), 1, 2]


def test_a_sender_that_keeps_alternating_is_refused_in_the_end_and_every_frame_counted() -> None:
    info, setup = a_stream(), ReceiverSetup()
    senders = Encoder(info), Encoder(replace(info, rate_hz=15.0))
    setup.push(*(sender.start() for sender in senders))
    got = [event for n in range(60) for event in setup.push(senders[n % 2].frame(a_frame(n)))]
    frames = [event for event in got if isinstance(event, Frame)]
    begun = [event for event in got if isinstance(event, StreamInfo)]
    assert 1 <= len(begun) <= 8
    assert len(frames) + setup.status.refused["mismatched"] == 60


def test_every_series_may_return_to_an_earlier_description() -> None:
    setup = ReceiverSetup()
    for number in range(12):
        info = a_stream(series=f"series-{number:04}")
        sender, other = Encoder(info), Encoder(replace(info, rate_hz=15.0))
        setup.push(sender.start(), sender.frame(a_frame(0)), other.start())
        assert names(setup.push(sender.frame(a_frame(1))))[-1] == 1
    assert setup.status.refused["mismatched"] == 0


def test_old_descriptions_are_not_kept() -> None:
    """A sender that begins series after series must not fill the memory."""
    setup, first = ReceiverSetup(), Encoder(a_stream())
    setup.push(first.start())
    for _ in range(8):
        other = Encoder(a_stream())
        setup.push(other.start(), other.end(StreamEnd("done")))
    assert setup.push(first.frame(a_frame(0))) == []
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
    setup.push(sender.end(StreamEnd("done")))
    assert setup.push(late) == []
    assert setup.status.refused == {"undescribed": 0, "mismatched": 0, "late": 1}
    assert setup.status.lost == {"source": 0, "transport": 1, "ring": 0}


def test_frames_without_a_description_are_a_state_a_count_and_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    sender, setup = Encoder(a_stream()), ReceiverSetup()
    sender.start()
    for index in range(5):
        assert setup.push(sender.frame(a_frame(index))) == []
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
    events = setup.push(*messages)
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
