"""Samples of recordings, and of live streams over sockets of this computer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.doctor import collect
from deepbid_rt.doctor.collect import from_recording, from_stream
from deepbid_rt.errors import StageError, StreamError
from deepbid_rt.frame import Frame, FrameFlag, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.movies.movie_source import MovieSource
from deepbid_rt.movies.wanted import Wanted
from deepbid_rt.wire.source_status import SourceStatus
from deepbid_rt.zmq_io import ZmqSink, ZmqSource

INFO = StreamInfo((1, 16, 12), np.dtype("<i2"), 30.0)
IDLE = SourceStatus("waiting", 0, {}, {}, {}, 0)


def frame(index: int, value: int | None = None, **more: object) -> Frame:
    pixels = np.arange(192, dtype=np.int16).reshape(1, 16, 12) + np.int16(index if value is None else value)
    return Frame(index, pixels, **more)


class Script:
    """A source that delivers events without waiting, on a clock that each read turns by 0.1 s."""

    def __init__(self, events: list[object], status: SourceStatus = IDLE) -> None:
        self.events, self.now_s, self._status = list(events), 0.0, status

    def open(self) -> None: ...

    def close(self) -> None: ...

    def read(self, timeout_s: float) -> object:
        self.now_s += 0.1
        return self.events.pop(0) if self.events else None

    def status(self) -> SourceStatus:
        return IDLE if any(isinstance(event, Frame) for event in self.events) else self._status

    def clock(self) -> float:
        return self.now_s


def taken(events: list[object], status: SourceStatus = IDLE, seconds: float = 100.0):
    script = Script(events, status)
    return from_stream(script, "tcp://scope:5590", seconds, 10.0, script.clock)


def test_frames_gaps_and_repeats_are_counted() -> None:
    events = [INFO, frame(0), frame(1), Gap(2, 3, "source"), frame(5, 1), frame(6), StreamEnd("done")]
    status = replace(IDLE, duplicates=2, refused={"late": 1}, bad={"crc": 4})
    sample = taken(events, status)
    assert sample.indices.tolist() == [0, 1, 5, 6]
    stamps = sample.stamps
    assert (stamps.missing, stamps.repeated, stamps.duplicates, stamps.refused) == (3, 1, 2, 5)
    assert stamps.live
    np.testing.assert_array_equal(sample.frames[2], frame(5, 1).pixels)


def test_the_source_may_reuse_its_array() -> None:
    one = frame(0)
    script = Script([INFO, one])
    sample = from_stream(script, "a", 1.0, 1.0, script.clock)
    one.pixels[...] = 0
    assert sample.frames.any()


def test_it_ends_after_the_seconds_that_were_asked_for() -> None:
    sample = taken([INFO, *(frame(n) for n in range(500))], seconds=2.0)
    assert 18 <= len(sample.frames) <= 22


def test_a_new_series_replaces_the_first_once_it_has_a_frame() -> None:
    other = replace(INFO, shape=(1, 4, 12), series="b")
    assert taken([INFO, frame(0), frame(1), other]).info is INFO
    found = taken([INFO, frame(0), other, Frame(7, np.ones((1, 4, 12), np.int16))])
    assert (found.info, found.indices.tolist()) == (other, [7])


def test_fly_back_frames_are_no_pictures() -> None:
    sample = taken([INFO, frame(0), frame(1, flags=FrameFlag.FLYBACK), frame(2)])
    assert sample.indices.tolist() == [0, 2]
    assert sample.stamps.indices.tolist() == [0, 1, 2]


@pytest.mark.parametrize("events", [[], [INFO], [INFO, StreamEnd("done")], [INFO] * 1000])
def test_a_source_without_frames_ends_with_one_sentence(events: list[object]) -> None:
    script = Script(events, replace(IDLE, problem="nobody answers at scope:5590"))
    with pytest.raises(StreamError) as caught:
        from_stream(script, "tcp://scope:5590", 5.0, 10.0, script.clock)
    assert str(caught.value) == (
        "no frame from tcp://scope:5590 within 10 s (nobody answers at scope:5590); expected frames of a running "
        "acquisition; start the acquisition, check the address, or wait longer with --timeout."
    )
    assert script.now_s < 11


def test_refused_messages_are_named_when_no_frame_comes() -> None:
    with pytest.raises(StreamError, match="4 messages that were refused, and no frame from"):
        taken([INFO], replace(IDLE, bad={"version": 4}))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "MOST_PIXELS", 192 * 5)
    sample = taken([INFO, *(frame(n) for n in range(40))])
    assert len(sample.frames) == 5
    assert len(sample.stamps.indices) == 40


def test_of_large_frames_pairs_of_lines_in_the_middle_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "MOST_FRAME_PIXELS", 12 * 7)
    sample = taken([INFO, frame(0)])
    assert sample.frames.shape == (1, 1, 6, 12)
    assert sample.first_line == 4
    assert sample.notes == ("the frames are large: only lines 4 to 9 were looked at",)
    np.testing.assert_array_equal(sample.frames[0], frame(0).pixels[:, 4:10])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    movie = np.stack([frame(n).pixels[0] for n in range(40)])
    tifffile.imwrite(tmp_path / "movie.tif", movie, photometric="minisblack")
    return tmp_path / "movie.tif"


def of_file(path: Path, wanted: Wanted | None = None):
    with closing(MovieSource(path, wanted, scan=ScanGeometry())) as source:
        source.open()
        return from_recording(source)


def test_a_short_recording_is_taken_whole(recording: Path) -> None:
    sample = of_file(recording)
    assert sample.indices.tolist() == list(range(40))
    assert not sample.stamps.live
    assert not sample.stamps.numbered
    assert not sample.rate_known


def test_of_a_long_recording_runs_from_all_over_are_taken(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "MOST_FRAMES", 16)
    sample = of_file(recording)
    assert sample.indices.tolist() == [*range(4), *range(12, 16), *range(24, 28), *range(36, 40)]
    assert [len(run) for run in sample.runs(0, 0)] == [4, 4, 4, 4]
    assert sample.stamps.repeated == 0


def test_planes_stay_whole(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "MOST_FRAMES", 17)
    sample = of_file(recording, Wanted(planes=4))
    assert sample.planes.tolist() == [0, 1, 2, 3] * (len(sample.planes) // 4)
    assert (sample.indices % 4 == sample.planes).all()


def test_a_recording_that_is_not_open_is_refused(recording: Path) -> None:
    with pytest.raises(StageError, match="a recording that is not open"):
        from_recording(MovieSource(recording, scan=ScanGeometry()))


@contextmanager
def published(frames: list[Frame], info: StreamInfo) -> Iterator[ZmqSource]:
    """A source that receives frames again and again until the context ends."""
    stop = threading.Event()
    sink = ZmqSink("tcp://127.0.0.1:0", role="raw")

    def send() -> None:
        if not sink.wait_for_subscriber(10):
            return
        sink.start(info)
        for turn in range(1000):
            for one in frames:
                sink.put(replace(one, index=one.index + turn * (frames[-1].index + 1)))
                if stop.wait(0.005):
                    sink.end(StreamEnd("done"))
                    return

    sender = threading.Thread(target=send)
    with closing(sink):
        source = ZmqSource(sink.endpoint, default_layout="ordinary")
        with closing(source):
            source.open()
            sender.start()
            try:
                yield source
            finally:
                stop.set()
                sender.join()


def test_a_live_stream_that_lacks_frames() -> None:
    with published([frame(n) for n in range(10) if n != 4], INFO) as source:
        sample = from_stream(source, "here", 0.5, 10.0)
    stamps = sample.stamps
    assert stamps.missing > 0
    assert 4 not in set((stamps.indices % 10).tolist())
    assert (stamps.arrived_ns > 0).all()
