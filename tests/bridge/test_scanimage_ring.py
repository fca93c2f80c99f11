"""The connector for ScanImage: ring files written in Python, and by the MATLAB code in GNU Octave."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bridge import scanimage_ring as module
from bridge.scanimage_ring import RingFile, RingSource
from deepbid_rt.errors import FileError, OptionError
from deepbid_rt.frame import Event, Frame, FrameFlag, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSource
from tests import ROOT
from tests.bridge.ring_writer import SLOTS_AT, RingWriter

SHAPE = (2, 4, 6)
WAIT_S = 60.0
OCTAVE = shutil.which("octave-cli")
unlike_windows = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows lets nobody delete or shorten a file that is mapped, nor send Ctrl-C"
)
needs_octave = pytest.mark.skipif(OCTAVE is None, reason="octave-cli (GNU Octave) is not installed")


def picture(number: int, shape: tuple[int, int, int] = SHAPE) -> Any:
    """Pixels (C, Y, X) that differ from frame to frame, with the sentinel of ScanImage among them."""
    pixels = np.random.default_rng(number).integers(-2000, 30000, shape, "i2")
    pixels[0, 1, 2] = -16384
    return pixels


def events_of(source: RingSource, count: int) -> list[Event]:
    """The next events, with pixels of their own."""
    found: list[Event] = []
    until_s = time.monotonic() + WAIT_S
    while len(found) < count and time.monotonic() < until_s:
        event = source.read(0.05)
        if isinstance(event, Frame):
            event = Frame(
                event.index,
                event.pixels.copy(),
                event.t_ns,
                event.arrived_ns,
                event.plane,
                event.flags,
                acquired_s=event.acquired_s,
            )
        found += [event] if event is not None else []
    assert len(found) == count, found
    return found


def read_until_end(source: RingSource) -> list[Event]:
    found = events_of(source, 1)
    while not isinstance(found[-1], StreamEnd):
        found += events_of(source, 1)
    return found


def numbers_of(events: list[Event]) -> list[int]:
    return [event.index for event in events if isinstance(event, Frame)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ring.bin"


@pytest.fixture
def writer(path: Path) -> Iterator[RingWriter]:
    made = RingWriter(path)
    yield made
    made.close()


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[RingSource]:
    source = RingSource(path, **options)
    try:
        source.open()
        yield source
    finally:
        source.close()


class Clock:
    """The clock of the connector; sleeping moves it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, s: float) -> None:
        self.now_s += s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    fake = SimpleNamespace(monotonic=made.monotonic, sleep=made.sleep, time_ns=time.time_ns)
    monkeypatch.setattr(module, "time", fake)
    return made


def test_pixels_and_facts_arrive_unchanged(path: Path, writer: RingWriter) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        for number in (1, 2):
            writer.put(number, picture(number), time_s=number / 30.5, flags=number - 1)
        writer.finish()
        info, first, second, end = read_until_end(source)
    assert isinstance(info, StreamInfo)
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert (info.shape, info.dtype, info.rate_hz, info.planes) == (SHAPE, np.dtype("<i2"), 30.5, 1)
    extra = {
        "kind": "resonant",
        "f_res_hz": 7910.0,
        "dewarped": True,
        "phase_s": 1.25e-6,
        "ff_t": 0.75,
        "ff_s": 0.875,
        "line_period_s": 6.3e-5,
        "zoom": 2.0,
        "software": "ScanImage 5.7.1",
    }
    assert info.scan == ScanGeometry(extra=extra)
    assert info.user == {
        "channels": [{"id": 1, "name": "Green µ"}, {"id": 2, "name": "Red"}],
        "pixel_um": [100.0, 100.0],
    }
    for frame, number in ((first, 1), (second, 2)):
        np.testing.assert_array_equal(frame.pixels, picture(number))
        assert (frame.index, frame.plane, frame.acquired_s) == (number, 0, number / 30.5)
        assert abs(frame.arrived_ns - time.time_ns()) < 60e9
    assert (first.flags, second.flags) == (FrameFlag.NONE, FrameFlag.SATURATED)
    assert end == StreamEnd("done")


def test_unknown_facts_are_left_out(path: Path, writer: RingWriter, caplog: pytest.LogCaptureFixture) -> None:
    nan = float("nan")
    unknown = dict.fromkeys(
        ("line_phase_s", "scanner_hz", "fill_fraction_temporal", "fill_fraction_spatial", "line_period_s", "zoom"), nan
    )
    with opened(path) as source:
        writer.begin(SHAPE, pixel_um_x=nan, resonant=nan, bidirectional=nan, frame_rate_hz=nan, **unknown)
        writer.put(1, picture(1))
        info, frame = events_of(source, 2)
    assert isinstance(info, StreamInfo)
    assert isinstance(frame, Frame)
    assert info.scan == ScanGeometry(extra={"software": "ScanImage 5.7.1"})
    assert "pixel_um" not in info.user
    assert info.rate_hz == 30
    assert "30 Hz is assumed" in caplog.text
    assert frame.acquired_s is None


def test_a_linear_scan_in_one_direction(path: Path, writer: RingWriter) -> None:
    with opened(path, first="backward") as source:
        writer.begin(SHAPE, resonant=0, bidirectional=0)
        writer.put(1, picture(1))
        (info, _) = events_of(source, 2)
    assert isinstance(info, StreamInfo)
    assert (info.scan.bidirectional, info.scan.first, info.scan.extra["kind"]) == (False, "backward", "galvo")
    assert "f_res_hz" not in info.scan.extra
    assert "dewarped" not in info.scan.extra


def test_frames_that_scanimage_left_out_are_a_gap(path: Path, writer: RingWriter) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        for number in (3, 4, 8):
            writer.put(number, picture(number))
        events = events_of(source, 5)
    assert events[3] == Gap(5, 3, "source")
    assert numbers_of(events) == [3, 4, 8]


def test_what_was_written_before_is_left_out(path: Path, writer: RingWriter) -> None:
    """The file may be of yesterday; of a running series only new frames are published, and none counts as lost."""
    writer.begin(SHAPE)
    for number in (1, 2):
        writer.put(number, picture(number))
    with opened(path) as source:
        assert source.read(0) is None
        writer.put(3, picture(3))
        events = events_of(source, 2)
        assert numbers_of(events) == [3]
        writer.finish()
        assert read_until_end(source) == [StreamEnd("done")]


def test_a_series_that_had_ended_before_is_not_published(path: Path, writer: RingWriter) -> None:
    writer.begin(SHAPE)
    writer.put(1, picture(1))
    writer.finish()
    with opened(path) as source:
        assert source.read(0.02) is None
        writer.begin(SHAPE)
        writer.put(1, picture(2))
        assert numbers_of(events_of(source, 2)) == [1]


@pytest.mark.parametrize(("state", "reason"), [(2, "done"), (3, "abort"), (4, "error"), (5, "replaced"), (9, "error")])
def test_reasons_of_the_end(path: Path, writer: RingWriter, state: int, reason: str) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        writer.put(1, picture(1))
        events_of(source, 2)
        writer.finish(state)
        assert events_of(source, 1) == [StreamEnd(reason)]


def test_frames_written_just_before_the_end_are_read(
    path: Path, writer: RingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MATLAB writes the last frames and ends the series after the connector has looked for frames."""
    look = RingFile.may_have_ended

    def interrupted(self: RingFile, series: int) -> bool:
        if writer.written == 1:
            writer.put(2, picture(2))
            writer.finish()
        return look(self, series)

    monkeypatch.setattr(RingFile, "may_have_ended", interrupted)
    with opened(path) as source:
        writer.begin(SHAPE)
        writer.put(1, picture(1))
        events = read_until_end(source)
    assert numbers_of(events) == [1, 2]
    assert not [event for event in events if isinstance(event, Gap)]


def test_short_series_follow_one_another_without_loss(path: Path, writer: RingWriter) -> None:
    """Three slices of a slow stack, all written before the connector looks."""
    with opened(path) as source:
        for slice_ in (1, 2, 3):
            writer.begin(SHAPE, slice=slice_)
            for number in (1, 2):
                writer.put(number, picture(10 * slice_ + number))
            writer.finish(5 if slice_ < 3 else 2)
        events = [*read_until_end(source), *read_until_end(source), *read_until_end(source)]
    infos = [event for event in events if isinstance(event, StreamInfo)]
    assert [info.user["slice"] for info in infos] == [1, 2, 3]
    assert len({info.series for info in infos}) == 3
    assert numbers_of(events) == [1, 2, 1, 2, 1, 2]
    assert [event.reason for event in events if isinstance(event, StreamEnd)] == ["replaced", "replaced", "done"]
    assert not [event for event in events if isinstance(event, Gap)]


def test_another_size_is_a_new_series(path: Path, writer: RingWriter) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        writer.put(1, picture(1))
        events_of(source, 2)
        writer.finish(5)
        writer.begin((1, 8, 16))
        writer.put(2, picture(2, (1, 8, 16)))
        end, info, frame = events_of(source, 3)
    assert end == StreamEnd("replaced")
    assert isinstance(info, StreamInfo)
    assert isinstance(frame, Frame)
    assert info.shape == (1, 8, 16)
    np.testing.assert_array_equal(frame.pixels, picture(2, (1, 8, 16)))


def test_frames_that_a_new_size_overwrote_count_as_lost(path: Path, writer: RingWriter) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        writer.put(1, picture(1))
        events_of(source, 2)
        writer.put(2, picture(2))
        writer.put(3, picture(3))
        writer.finish()
        writer.begin((1, 8, 16))
        assert events_of(source, 2) == [Gap(2, 2, "ring"), StreamEnd("done")]


def test_while_the_slots_change_nothing_is_read(path: Path, writer: RingWriter) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        writer.put(1, picture(1))
        writer.set_word(6, writer.generation + 1)
        assert source.read(0.02) is None
        writer.set_word(6, writer.generation)
        assert numbers_of(events_of(source, 2)) == [1]


def test_a_reader_that_is_too_slow_counts_what_it_lost(path: Path) -> None:
    writer = RingWriter(path, SLOTS_AT + 8 * 192)
    with opened(path) as source:
        writer.begin(SHAPE)
        assert writer.slots == 8
        writer.put(1, picture(1))
        events_of(source, 2)
        for number in (*range(2, 12), *range(14, 30)):  # 12 and 13 were lost by ScanImage
            writer.put(number, picture(number))
        writer.finish()
        events = read_until_end(source)
    writer.close()
    frames = [event for event in events if isinstance(event, Frame)]
    assert [frame.index for frame in frames] == [*range(24, 30)]  # a quarter of the slots is left for the writer
    for frame in frames:
        np.testing.assert_array_equal(frame.pixels, picture(frame.index))
    assert events[:2] == [Gap(2, 20, "ring"), Gap(22, 2, "source")]


def test_frames_lost_at_the_beginning_and_the_end_of_a_series_count(path: Path) -> None:
    writer = RingWriter(path, SLOTS_AT + 8 * 192)
    with opened(path) as source:
        writer.begin(SHAPE)
        for number in range(1, 13):
            writer.put(number, picture(number))
        info, gap, frame = events_of(source, 3)
        assert isinstance(info, StreamInfo)
        assert isinstance(frame, Frame)
        assert gap == Gap(1, 6, "ring")
        assert frame.index == 7
        for number in range(13, 20):  # the slot of 8 is overwritten
            writer.put(number, picture(number))
        writer.finish()
        writer.begin(SHAPE)
        for number in range(1, 9):
            writer.put(number, picture(number))
        events = events_of(source, 4)
    writer.close()
    assert events[:2] == [Gap(8, 12, "ring"), StreamEnd("done")]
    assert isinstance(events[2], StreamInfo)
    assert events[3] == Gap(1, 2, "ring")


def test_a_frame_that_is_overwritten_while_it_is_copied_is_not_published(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RingWriter(path, SLOTS_AT + 8 * 192)
    copy = RingFile.copy_pixels

    def interrupted(self: RingFile, slot: int, into: Any) -> None:
        copy(self, slot, into)
        if writer.written == 8:
            writer.put(9, picture(9))

    monkeypatch.setattr(RingFile, "copy_pixels", interrupted)
    with opened(path) as source:
        writer.begin(SHAPE)
        for number in range(1, 9):
            writer.put(number, picture(number))
        events = events_of(source, 3)
    writer.close()
    assert events[1] == Gap(1, 1, "ring")
    assert numbers_of(events) == [2]


def test_a_slot_that_is_overwritten_while_it_is_looked_at_begins_no_series(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot then names the next series, while frames of this one follow in the other slots."""
    writer = RingWriter(path, SLOTS_AT + 8 * 192)
    head = RingFile.head

    def interrupted(self: RingFile, slot: int) -> tuple[float, ...]:
        if writer.written == 8:
            writer.finish()
            writer.begin(SHAPE)
            writer.put(1, picture(1))
        return head(self, slot)

    monkeypatch.setattr(RingFile, "head", interrupted)
    with opened(path) as source:
        writer.begin(SHAPE)
        for number in range(1, 9):
            writer.put(number, picture(number))
        events = [*read_until_end(source), *events_of(source, 2)]
    writer.close()
    assert numbers_of(events) == [2, 3, 4, 5, 6, 7, 8, 1]
    assert len(infos_of(events)) == 2


def test_a_frame_that_is_not_complete_is_read_again(path: Path, writer: RingWriter, clock: Clock) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        writer.put(1, picture(1), complete=False)
        assert source.read(0.05) is None
        struct.pack_into("<Q", writer.map, writer.slot_at(0), 2)
        (_, frame) = events_of(source, 2)
        assert isinstance(frame, Frame)
        assert frame.index == 1


def test_a_frame_that_stays_incomplete_is_lost(
    path: Path, writer: RingWriter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        writer.put(1, picture(1))
        writer.put(2, picture(2), complete=False)
        writer.put(3, picture(3))
        events = events_of(source, 4)
    assert numbers_of(events) == [1, 3]
    assert events[2] == Gap(2, 1, "ring")
    assert "was not completed" in caplog.text


def test_a_silent_writer_ends_the_series(path: Path, writer: RingWriter, clock: Clock) -> None:
    """Beats keep it alive, for instance while ScanImage waits for a trigger; a frame later begins another series."""
    with opened(path, silence_s=5) as source:
        writer.begin(SHAPE)
        writer.put(1, picture(1))
        (info, _) = events_of(source, 2)
        for _ in range(4):
            assert source.read(4) is None
            writer.beat()
        assert source.read(4) is None
        begin_s = clock.now_s
        assert source.read(60) == StreamEnd("timeout")
        assert clock.now_s - begin_s < 2
        assert source.read(60) is None
        writer.put(7, picture(7))
        again, frame = events_of(source, 2)
    assert isinstance(info, StreamInfo)
    assert isinstance(again, StreamInfo)
    assert isinstance(frame, Frame)
    assert again.series != info.series
    assert frame.index == 7


def test_slow_scans_may_be_silent_for_longer(path: Path, writer: RingWriter, clock: Clock) -> None:
    with opened(path, silence_s=5) as source:
        writer.begin(SHAPE, frame_rate_hz=0.5)
        writer.put(1, picture(1))
        events_of(source, 2)
        assert source.read(19) is None
        assert source.read(2) == StreamEnd("timeout")


def test_a_writer_that_died_and_came_back_begins_a_new_series(path: Path, writer: RingWriter) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        writer.put(1, picture(1))
        events_of(source, 2)
        again = RingWriter(path)
        again.begin(SHAPE)
        again.put(1, picture(5))
        events = events_of(source, 3)
        again.close()
    assert events[0] == StreamEnd("error")
    assert isinstance(events[2], Frame)
    np.testing.assert_array_equal(events[2].pixels, picture(5))


def test_planes_without_flyback_frames(path: Path, writer: RingWriter) -> None:
    """3 planes and 2 fly-back frames, which ScanImage numbers and does not store; frame 7 is lost."""
    with opened(path) as source:
        writer.begin(SHAPE, z=(0, 20, 40), planes=3, flyback=2, frame_rate_hz=30)
        for number in (1, 2, 3, 6, 8, 11):
            writer.put(number, picture(number), place=(number - 1) % 5)
        events = events_of(source, 8)
    info = events[0]
    assert isinstance(info, StreamInfo)
    assert (info.planes, info.rate_hz) == (3, 18)
    assert info.user["plane_z_um"] == [0, 20, 40]
    assert info.user["flyback_frames"] == 2
    frames = [event for event in events if isinstance(event, Frame)]
    assert [(frame.index, frame.plane) for frame in frames] == [(0, 0), (1, 1), (2, 2), (3, 0), (5, 2), (6, 0)]
    assert [event for event in events if isinstance(event, Gap)] == [Gap(4, 1, "source")]


def test_planes_by_frame_numbers_when_scanimage_does_not_say_them(path: Path, writer: RingWriter) -> None:
    with opened(path) as source:
        writer.begin(SHAPE, planes=2, flyback=1)
        for number in range(1, 7):
            writer.put(number, picture(number), place=-1)
        events = events_of(source, 5)
    frames = [event for event in events if isinstance(event, Frame)]
    assert [(frame.index, frame.plane) for frame in frames] == [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert not [event for event in events if isinstance(event, Gap)]


def test_an_acquisition_of_a_loop_that_ended_within_a_volume(path: Path, writer: RingWriter) -> None:
    """Frame numbers go on, and the next volume begins anew: planes stay right, and each comes once in a volume."""
    with opened(path) as source:
        writer.begin(SHAPE, planes=3, flyback=1)
        for number, place in ((1, 0), (2, 1), (3, 0), (4, 1), (5, 2), (7, 0)):
            writer.put(number, picture(number), place=place)
        events = events_of(source, 8)
    frames = [event for event in events if isinstance(event, Frame)]
    assert [(frame.index, frame.plane) for frame in frames] == [(0, 0), (1, 1), (3, 0), (4, 1), (5, 2), (6, 0)]
    assert [event for event in events if isinstance(event, Gap)] == [Gap(2, 1, "source")]


def test_numbers_that_go_back_begin_a_new_series(path: Path, writer: RingWriter) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        for number in (5, 6, 1, 2):
            writer.put(number, picture(number))
        events = events_of(source, 7)
    assert [type(event) for event in events] == [StreamInfo, Frame, Frame, StreamEnd, StreamInfo, Frame, Frame]
    assert events[3] == StreamEnd("replaced")
    assert numbers_of(events) == [5, 6, 1, 2]


@pytest.mark.parametrize(
    "facts",
    [{"channels": 0}, {"lines": 1.5}, {"pixels": 99999}, {"planes": float("nan")}, {"flyback": -1}, {"channels": 3}],
)
def test_a_series_that_contradicts_itself_is_left_out(
    path: Path, writer: RingWriter, caplog: pytest.LogCaptureFixture, facts: dict[str, float]
) -> None:
    with opened(path) as source:
        writer.begin((2, 8, 16), **facts)
        for number in (1, 2):
            writer.put(number, picture(number, (2, 8, 16)))
        assert source.read(0.02) is None
        writer.finish()
        writer.begin((2, 8, 16))
        writer.put(1, picture(1, (2, 8, 16)))
        assert numbers_of(events_of(source, 2)) == [1]
    assert caplog.text.count("is left out") == 1


def test_a_scan_option_that_does_not_fit_leaves_the_series_out(
    path: Path, writer: RingWriter, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(path, layout="collinear") as source:
        writer.begin(SHAPE, bidirectional=0)
        writer.put(1, picture(1))
        assert source.read(0.02) is None
        assert "collinear" in caplog.text
        writer.begin(SHAPE)
        writer.put(1, picture(1))
        info, _ = events_of(source, 2)
        assert isinstance(info, StreamInfo)
        assert info.scan.layout == "collinear"


def test_a_description_that_was_overwritten(path: Path, writer: RingWriter, caplog: pytest.LogCaptureFixture) -> None:
    with opened(path) as source:
        for series in range(1, 7):
            writer.begin(SHAPE)
            writer.put(series, picture(series))
            writer.finish()
        found = [event for _ in range(4) for event in read_until_end(source)]
    assert numbers_of(found) == [3, 4, 5, 6]
    assert caplog.text.count("overwritten by that of series") == 2


def test_a_description_that_is_being_changed_is_read_again(path: Path, writer: RingWriter) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        writer.put(1, picture(1))
        at = writer.block_at(1)
        struct.pack_into("<Q", writer.map, at, 17)
        assert source.read(0.02) is None
        struct.pack_into("<Q", writer.map, at, 18)
        assert numbers_of(events_of(source, 2)) == [1]


@pytest.mark.parametrize("number", [-1.0, 1.5, float("nan"), float("inf")])
def test_a_slot_without_a_frame_number_is_left_out(
    path: Path, writer: RingWriter, caplog: pytest.LogCaptureFixture, number: float
) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        writer.put(number, picture(1))
        writer.put(2, picture(2))
        events = events_of(source, 3)
    assert numbers_of(events) == [2]
    assert "left out" in caplog.text


def test_a_count_that_goes_back_loses_no_later_frames(path: Path, writer: RingWriter) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        for number in (1, 2, 3):
            writer.put(number, picture(number))
        events_of(source, 4)
        writer.written = 0
        writer.set_word(7, 0)
        assert source.read(0.02) is None
        writer.put(4, picture(4))
        assert numbers_of(events_of(source, 1)) == [4]


def test_a_missing_file_is_waited_for_and_said_once(path: Path, caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    with opened(path) as source:
        assert source.read(1) is None
        assert source.read(1) is None
        assert caplog.text.count(f"waiting for {path}") == 1
        path.write_bytes(bytes(100))  # half a header
        assert source.read(1) is None
        path.write_bytes(bytes(1 << 20))  # all of the file but the first word, which comes last
        assert source.read(1) is None
        writer = RingWriter(path)
        writer.begin(SHAPE)
        writer.put(1, picture(1))  # written before the connector looks again
        assert numbers_of(events_of(source, 2)) == [1]
        writer.close()
        assert caplog.text.count("waiting for") == 1


@unlike_windows
def test_a_file_that_is_replaced_or_deleted(path: Path, writer: RingWriter, clock: Clock, tmp_path: Path) -> None:
    with opened(path) as source:
        writer.begin(SHAPE)
        writer.put(1, picture(1))
        events_of(source, 2)
        other = RingWriter(tmp_path / "other.bin")
        other.begin(SHAPE)
        other.put(1, picture(9))
        (tmp_path / "other.bin").replace(path)
        events = events_of(source, 3)
        assert events[0] == StreamEnd("error")
        assert isinstance(events[2], Frame)
        np.testing.assert_array_equal(events[2].pixels, picture(9))
        path.unlink()
        assert events_of(source, 1) == [StreamEnd("error")]
        assert source.read(1) is None
        other.close()


def spoil(path: Path, at: int, bytes_: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes_)


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (lambda path: spoil(path, 0, b"scanbox!"), "begins with b'scanbox!'"),
        (lambda path: spoil(path, 8, b"\x02"), "of version 2"),
        (lambda path: os.truncate(path, 1000), "has 1000 bytes"),
        (lambda path: spoil(path, 24, b"\x01"), "slots begin at byte"),
        (lambda path: spoil(path, 16, struct.pack("<Q", 100)), "slots begin at byte"),
        (lambda path: spoil(path, 32, struct.pack("<Q", 63)), "slots of 63 bytes"),
        (lambda path: spoil(path, 40, struct.pack("<Q", 10**9)), "1000000000 slots"),
        (lambda path: spoil(path, 40, struct.pack("<Q", 0)), "has 0 slots"),
    ],
)
def test_what_is_no_ring_file_is_refused(path: Path, spoilt: Callable[[Path], None], words: str) -> None:
    writer = RingWriter(path)
    writer.begin(SHAPE)
    writer.close()
    spoilt(path)
    with pytest.raises(FileError, match=words), opened(path) as source:
        source.read(0)


def test_a_folder_is_refused_and_so_is_a_file_in_none(tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "none" / "ring.bin"):
        with pytest.raises(FileError, match="correct --file"), opened(wrong):
            pass


@unlike_windows
def test_a_file_that_is_cut_off_is_refused_before_it_is_read(path: Path, writer: RingWriter) -> None:
    """To read behind the end of a mapped file would end the process."""
    with opened(path) as source:
        writer.begin(SHAPE)
        writer.put(1, picture(1))
        events_of(source, 2)
        writer.put(2, picture(2))
        os.truncate(path, SLOTS_AT)
        with pytest.raises(FileError, match="has 36864 bytes"):
            source.read(1)


def test_a_silence_that_is_too_short_is_refused(path: Path) -> None:
    for silence_s in (0, 2.9, float("nan")):
        with pytest.raises(OptionError, match="once a second"):
            RingSource(path, silence_s=silence_s)


FAST = """
import sys
import numpy as np
from pathlib import Path
from tests.bridge.ring_writer import RingWriter
writer = RingWriter(Path(sys.argv[1]), 36864 + 4 * 32832)
writer.begin((1, 128, 128))
pixels = np.empty((1, 128, 128), "<i2")
print(flush=True)
sys.stdin.readline()
for number in range(1, 3001):
    pixels.fill(number)
    writer.put(number, pixels)
writer.finish()
"""


def test_no_torn_frame_of_a_writer_that_never_waits(path: Path) -> None:
    """Another process overwrites 4 slots as fast as it can. Every frame is published whole, or counted as lost."""
    command = [sys.executable, "-c", FAST, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            process.stdout.readline()
            with opened(path) as source:
                process.stdin.write("go\n")
                process.stdin.flush()
                frames = lost = 0
                event: Event | None = None
                until_s = time.monotonic() + WAIT_S
                while not isinstance(event, StreamEnd) and time.monotonic() < until_s:
                    event = source.read(0.1)
                    if isinstance(event, Frame):
                        assert (event.pixels == event.index).all()
                        frames += 1
                    elif isinstance(event, Gap):
                        assert event.cause == "ring"
                        lost += event.count
            assert event == StreamEnd("done")
            assert frames + lost == 3000
            assert frames > 0
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()


# GNU Octave runs the MATLAB code


def octave_command(code: str, *, mapped: bool = False, timers: bool = False) -> list[str]:
    folders = ["bridge/scanimage", "tests/bridge/octave"]
    folders += ["tests/bridge/octave/mapped"] if mapped else []
    folders += ["tests/bridge/octave/timers"] if timers else []
    adds = "".join(f"addpath('{ROOT / folder}');" for folder in folders)
    assert OCTAVE is not None
    return [OCTAVE, "--no-gui", "--norc", "--quiet", "--eval", f"{adds} {code}"]


def octave(code: str, **options: bool) -> str:
    """Run the code, and return all that it says."""
    command = octave_command(code, **options)
    finished = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    said = finished.stdout + finished.stderr
    assert finished.returncode == 0, said
    return said


def expected_picture(number: int) -> Any:
    """What ``octave/pictures.m`` makes, as (C, Y, X)."""
    counts = np.arange(1, 25, dtype=np.int16).reshape(4, 6)
    pixels = np.stack([counts * number - 30, -counts - number]).astype(np.int16)
    pixels[0, 1, 2] = -16384
    return pixels


def connected(path: Path, version: str = "5.7", storage: str = "file") -> str:
    return (
        f"m = Model('{version}'); "
        f"b = deepbid.connect('hSI', m, 'file', '{path}', 'megabytes', 1, 'storage', '{storage}'); "
    )


def scanned(path: Path, code: str, version: str = "5.7", *, mapped: bool = False) -> tuple[list[Event], str]:
    """What the connector publishes of a scan in Octave, and what Octave says. The file must not exist."""
    storage = "map" if mapped else "file"
    with opened(path) as source:
        said = octave(f"{connected(path, version, storage)} {code} deepbid.disconnect();", mapped=mapped)
        events: list[Event] = []
        while (event := source.read(0.5 if not events else 0.02)) is not None:
            if isinstance(event, Frame):
                event = Frame(event.index, event.pixels.copy(), plane=event.plane, acquired_s=event.acquired_s)
            events.append(event)
    return events, said


def infos_of(events: list[Event]) -> list[StreamInfo]:
    return [event for event in events if isinstance(event, StreamInfo)]


def ends_of(events: list[Event]) -> list[str]:
    return [event.reason for event in events if isinstance(event, StreamEnd)]


def golden() -> bytes:
    return gzip.decompress((ROOT / "tests" / "bridge" / "scanimage_ring.bin.gz").read_bytes())


GOLDEN_BYTES = 1 << 20


def test_the_python_writer_makes_the_golden_file(path: Path) -> None:
    """Two series of one size: 3 frames with a gap and an overvoltage, and one frame of an aborted grab."""
    writer = RingWriter(path, GOLDEN_BYTES)
    for series, numbers in enumerate(((1, 2, 5), (1,))):
        writer.begin(SHAPE, pixel_um_y=50.0)
        for number in numbers:
            writer.put(number, expected_picture(number), time_s=(number - 1) / 30.5, flags=number == 5)
        writer.finish(2 + series)
    writer.close()
    assert path.read_bytes() == golden()


@needs_octave
@pytest.mark.parametrize("mapped", [False, True], ids=["fwrite", "memmapfile"])
def test_octave_makes_the_golden_file(path: Path, mapped: bool) -> None:
    storage = "map" if mapped else "file"
    octave(
        f"""m = Model('5.7');
        b = deepbid.connect('hSI', m, 'file', '{path}', 'megabytes', 1, 'storage', '{storage}');
        m.start('grab'); m.frame(pictures(1)); m.frame(pictures(2));
        m.frame(pictures(5), 'frameNumberAcqMode', 5, 'frameTimestamp', 4 / 30.5, 'overvoltage', true);
        m.complete(); m.start('grab'); m.frame(pictures(1)); m.abort(); deepbid.disconnect();""",
        mapped=mapped,
    )
    assert path.read_bytes() == golden()


def test_the_golden_file_is_read(path: Path) -> None:
    path.write_bytes(golden())
    with opened(path) as source:
        source._next = source._from = 0  # not an old file
        events = [*read_until_end(source), *read_until_end(source)]
    assert numbers_of(events) == [1, 2, 5, 1]
    assert ends_of(events) == ["done", "abort"]
    for frame in (event for event in events if isinstance(event, Frame)):
        np.testing.assert_array_equal(frame.pixels, expected_picture(frame.index))
        assert frame.acquired_s == (frame.index - 1) / 30.5
        assert frame.flags == (FrameFlag.SATURATED if frame.index == 5 else FrameFlag.NONE)


@needs_octave
@pytest.mark.parametrize("version", ["5.7", "2020", "2023"])
def test_versions_of_scanimage(path: Path, version: str) -> None:
    events, said = scanned(path, "m.start('focus'); m.frame(pictures(1)); m.abort();", version)
    (info,) = infos_of(events)
    software = {"5.7": "ScanImage 5.7.1", "2020": "ScanImage 2020.1.4", "2023": "ScanImage 2023.1"}[version]
    assert info.scan.extra["software"] == software
    assert (info.shape, info.rate_hz, info.user["pixel_um"]) == (SHAPE, 30.5, [50.0, 100.0])
    assert [one["name"] for one in info.user["channels"]] == ["Green µ", "Red"]
    assert ends_of(events) == ["done"]  # a focus has no other end
    assert "frames_per_slice" not in info.user  # infinitely many
    assert "warning: deepbid" not in said


@needs_octave
def test_a_version_that_lacks_properties_streams_without_them_and_says_so(path: Path) -> None:
    events, said = scanned(path, "m.start('grab'); m.frame(pictures(1)); m.complete();", "old")
    (info,) = infos_of(events)
    assert said.count("does not give: line_phase_s, fill_fraction_temporal. The stream goes without.") == 1
    assert "phase_s" not in info.scan.extra
    assert info.rate_hz == 30.5  # by the frame period
    assert info.user["pixel_um"] == [75.0, 100.0]  # by the angle
    assert info.scan.extra["f_res_hz"] == 7910
    assert [one["name"] for one in info.user["channels"]] == ["Channel 1", "Channel 2"]
    assert numbers_of(events) == [1]


@needs_octave
def test_ends_of_acquisitions(path: Path) -> None:
    """ScanImage announces acqAbort at every end. A loop whose acquisitions are whole is done."""
    events, _ = scanned(
        path,
        """m.start('grab'); m.frame(pictures(1)); m.complete();
        m.start('grab'); m.frame(pictures(1)); m.abort();
        m.start('loop'); m.frame(pictures(1)); m.hUserFunctions.notify('acqDone'); m.frame(pictures(2)); m.abort();
        m.start('loop'); m.frame(pictures(1)); m.hUserFunctions.notify('acqDone'); m.abort();""",
    )
    assert ends_of(events) == ["done", "abort", "abort", "done"]
    assert numbers_of(events) == [1, 1, 1, 2, 1]


@needs_octave
def test_end_of_scanimage_and_of_the_connection(path: Path) -> None:
    events, said = scanned(
        path,
        """m.start('grab'); m.frame(pictures(1)); m.hUserFunctions.notify('applicationWillClose');
        m.start('grab'); m.frame(pictures(1)); deepbid.disconnect(); m.frame(pictures(2));
        m.start('grab'); m.frame(pictures(3));""",
    )
    assert ends_of(events) == ["abort", "abort"]
    assert numbers_of(events) == [1, 1]
    assert "warning: deepbid" not in said


@needs_octave
def test_facts_are_read_when_they_are_final(path: Path) -> None:
    """ScanImage announces the start before it sets up the acquisition."""
    events, _ = scanned(path, "m.start('focus'); m.hScan2D.linePhase = 3e-6; m.frame(pictures(1));")
    assert infos_of(events)[0].scan.extra["phase_s"] == 3e-6


@needs_octave
@pytest.mark.parametrize("change", ["m.hScan2D.linePhase = 2e-6;", "m.hRoiManager.scanZoomFactor = 4;"])
def test_zoom_and_line_phase_begin_a_new_series(path: Path, change: str) -> None:
    events, _ = scanned(
        path,
        f"m.start('focus'); m.frame(pictures(1)); m.frame(pictures(2)); {change} m.frame(pictures(3)); m.abort();",
    )
    first, second = infos_of(events)
    assert first.scan.extra != second.scan.extra
    assert numbers_of(events) == [1, 2, 3]
    assert ends_of(events) == ["replaced", "done"]


@needs_octave
def test_a_size_that_changes_while_the_connector_follows(path: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    code = f"""{connected(path)} m.start('focus'); m.frame(pictures(1)); m.abort();
        while ~exist('{go}', 'file'), pause(0.01); end
        m.start('focus'); p = pictures(2); m.frame({{p{{1}}(:, 1:3)}}); m.abort();"""
    with opened(path) as source, subprocess.Popen(octave_command(code), stderr=subprocess.DEVNULL) as process:
        try:
            assert numbers_of(read_until_end(source)) == [1]
            go.touch()
            info, frame, _ = read_until_end(source)
            assert isinstance(info, StreamInfo)
            assert isinstance(frame, Frame)
            assert info.shape == (1, 3, 6)
            np.testing.assert_array_equal(frame.pixels, expected_picture(2)[:1, :3])
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()


@needs_octave
def test_frames_that_scanimage_averages_for_its_display_are_sent_as_they_were(path: Path) -> None:
    """With a rolling average ScanImage keeps each frame as int32, which MATLAB does not put into a map of int16."""
    averaged = "cellfun(@int32, pictures(4), 'UniformOutput', false)"
    events, said = scanned(path, f"m.start('focus'); m.frame({averaged});", mapped=True)
    (frame,) = [event for event in events if isinstance(event, Frame)]
    np.testing.assert_array_equal(frame.pixels, expected_picture(4))
    assert "warning: deepbid" not in said


@needs_octave
def test_images_that_are_not_transposed_are_turned(path: Path) -> None:
    turned = "cellfun(@transpose, pictures(4), 'UniformOutput', false)"
    events, said = scanned(path, f"m.start('focus'); m.frame({turned}, 'transposed', false);")
    (frame,) = [event for event in events if isinstance(event, Frame)]
    np.testing.assert_array_equal(frame.pixels, expected_picture(4))
    assert "warning: deepbid" not in said


@needs_octave
@pytest.mark.parametrize("said_transposed", [True, False])
def test_sizes_are_believed_before_transposed(path: Path, said_transposed: bool) -> None:
    images = "cellfun(@transpose, pictures(4), 'UniformOutput', false)" if said_transposed else "pictures(4)"
    events, said = scanned(
        path, f"m.start('focus'); m.frame({images}, 'transposed', {str(said_transposed).lower()}); m.frame({images});"
    )
    frame = next(event for event in events if isinstance(event, Frame))
    np.testing.assert_array_equal(frame.pixels, expected_picture(4))
    assert said.count(f"transposed = {int(said_transposed)}, but its images") == 1


@needs_octave
def test_square_frames_that_are_not_transposed_are_warned_of(path: Path) -> None:
    events, said = scanned(path, "m.start('focus'); m.frame({int16([1 2; 3 4])}, 'transposed', false);")
    (frame,) = [event for event in events if isinstance(event, Frame)]
    assert frame.pixels.tolist() == [[[1, 2], [3, 4]]]
    assert said.count("Check that the scan lines are horizontal") == 1


@needs_octave
def test_square_frames_are_stored_line_by_line(path: Path) -> None:
    """Column 1 of the matrix in MATLAB is line 0: nothing is to be permuted."""
    events, said = scanned(path, "m.start('focus'); m.frame({int16([1 3; 2 4])});")
    (frame,) = [event for event in events if isinstance(event, Frame)]
    assert frame.pixels.tolist() == [[[1, 2], [3, 4]]]
    assert "warning: deepbid" not in said


@needs_octave
def test_volumes_with_flyback_frames(path: Path) -> None:
    """ScanImage announces a fly-back frame while its buffer still holds the frame before."""
    events, _ = scanned(
        path,
        "m.volumes([0 25 50], 2); m.start('grab'); for k = 1:10, m.frame(pictures(k)); end, m.complete();",
    )
    (info,) = infos_of(events)
    assert (info.planes, info.user["plane_z_um"], info.user["flyback_frames"]) == (3, [0, 25, 50], 2)
    assert info.rate_hz == pytest.approx(30.5 * 3 / 5)
    frames = [event for event in events if isinstance(event, Frame)]
    assert [(frame.index, frame.plane) for frame in frames] == [(0, 0), (1, 1), (2, 2), (3, 0), (4, 1), (5, 2)]
    np.testing.assert_array_equal(frames[3].pixels, expected_picture(6))
    assert not [event for event in events if isinstance(event, Gap)]
    assert ends_of(events) == ["done"]  # although the last frame was a fly-back frame


@needs_octave
def test_each_slice_of_a_slow_stack_is_a_series(path: Path) -> None:
    events, _ = scanned(
        path,
        """m.hStackManager.isSlowZ = true; m.hStackManager.framesPerSlice = 2; m.start('grab');
        for k = 1:6, m.frame(pictures(k), 'zIdx', k); end, m.complete();""",
    )
    assert [info.user["slice"] for info in infos_of(events)] == [1, 2, 3]
    assert [info.planes for info in infos_of(events)] == [1, 1, 1]
    assert infos_of(events)[0].user["frames_per_slice"] == 2
    assert ends_of(events) == ["replaced", "replaced", "done"]
    assert numbers_of(events) == [1, 2, 3, 4, 5, 6]


@needs_octave
def test_lost_frames_are_seen_in_the_numbers(path: Path) -> None:
    events, _ = scanned(
        path, "m.start('grab'); m.frame(pictures(1)); m.frame(pictures(2), 'frameNumberAcqMode', 9); m.complete();"
    )
    assert [event for event in events if isinstance(event, Gap)] == [Gap(2, 7, "source")]


@needs_octave
def test_numbers_that_fall_begin_a_new_series(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    events, _ = scanned(
        path,
        "m.start('grab'); m.frame(pictures(1)); m.frame(pictures(2)); m.frame(pictures(1), 'frameNumberAcqMode', 1);",
    )
    assert numbers_of(events) == [1, 2, 1]
    assert len(infos_of(events)) == 2
    assert "went back" not in caplog.text  # MATLAB itself has seen it


def with_rois(rois: str) -> str:
    """Code that announces a frame of these ROIs."""
    stripe = f"s = struct('frameNumberAcqMode', 1, 'roiData', {rois});"
    return f"{stripe} m.hDisplay.stripeDataBuffer = {{s, s}}; m.hUserFunctions.notify('frameAcquired');"


@needs_octave
@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        ("m.hUserFunctions.notify('frameAcquired');", "has no hDisplay.stripeDataBuffer"),
        (with_rois("{{}}"), "Line scans have no frames"),
        (with_rois("{{1, 2}}"), "2 ROIs in a plane"),
        ("m.frame({zeros(512, 512, 'int16')});", "does not fit 4 times into the ring file of 1 MiB"),
    ],
)
def test_what_the_bridge_cannot_send_it_says_once_and_scanimage_goes_on(path: Path, spoilt: str, words: str) -> None:
    events, said = scanned(
        path,
        f"m.start('focus'); {spoilt} {spoilt} m.abort(); printf('scanning\\n');"
        "m.start('focus'); m.frame(pictures(3)); m.abort();",
    )
    assert said.count(words) == 1
    assert said.count("ScanImage goes on") == 1
    assert "scanning" in said
    assert numbers_of(events) == [1]


@needs_octave
def test_an_error_within_a_series_ends_it(path: Path) -> None:
    events, said = scanned(
        path,
        "m.start('focus'); m.frame(pictures(1)); m.frame({cell(6, 4), cell(6, 4)}); m.frame(pictures(3)); m.abort();",
    )
    assert numbers_of(events) == [1]
    assert ends_of(events) == ["error"]
    assert said.count("No frames are sent until the next acquisition starts") == 1


@needs_octave
def test_connected_while_an_acquisition_runs(path: Path) -> None:
    code = f"""m = Model('5.7'); m.start('focus'); m.frame(pictures(1));
        b = deepbid.connect('hSI', m, 'file', '{path}', 'megabytes', 1, 'storage', 'file'); m.frame(pictures(2));
        m.abort(); m.frame(pictures(3)); deepbid.disconnect();"""
    with opened(path) as source:
        octave(code)
        events = read_until_end(source)
        assert source.read(0.02) is None
    assert numbers_of(events) == [2]
    assert ends_of(events) == ["done"]


@needs_octave
def test_connected_again_goes_on_in_the_same_file(path: Path) -> None:
    code = f"""{connected(path)} m.start('focus'); m.frame(pictures(1));
        b = deepbid.connect('hSI', m, 'file', '{path}', 'megabytes', 1, 'storage', 'file'); m.frame(pictures(2));
        m.abort(); disp(b.frames);"""
    octave(code)
    first = RingWriter(path)
    assert (first.series, first.generation) == (2, 4)
    first.close()
    with opened(path) as source:
        octave(f"{connected(path)} m.start('focus'); m.frame(pictures(4)); m.abort();")
        events = read_until_end(source)
    assert numbers_of(events) == [1]
    np.testing.assert_array_equal(next(e for e in events if isinstance(e, Frame)).pixels, expected_picture(4))


@needs_octave
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a movie of somebody else", "is not a ring file"), (b"", ""), (b"DBRTRING" + bytes(5000), "")],
)
def test_a_file_that_is_there_already(path: Path, content: bytes, words: str) -> None:
    """A ring file of another size, or an unfinished one, is made anew; any other file is left alone."""
    path.write_bytes(content)
    code = f"try, {connected(path)} catch e, disp(e.message); end"
    said = octave(code)
    assert words in said
    assert (path.read_bytes() == content) == bool(words)
    if not words:
        assert path.stat().st_size == 1 << 20
        assert path.read_bytes()[:8] == b"DBRTRING"


@needs_octave
@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("deepbid.connect()", "no hSI in the workspace"),
        ("deepbid.connect('hSI', struct('VERSION_MAJOR', '3.8'))", "ScanImage 3.8) has no hUserFunctions"),
        ("deepbid.connect('port', 1)", "takes pairs"),
        ("deepbid.connect('file')", "takes pairs"),
        ("deepbid.connect('megabytes', 'many')", "number from 1 to 65536"),
        ("deepbid.connect('megabytes', 0)", "number from 1 to 65536"),
        ("deepbid.connect('hSI', Model('5.7'), 'file', '/none/ring.bin', 'storage', 'file')", "Check the folder"),
    ],
)
def test_wrong_calls_say_what_to_do(call: str, words: str) -> None:
    assert words in octave(f"try, {call}; catch e, disp(e.message); end")


@needs_octave
def test_another_size_of_the_file_while_the_connector_follows(path: Path, tmp_path: Path) -> None:
    """MATLAB makes a new file. The connector, which has mapped the old one, goes on with it."""
    go = tmp_path / "go"
    code = f"""{connected(path)} m.start('focus'); m.frame(pictures(1)); m.abort();
        while ~exist('{go}', 'file'), pause(0.01); end
        b = deepbid.connect('hSI', m, 'file', '{path}', 'megabytes', 2, 'storage', 'file');
        m.start('focus'); m.frame(pictures(2)); m.abort();"""
    with opened(path) as source, subprocess.Popen(octave_command(code), stderr=subprocess.DEVNULL) as process:
        try:
            assert numbers_of(read_until_end(source)) == [1]
            go.touch()
            frame = read_until_end(source)[1]
            assert isinstance(frame, Frame)
            np.testing.assert_array_equal(frame.pixels, expected_picture(2))
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()


@needs_octave
def test_a_version_without_an_event_is_refused(path: Path) -> None:
    said = octave(
        f"""m = Model('5.7'); m.hUserFunctions.unknown = 'acqDone';
        try, deepbid.connect('hSI', m, 'file', '{path}', 'megabytes', 1, 'storage', 'file');
        catch e, disp(e.message); end, m.start('grab'); m.frame(pictures(1)); disp(isempty(deepbid.connection()));"""
    )
    assert "(ScanImage 5.7.1) has no event acqDone" in said
    assert "1" in said.splitlines()  # Octave may add a line of its own while it exits
    writer = RingWriter(path)
    assert writer.series == 0  # the listeners that could be made are gone
    writer.close()


@needs_octave
def test_a_timer_shows_that_matlab_lives_until_it_is_disconnected(path: Path) -> None:
    said = octave(
        f"""{connected(path)} t = timer_made(); t.fire(); t.fire(); disp([t.Period, t.running]);
        deepbid.disconnect(); disp(t.running); deepbid.disconnect();""",
        timers=True,
    )
    assert [line.split() for line in said.splitlines() if line[:1] == " " or line in "01"] == [["1", "1"], ["0"]]
    writer = RingWriter(path)
    assert writer.word(9) == 2
    writer.close()


# End to end

SCAN = """
m = Model('2023'); m.hRoiManager.pixelsPerLine = 40; m.hRoiManager.linesPerFrame = 30;
b = deepbid.connect('hSI', m, 'file', '%s', 'megabytes', 4, 'storage', 'file');
while ~exist('%s', 'file'), pause(0.01); end
m.start('grab'); for k = 1:200, m.frame(waves(k)); pause(0.001); end, m.complete(); deepbid.disconnect();
"""


@needs_octave
def test_octave_to_the_subscriber(path: Path, tmp_path: Path) -> None:
    """200 frames of 2 channels, 30 lines and 40 pixels: all pixels and facts arrive over ZeroMQ."""
    go = tmp_path / "go"
    relay = [sys.executable, str(ROOT / "bridge" / "scanimage_ring.py"), "--file", str(path)]
    relay += ["--bind", "tcp://127.0.0.1:0", "--series", "1", "--wait", str(WAIT_S), "--name", "rig7"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = octave_command(SCAN % (path, go))
    with (
        subprocess.Popen(relay, stdout=subprocess.PIPE, text=True, env=environment) as process,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as scan,
    ):
        try:
            source = ZmqSource(process.stdout.readline().removeprefix("publishing on ").strip())
            source.open()
            try:
                events: list[Event] = []
                until_s = time.monotonic() + WAIT_S
                go.touch()
                while not ends_of(events) and time.monotonic() < until_s:
                    event = source.read(0.1)
                    events += [event] if event is not None else []
                    if isinstance(event, Frame):
                        assert_scanned(event)
            finally:
                source.close()
            assert numbers_of(events) == list(range(1, 201))
            (info,) = infos_of(events)
            assert (info.source, info.shape, info.rate_hz) == ("rig7", (2, 30, 40), 30.5)
            assert info.scan.extra["phase_s"] == 1.25e-6
            assert info.user["channels"][0] == {"id": 1, "name": "Green µ"}
            assert ends_of(events) == ["done"]
            assert scan.wait(WAIT_S) == 0
            assert process.wait(WAIT_S) == 0
            assert json.loads(process.stdout.read().splitlines()[-1]) == {"series": 1, "frames": 200, "lost": 0}
        finally:
            process.kill()
            scan.kill()


def assert_scanned(frame: Frame) -> None:
    y, x = np.mgrid[:30, :40]
    first = (x * 7 + y * 13 + frame.index * 31) % 4096 - 100
    second = (x * 5 + y * 3 + frame.index * 17) % 2048
    np.testing.assert_array_equal(frame.pixels, np.stack([first, second]))
    assert frame.acquired_s == (frame.index - 1) / 30.5


def run_relay(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bridge" / "scanimage_ring.py"), "--bind", "tcp://127.0.0.1:0", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, env=environment, check=False)


def test_wrong_options_of_the_program_say_what_to_do(tmp_path: Path) -> None:
    for options, words in (
        (["--silence", "1"], "--silence 1"),
        (["--file", str(tmp_path)], "correct --file"),
    ):
        finished = run_relay(*options)
        assert finished.returncode == 2
        assert words in finished.stderr
        assert "Traceback" not in finished.stderr


@unlike_windows
def test_the_program_waits_and_stops_when_asked(path: Path) -> None:
    command = [sys.executable, str(ROOT / "bridge" / "scanimage_ring.py"), "--bind", "tcp://127.0.0.1:0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, "--file", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout.readline().startswith("publishing on")
            assert f"waiting for {path}" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()
