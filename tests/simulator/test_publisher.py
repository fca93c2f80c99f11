"""Publishing: the right rate on a fake clock, continuing or restarting frame numbers, and simulated faults."""

import threading
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Event, Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.simulator.publisher import Faults, LossySink, Publisher, PublishSummary

PIXELS = np.zeros((1, 2, 2), np.int16)


class FewFrames:
    """A source of a few frames, optionally with a gap; starts again after each open."""

    def __init__(self, n: int, *, planes: int = 1, gap_after: int | None = None, first: int = 0) -> None:
        self.info = StreamInfo((1, 2, 2), np.dtype("<i2"), 20.0, planes=planes, n_expected=n)
        self.events: list[Event] = [self.info]
        index = first
        for number in range(n):
            if number == gap_after:
                self.events.append(Gap(index, 3, "source"))
                index += 3
            self.events.append(Frame(index, PIXELS, plane=index % planes))
            index += 1
        self.events.append(StreamEnd("done"))
        self.place: int | None = None
        self.opened = self.closed = 0

    def open(self) -> None:
        self.place, self.opened = 0, self.opened + 1

    def read(self, timeout_s: float) -> Event | None:
        assert timeout_s <= 1
        if self.place is None or self.place == len(self.events):
            return None
        self.place += 1
        return self.events[self.place - 1]

    def close(self) -> None:
        self.place, self.closed = None, self.closed + 1


class RecordingSink:
    """A sink that keeps every call."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def start(self, info: StreamInfo) -> None:
        self.events.append(info)

    def put(self, frame: Frame) -> None:
        self.events.append(frame)

    def skip(self, gap: Gap) -> None:
        self.events.append(gap)

    def end(self, end: StreamEnd) -> None:
        self.events.append(end)

    def close(self) -> None:
        raise AssertionError("the publisher must not close the sink")

    def all(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def numbers(self) -> list[int]:
        return [frame.index for frame in self.all(Frame)]


class LossyRecordingSink(RecordingSink):
    def __init__(self) -> None:
        super().__init__()
        self.lost: list[int] = []

    def drop(self, frame: Frame) -> None:
        self.lost.append(frame.index)


class FakeTime:
    def __init__(self) -> None:
        self.now_s = 50.0

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def wall_ns(self) -> int:
        return round(self.now_s * 1e9)


def play(source: FewFrames, sink: RecordingSink, **more: Any) -> PublishSummary:
    time = FakeTime()
    return Publisher(source, sink, clock=time.clock, sleep=time.sleep, wall_ns=time.wall_ns, **more).run()


def test_a_source_is_played_completely_at_its_rate() -> None:
    source, sink = FewFrames(5, gap_after=2), RecordingSink()
    summary = play(source, sink)
    assert [type(event) for event in sink.events] == [StreamInfo, Frame, Frame, Gap, Frame, Frame, Frame, StreamEnd]
    assert sink.numbers == [0, 1, 5, 6, 7]
    assert sink.all(Gap) == [Gap(2, 3, "source")]
    assert sink.all(StreamInfo) == [source.info]
    assert [frame.t_ns for frame in sink.all(Frame)] == [50_000_000_000 + k * 50_000_000 for k in range(5)]
    assert summary == PublishSummary(5, 0, (source.info.series,), pytest.approx(20.0), 0.0)
    assert (source.opened, source.closed) == (1, 1)


def test_the_rate_can_be_set() -> None:
    sink = RecordingSink()
    summary = play(FewFrames(11), sink, rate_hz=400.0)
    assert summary.rate_hz == pytest.approx(400.0)
    assert sink.all(StreamInfo)[0].rate_hz == 400.0


@pytest.mark.parametrize("first", [0, 40])
def test_frame_numbers_continue_over_rounds(first: int) -> None:
    source, sink = FewFrames(3, gap_after=1, first=first), RecordingSink()
    summary = play(source, sink, rounds=3)
    assert sink.numbers == [0, 4, 5, 6, 10, 11, 12, 16, 17]
    assert [gap.first for gap in sink.all(Gap)] == [1, 7, 13]
    assert len(sink.all(StreamInfo)) == len(sink.all(StreamEnd)) == 1
    assert sink.all(StreamInfo)[0].n_expected == 9
    assert (source.opened, source.closed) == (3, 3)
    assert summary.sent == 9
    assert summary.rate_hz == pytest.approx(20.0)


def test_a_round_begins_with_the_first_plane() -> None:
    sink = RecordingSink()
    play(FewFrames(5, planes=2), sink, rounds=2)
    assert sink.numbers == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert all(frame.index % 2 == frame.plane for frame in sink.all(Frame))


@given(n=st.integers(1, 25), restart=st.integers(1, 10), planes=st.integers(1, 3), rounds=st.integers(1, 2))
def test_a_restart_begins_a_new_series_from_0(n: int, restart: int, planes: int, rounds: int) -> None:
    sink = RecordingSink()
    summary = play(FewFrames(n, planes=planes), sink, rounds=rounds, faults=Faults(restart=restart))
    series: list[list[Frame]] = []
    for event in sink.events:
        if isinstance(event, StreamInfo):
            assert event.n_expected is None
            series.append([])
        elif isinstance(event, Frame):
            series[-1].append(event)
    assert len(series) == len(sink.all(StreamEnd)) == len(set(summary.series)) == len(summary.series)
    assert sum(map(len, series)) == summary.sent == n * rounds
    for frames in series:
        assert frames[0].index == 0
        assert all(frame.index % planes == frame.plane for frame in frames)
    whole = -(-restart // planes) * planes
    assert all(restart <= len(frames) <= whole + planes * rounds for frames in series[:-1])
    if rounds == 1:
        assert all(len(frames) == whole for frames in series[:-1])


@pytest.mark.parametrize("sink", [RecordingSink(), LossyRecordingSink()])
def test_dropped_frames_are_counted_and_the_rest_is_sent(sink: RecordingSink) -> None:
    summary = play(FewFrames(2000), sink, faults=Faults(drop=0.1, seed=3))
    assert summary.sent + summary.dropped == 2000
    assert summary.dropped == pytest.approx(200, abs=50)
    assert len(sink.numbers) == summary.sent
    assert summary.rate_hz == pytest.approx(20.0)
    if isinstance(sink, LossyRecordingSink):
        assert sorted(sink.lost + sink.numbers) == list(range(2000))
    assert isinstance(sink, LossySink) == isinstance(sink, LossyRecordingSink)
    again = RecordingSink()
    play(FewFrames(2000), again, faults=Faults(drop=0.1, seed=3, jitter_ms=5.0))
    assert again.numbers == sink.numbers


def test_losses_and_delays_are_independent() -> None:
    sink = RecordingSink()
    play(FewFrames(1000), sink, faults=Faults(drop=0.5, jitter_ms=40.0))
    late_ms = [(frame.t_ns - 50_000_000_000) / 1e6 - 50.0 * frame.index for frame in sink.all(Frame)]
    assert min(late_ms) < 2
    assert max(late_ms) > 38


@settings(max_examples=20)
@given(jitter_ms=st.floats(0, 400), seed=st.integers(0, 99))
def test_jitter_delays_frames_but_does_not_add_up(jitter_ms: float, seed: int) -> None:
    sink = RecordingSink()
    summary = play(FewFrames(300), sink, faults=Faults(jitter_ms=jitter_ms, seed=seed))
    late_ms = [(frame.t_ns - 50_000_000_000) / 1e6 - 50.0 * frame.index for frame in sink.all(Frame)]
    assert min(late_ms) > -1e-3
    assert max(late_ms) < jitter_ms + 1e-3
    if 1 < jitter_ms < 50:
        assert np.ptp(late_ms) > 0.8 * jitter_ms
    assert summary.slipped_s == 0


def test_a_slow_sink_delays_the_schedule_without_a_burst() -> None:
    time = FakeTime()

    class SlowSink(RecordingSink):
        def put(self, frame: Frame) -> None:
            super().put(frame)
            if frame.index == 3:
                time.now_s += 10.0

    sink = SlowSink()
    summary = Publisher(FewFrames(10), sink, clock=time.clock, sleep=time.sleep, wall_ns=time.wall_ns).run()
    sent_s = [frame.t_ns / 1e9 - 50.0 for frame in sink.all(Frame)]
    assert summary.slipped_s == pytest.approx(10.0 - 0.1)
    assert Counter(round(second, 3) for second in sent_s).most_common(1)[0][1] <= 2


def test_a_stop_ends_the_series_as_aborted() -> None:
    stop = threading.Event()

    class StoppingSink(RecordingSink):
        def put(self, frame: Frame) -> None:
            super().put(frame)
            if frame.index == 4:
                stop.set()

    source, sink = FewFrames(100), StoppingSink()
    summary = play(source, sink, stop=stop, rounds=3)
    assert summary.sent == 5
    assert sink.events[-1] == StreamEnd("abort")
    assert (source.opened, source.closed) == (1, 1)


def test_a_stop_interrupts_the_wait_for_the_next_frame() -> None:
    stop = threading.Event()
    sink = RecordingSink()
    player = threading.Thread(target=Publisher(FewFrames(10), sink, rate_hz=1e-3, stop=stop).run, daemon=True)
    player.start()
    stop.set()
    player.join(10.0)
    assert not player.is_alive()
    assert len(sink.numbers) <= 1


def test_an_error_of_the_sink_is_raised_and_the_source_is_closed() -> None:
    class BrokenSink(RecordingSink):
        def put(self, frame: Frame) -> None:
            raise OSError("disk full")

    source = FewFrames(3)
    with pytest.raises(OSError, match="disk full"):
        play(source, BrokenSink())
    assert source.closed == 1


def test_a_source_that_sends_frames_first_is_refused() -> None:
    source = FewFrames(3)
    del source.events[0]
    with pytest.raises(StreamError) as caught:
        play(source, RecordingSink())
    assert str(caught.value) == (
        "frame 0 before any description of its stream; expected a source that returns a StreamInfo first; "
        "correct the source."
    )


@pytest.mark.parametrize("fields", [{"drop": 1.5}, {"drop": -0.1}, {"jitter_ms": -1.0}, {"restart": 0}])
def test_impossible_faults_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(StreamError) as caught:
        Faults(**fields)
    faults = {"drop": 0.0, "jitter_ms": 0.0, "restart": None} | fields
    assert str(caught.value) == (
        f"faults of drop {faults['drop']}, jitter {faults['jitter_ms']} ms and restart {faults['restart']}; expected "
        "drop in 0..1, jitter of at least 0 ms and a restart after at least 1 frame; correct the option."
    )
