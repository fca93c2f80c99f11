"""The feed of the viewer, with real sockets."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deepbid_rt.frame import Frame, FrameFlag, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.live.frame_pairing import FramePairing
from deepbid_rt.viewer.feed import Feed, denoised_source, raw_source
from deepbid_rt.viewer.image_pair import ImagePair
from deepbid_rt.viewer.roi import Roi
from deepbid_rt.viewer.viewer_model import ViewerModel
from deepbid_rt.wire.beat_status import BeatStatus
from deepbid_rt.zmq_io import ZmqSink
from tests.viewer.stand_ins import a_frame, an_info

ANY = "tcp://127.0.0.1:0"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def until(reached: Callable[[], Any]) -> Any:
    for _ in range(4000):
        if result := reached():
            return result
        threading.Event().wait(0.005)
    return pytest.fail("never reached")


def a_sink(stack: ExitStack, role: str) -> ZmqSink:
    sink = ZmqSink(ANY, role=role, beat_s=0.05)
    stack.callback(sink.close)
    return sink


def watched(stack: ExitStack, *, with_raw: bool = True) -> tuple[Feed, ZmqSink, ZmqSink]:
    denoised, raw = a_sink(stack, "den"), a_sink(stack, "raw")
    feed = Feed(denoised_source(denoised.endpoint), raw_source(raw.endpoint) if with_raw else None)
    stack.callback(feed.close)
    feed.open()
    assert denoised.wait_for_subscriber(10)
    assert not with_raw or raw.wait_for_subscriber(10)
    return feed, denoised, raw


def test_frames_of_both_streams_are_joined_and_kept(stack: ExitStack) -> None:
    feed, denoised, raw = watched(stack)
    raw.start(StreamInfo((1, 8, 6), np.dtype("<i2"), 30.0, ScanGeometry("collinear")))
    denoised.start(an_info())
    until(lambda: feed.raw.status().state == "live" and feed.denoised.status().state == "live" and feed.info)
    for n in range(20):
        raw.put(a_frame(n, n, (1, 8, 6)))
        denoised.put(a_frame(n, 2 * n, t_ns=0))  # time 0 matches every raw frame of the same number
    pairs = until(lambda: len(feed.pairs()) == 20 and feed.pairs())
    for n, pair in enumerate(pairs):
        assert (pair.index, pair.shape) == (n, (1, 4, 6))
        assert (pair.denoised == 2 * n).all()
    complete = [pair for pair in pairs if pair.raw is not None]
    assert complete, "no raw frame was joined"
    assert all((pair.raw == pair.index).all() for pair in complete)
    assert feed.newest.take().index == 19
    assert feed.newest.skipped <= 19
    assert feed.input_hz() > 0


def test_a_feed_may_start_before_the_session_and_survives_its_restart(stack: ExitStack) -> None:
    denoised = a_sink(stack, "den")
    endpoint = denoised.endpoint
    denoised.close()
    feed = Feed(denoised_source(endpoint))
    stack.callback(feed.close)
    feed.open()
    assert feed.state() == "waiting"
    for restart in range(2):
        sink = ZmqSink(endpoint, role="den", beat_s=0.05)
        try:
            sink.start(an_info())
            until(lambda restart=restart: feed.series == restart + 1)
            until(lambda: feed.state() == "live")
            frame = iter(range(100_000))
            until(lambda sink=sink, frame=frame: sink.put(a_frame(next(frame), 5)) or feed.newest.take())
            if restart:
                sink.end(StreamEnd("done"))
                until(lambda: feed.state() == "ended")
        finally:
            sink.close()


def test_a_change_of_size_within_a_series_is_reported_and_the_next_series_is_shown(stack: ExitStack) -> None:
    feed, denoised, _ = watched(stack, with_raw=False)
    denoised.start(an_info())
    denoised.put(a_frame(0, 1))
    until(feed.newest.take)
    with denoised._lock:  # a correct sink would never do this
        denoised._encoder.info = replace(denoised._encoder.info, shape=(1, 2, 2))
    denoised.put(a_frame(1, 1, (1, 2, 2)))
    status = until(lambda: feed.denoised.status().refused["mismatched"] and feed.denoised.status())
    assert "(1, 2, 2)" in status.problem
    assert "(1, 2, 2)" in ViewerModel(feed).facts().message
    assert feed.failure is None
    denoised.start(an_info((2, 3, 5)))
    denoised.put(a_frame(0, 4, (2, 3, 5)))
    assert until(feed.newest.take).shape == (2, 3, 5)
    assert feed.series == 2


def test_the_error_that_ends_a_reading_thread_is_reported(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: Feed, _pairs: list[ImagePair]) -> None:
        raise ZeroDivisionError("inside")

    feed, denoised, _ = watched(stack, with_raw=False)
    monkeypatch.setattr(Feed, "_push_pairs", broken)
    denoised.start(an_info())
    denoised.put(a_frame(0, 1))
    until(lambda: feed.failure)
    assert "ZeroDivisionError" in feed.messages[-1]


def test_the_status_of_the_session_arrives(stack: ExitStack) -> None:
    feed, denoised, raw = watched(stack, with_raw=False)
    said = BeatStatus("running", 5, 4, engine="average", raw_endpoint=raw.endpoint)
    denoised.set_status(said.to_map)
    denoised.start(an_info())
    report = until(lambda: BeatStatus.from_map(feed.denoised.status().sender).engine and feed.denoised.status())
    assert BeatStatus.from_map(report.sender) == said
    feed.connect_raw(raw_source(said.raw_endpoint))
    assert raw.wait_for_subscriber(10)


def test_without_a_session_the_raw_stream_is_shown_alone(stack: ExitStack) -> None:
    feed, _, raw = watched(stack)
    raw.start(an_info())
    raw.put(a_frame(3, 9))
    pair = until(feed.newest.take)
    assert (pair.index, pair.denoised) == (3, None)
    assert feed.state() == "live"


def test_only_the_chosen_plane_is_shown(stack: ExitStack) -> None:
    feed, denoised, _ = watched(stack, with_raw=False)
    denoised.start(an_info(planes=2))
    until(lambda: feed.info)
    feed.plane = 1
    for n in range(6):
        denoised.put(a_frame(n, n, plane=n % 2))
    assert [p.index for p in until(lambda: len(feed.pairs()) == 3 and feed.pairs())] == [1, 3, 5]
    assert feed.newest.take().plane == 1


def test_regions_are_measured_in_every_frame_even_if_few_are_displayed(stack: ExitStack) -> None:
    feed, denoised, _ = watched(stack, with_raw=False)
    feed.follow(Roi("roi 1", "rectangle", ((0.0, 0.0), (6.0, 4.0))))
    denoised.start(an_info())
    for n in range(30):
        denoised.put(a_frame(n, n))
    text = io.StringIO()
    until(lambda: len(feed.pairs()) == 30)
    assert feed.write_csv(text) == 30


def test_a_feed_may_be_closed_twice_and_before_it_is_opened() -> None:
    feed = Feed(denoised_source("tcp://127.0.0.1:9"))
    feed.close()
    feed.close()


def test_the_feed_copies_pixels(stack: ExitStack) -> None:
    """The source overwrites its buffers, so kept pairs must not share them."""
    feed, denoised, _ = watched(stack, with_raw=False)
    denoised.start(an_info())
    for n in range(50):
        denoised.put(Frame(n, np.full((1, 4, 6), n, np.int16), t_ns=n + 1))
    pairs = until(lambda: feed.pairs() and feed.pairs()[-1].index == 49 and feed.pairs())
    assert all((pair.denoised == pair.index).all() for pair in pairs)


def test_frames_that_were_not_denoised_keep_their_mark_over_the_network(stack: ExitStack) -> None:
    feed, denoised, _ = watched(stack, with_raw=False)
    denoised.start(an_info())
    for n in range(4):
        denoised.put(a_frame(n, n, flags=FrameFlag.NOT_DENOISED if n == 2 else FrameFlag.NONE))
    pairs = until(lambda: len(feed.pairs()) == 4 and feed.pairs())
    assert [pair.not_denoised for pair in pairs] == [False, False, True, False]


def test_a_pair_knows_when_its_raw_frame_arrived_even_if_the_frame_itself_is_gone(stack: ExitStack) -> None:
    feed, denoised, raw = watched(stack)
    feed._pairing = FramePairing(max_raw=0)
    raw.start(an_info())
    denoised.start(an_info())
    until(lambda: feed.raw.status().state == "live" and feed.denoised.status().state == "live" and feed.info)
    raw.put(a_frame(0, 1))
    raw.put(a_frame(1, 1))
    until(lambda: 1 in feed._raw_arrived)
    before_ns = time.time_ns()
    denoised.put(a_frame(0, 2))
    pair = until(feed.newest.take)
    assert pair.raw is None
    assert pair.raw_seen
    assert 0 < pair.arrived_ns < before_ns


def test_messages_are_bounded_and_escaped() -> None:
    feed = Feed(denoised_source("tcp://127.0.0.1:9"))
    for n in range(1000):
        feed.say(f"{n} \x1b[2J\n" + "x" * 10_000)
    assert len(feed.messages) == 8
    assert all(message.isprintable() and len(message) <= 300 for message in feed.messages)


def test_a_flood_of_series_and_beats_is_survived(stack: ExitStack) -> None:
    feed, denoised, _ = watched(stack, with_raw=False)
    denoised.set_status(lambda: {"engine": "x" * 20_000, "alarms": [{"kind": "sink", "text": "y" * 500}] * 60})
    for _ in range(300):
        denoised.start(an_info())
    denoised.put(a_frame(0, 7))
    assert until(feed.newest.take).index == 0
    report = until(lambda: BeatStatus.from_map(feed.denoised.status().sender).alarms)
    assert (len(report), len(report[0].text)) == (16, 300)
    assert feed.failure is None
