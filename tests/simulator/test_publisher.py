"""Publishing: true rate on a fake clock, numbers that go on or start anew, and faults that do what they say."""

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


class Recording:
    """A source of a few frames, with a gap when asked for; plays again after each open."""

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


class Listener:
    """A sink that keeps everything it is told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def start(self, info: StreamInfo) -> None:
        self.heard.append(info)

    def put(self, frame: Frame) -> None:
        self.heard.append(frame)

    def skip(self, gap: Gap) -> None:
        self.heard.append(gap)

    def end(self, end: StreamEnd) -> None:
        self.heard.append(end)

    def close(self) -> None:
        raise AssertionError("the sink belongs to its owner")

    def all(self, kind: type) -> list[Any]:
        return [heard for heard in self.heard if isinstance(heard, kind)]

    @property
    def numbers(self) -> list[int]:
        return [frame.index for frame in self.all(Frame)]


class LossyListener(Listener):
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


def play(source: Recording, sink: Listener, **more: Any) -> PublishSummary:
    time = FakeTime()
    return Publisher(source, sink, clock=time.clock, sleep=time.sleep, wall_ns=time.wall_ns, **more).run()


def test_a_source_is_played_whole_at_its_rate() -> None:
    source, sink = Recording(5, gap_after=2), Listener()
    summary = play(source, sink)
    assert [type(heard) for heard in sink.heard] == [StreamInfo, Frame, Frame, Gap, Frame, Frame, Frame, StreamEnd]
    assert sink.numbers == [0, 1, 5, 6, 7]
    assert sink.all(Gap) == [Gap(2, 3, "source")]
    assert sink.all(StreamInfo) == [source.info]
    assert [frame.t_ns for frame in sink.all(Frame)] == [50_000_000_000 + k * 50_000_000 for k in range(5)]
    assert summary == PublishSummary(5, 0, (source.info.series,), pytest.approx(20.0), 0.0)
    assert (source.opened, source.closed) == (1, 1)


def test_the_rate_can_be_set() -> None:
    sink = Listener()
    summary = play(Recording(11), sink, rate_hz=400.0)
    assert summary.rate_hz == pytest.approx(400.0)
    assert sink.all(StreamInfo)[0].rate_hz == 400.0


@pytest.mark.parametrize("first", [0, 40])
def test_rounds_go_on_counting(first: int) -> None:
    source, sink = Recording(3, gap_after=1, first=first), Listener()
    summary = play(source, sink, rounds=3)
    assert sink.numbers == [0, 4, 5, 6, 10, 11, 12, 16, 17]
    assert [gap.first for gap in sink.all(Gap)] == [1, 7, 13]
    assert len(sink.all(StreamInfo)) == len(sink.all(StreamEnd)) == 1
    assert sink.all(StreamInfo)[0].n_expected == 9
    assert (source.opened, source.closed) == (3, 3)
    assert summary.sent == 9
    assert summary.rate_hz == pytest.approx(20.0)


def test_a_round_begins_with_a_whole_volume() -> None:
    sink = Listener()
    play(Recording(5, planes=2), sink, rounds=2)
    assert sink.numbers == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert all(frame.index % 2 == frame.plane for frame in sink.all(Frame))


@given(n=st.integers(1, 25), restart=st.integers(1, 10), planes=st.integers(1, 3), rounds=st.integers(1, 2))
def test_a_restart_begins_a_new_series_from_0(n: int, restart: int, planes: int, rounds: int) -> None:
    sink = Listener()
    summary = play(Recording(n, planes=planes), sink, rounds=rounds, faults=Faults(restart=restart))
    series: list[list[Frame]] = []
    for heard in sink.heard:
        if isinstance(heard, StreamInfo):
            assert heard.n_expected is None
            series.append([])
        elif isinstance(heard, Frame):
            series[-1].append(heard)
    assert len(series) == len(sink.all(StreamEnd)) == len(set(summary.series)) == len(summary.series)
    assert sum(map(len, series)) == summary.sent == n * rounds
    for frames in series:
        assert frames[0].index == 0
        assert all(frame.index % planes == frame.plane for frame in frames)
    whole = -(-restart // planes) * planes
    assert all(restart <= len(frames) <= whole + planes * rounds for frames in series[:-1])
    if rounds == 1:
        assert all(len(frames) == whole for frames in series[:-1])


@pytest.mark.parametrize("sink", [Listener(), LossyListener()])
def test_dropped_frames_are_lost_on_the_wire_only(sink: Listener) -> None:
    summary = play(Recording(2000), sink, faults=Faults(drop=0.1, seed=3))
    assert summary.sent + summary.dropped == 2000
    assert summary.dropped == pytest.approx(200, abs=50)
    assert len(sink.numbers) == summary.sent
    assert summary.rate_hz == pytest.approx(20.0)
    if isinstance(sink, LossyListener):
        assert sorted(sink.lost + sink.numbers) == list(range(2000))
    assert isinstance(sink, LossySink) == isinstance(sink, LossyListener)
    again = Listener()
    play(Recording(2000), again, faults=Faults(drop=0.1, seed=3, jitter_ms=5.0))
    assert again.numbers == sink.numbers


def test_being_lost_has_nothing_to_do_with_being_late() -> None:
    sink = Listener()
    play(Recording(1000), sink, faults=Faults(drop=0.5, jitter_ms=40.0))
    late_ms = [(frame.t_ns - 50_000_000_000) / 1e6 - 50.0 * frame.index for frame in sink.all(Frame)]
    assert min(late_ms) < 2
    assert max(late_ms) > 38


@settings(max_examples=20)
@given(jitter_ms=st.floats(0, 400), seed=st.integers(0, 99))
def test_jitter_makes_frames_late_but_never_adds_up(jitter_ms: float, seed: int) -> None:
    sink = Listener()
    summary = play(Recording(300), sink, faults=Faults(jitter_ms=jitter_ms, seed=seed))
    late_ms = [(frame.t_ns - 50_000_000_000) / 1e6 - 50.0 * frame.index for frame in sink.all(Frame)]
    assert min(late_ms) > -1e-3
    assert max(late_ms) < jitter_ms + 1e-3
    if 1 < jitter_ms < 50:
        assert np.ptp(late_ms) > 0.8 * jitter_ms
    assert summary.slipped_s == 0


def test_a_slow_sink_slips_the_schedule_instead_of_bursting() -> None:
    time = FakeTime()

    class Slow(Listener):
        def put(self, frame: Frame) -> None:
            super().put(frame)
            if frame.index == 3:
                time.now_s += 10.0

    sink = Slow()
    summary = Publisher(Recording(10), sink, clock=time.clock, sleep=time.sleep, wall_ns=time.wall_ns).run()
    sent_s = [frame.t_ns / 1e9 - 50.0 for frame in sink.all(Frame)]
    assert summary.slipped_s == pytest.approx(10.0 - 0.1)
    assert Counter(round(second, 3) for second in sent_s).most_common(1)[0][1] <= 2


def test_a_stop_ends_the_series_as_aborted() -> None:
    stop = threading.Event()

    class Impatient(Listener):
        def put(self, frame: Frame) -> None:
            super().put(frame)
            if frame.index == 4:
                stop.set()

    source, sink = Recording(100), Impatient()
    summary = play(source, sink, stop=stop, rounds=3)
    assert summary.sent == 5
    assert sink.heard[-1] == StreamEnd("abort")
    assert (source.opened, source.closed) == (1, 1)


def test_a_stop_interrupts_the_wait_for_the_next_frame() -> None:
    stop = threading.Event()
    sink = Listener()
    player = threading.Thread(target=Publisher(Recording(10), sink, rate_hz=1e-3, stop=stop).run, daemon=True)
    player.start()
    stop.set()
    player.join(10.0)
    assert not player.is_alive()
    assert len(sink.numbers) <= 1


def test_an_error_of_the_sink_goes_through_and_closes_the_source() -> None:
    class Broken(Listener):
        def put(self, frame: Frame) -> None:
            raise OSError("disk full")

    source = Recording(3)
    with pytest.raises(OSError, match="disk full"):
        play(source, Broken())
    assert source.closed == 1


def test_a_source_that_sends_frames_first_is_refused() -> None:
    source = Recording(3)
    del source.events[0]
    with pytest.raises(StreamError) as caught:
        play(source, Listener())
    assert str(caught.value) == (
        "frame 0 before any description of its stream; expected a source to hand out a StreamInfo first; "
        "correct the source."
    )


@pytest.mark.parametrize("fields", [{"drop": 1.5}, {"drop": -0.1}, {"jitter_ms": -1.0}, {"restart": 0}])
def test_faults_that_cannot_be_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(StreamError) as caught:
        Faults(**fields)
    faults = {"drop": 0.0, "jitter_ms": 0.0, "restart": None} | fields
    assert str(caught.value) == (
        f"faults of drop {faults['drop']}, jitter {faults['jitter_ms']} ms and restart {faults['restart']}; expected "
        "drop in 0..1, jitter of at least 0 ms and a restart after at least 1 frame; correct the option."
    )
