"""The connector for ThorImageLS: a stand-in writes a raw file in both ways, as a recording goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge import thorimage
from bridge.thorimage import ThorImageSource
from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.frame import Frame, FrameFlag, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSource
from tests import ROOT
from tests.movies.test_thorimage import experiment

LINES, PIXELS = 12, 10  # as `experiment` writes them
PAGE = 2 * LINES * PIXELS
RATE_HZ = 400.0
WAIT_S = 20.0
WAYS = ("append", "fill")


def picture(number: int, channel: int = 0) -> Any:
    """Pixels (Y, X) that differ from frame to frame, with the number in the first pixel; some are zero."""
    pixels = np.random.default_rng(10 * number + channel).integers(0, 4000, (LINES, PIXELS), "u2")
    pixels[pixels < 800] = 0
    pixels[0, 0] = number
    pixels[-1, -1] = 4095
    return pixels


class ThorImage:
    """Records an experiment: the XML first, then the raw file, by appending frames or by filling a file of zeros."""

    def __init__(self, folder: Path, way: str = "append", *, frames: int = 6, stored: int = 1, **xml: Any) -> None:
        self.folder, self.way, self.frames, self.stored = folder, way, frames, stored
        self.raw = folder / "Image_0001_0001.raw"
        experiment(folder, **{"Streaming_frames": frames, "LSM_frameRate": RATE_HZ, "channels": stored, **xml})
        self.number = 0
        self.begin()

    def begin(self) -> None:
        """Make the file, or make it anew."""
        self.number = 0
        with self.raw.open("wb") as file:
            if self.way == "fill":
                file.truncate(self.frames * self.stored * PAGE)

    def pixels(self, number: int) -> bytes:
        return np.stack([picture(number, channel) for channel in range(self.stored)]).tobytes()

    def put(self, data: bytes, start: int) -> None:
        with self.raw.open("r+b") as file:
            file.seek(start)
            file.write(data)

    def record(self, count: int = 1, *, black: bool = False) -> None:
        for _ in range(count):
            data = self.pixels(self.number)
            self.put(bytes(len(data)) if black else data, self.number * len(data))
            self.number += 1

    def begin_frame(self, part: float) -> None:
        """Write the first part of the next frame."""
        data = self.pixels(self.number)
        self.put(data[: int(part * len(data))], self.number * len(data))

    def stop(self) -> None:
        """Cut the file off behind the last frame, as ThorImageLS does when a recording is stopped."""
        os.truncate(self.raw, self.number * self.stored * PAGE)


@pytest.fixture(autouse=True)
def look_often(monkeypatch):
    monkeypatch.setattr(thorimage, "_LOOK_S", 0.05)


@pytest.fixture
def source(tmp_path):
    made = ThorImageSource(tmp_path, idle_s=0.6)
    made.open()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "mouse7_001"


def next_event(source, wait_s=WAIT_S):
    """The next event, with a copy of the pixels, which are valid until the next `read` only."""
    event = source.read(wait_s)
    if isinstance(event, Frame):
        return Frame(event.index, event.pixels.copy(), event.t_ns, event.arrived_ns, event.plane, event.flags)
    return event


def events_of(source, count):
    return [next_event(source) for _ in range(count)]


def whole_series(source):
    """Events up to the end of the series."""
    events = [next_event(source)]
    while not isinstance(events[-1], StreamEnd):
        events.append(next_event(source))
        assert events[-1] is not None, f"silence after {events[-2]}"
    return events


def assert_right(frames, numbers, channels=(0,)):
    assert [frame.index for frame in frames] == list(numbers)
    for frame in frames:
        assert frame.pixels.shape == (len(channels), LINES, PIXELS)
        for place, channel in enumerate(channels):
            np.testing.assert_array_equal(frame.pixels[place], picture(frame.index, channel))
        assert frame.flags == FrameFlag.NONE


@pytest.mark.parametrize("way", WAYS)
def test_a_recording_is_a_series_while_it_is_written(source, folder, way):
    assert source.read(0.01) is None
    thor = ThorImage(folder, way)
    before_ns = time.time_ns()
    thor.record(2)
    info, first = events_of(source, 2)
    assert (info.shape, info.dtype, info.planes, info.n_expected) == ((1, LINES, PIXELS), np.dtype("<u2"), 1, 6)
    assert info.rate_hz == RATE_HZ
    assert info.scan == ScanGeometry()
    assert info.user == {
        "software": "ThorImageLS 5.0.2023.10041",
        "experiment": "mouse7_001",
        "channels": ["ChanA"],
        "pixel_um": [0.884, 0.884],
    }
    frames = [first]
    for _ in range(4):
        frames.append(next_event(source))
        thor.record(1)
    frames.append(next_event(source))
    assert_right(frames, range(6))
    assert before_ns <= first.arrived_ns <= frames[-1].arrived_ns <= time.time_ns()
    assert next_event(source) == StreamEnd("done")
    assert source.read(0.6) is None


@pytest.mark.parametrize("way", WAYS)
def test_a_frame_that_is_half_written_is_not_published(tmp_path, folder, way):
    source = ThorImageSource(tmp_path, idle_s=60)
    source.open()
    thor = ThorImage(folder, way, frames=3)
    thor.record(1)
    thor.begin_frame(0.5)
    assert_right([events_of(source, 2)[1]], [0])
    assert source.read(0.4) is None
    thor.record(1)
    assert_right([next_event(source)], [1])
    source.close()


def test_a_frame_whose_writer_hangs_comes_late_and_is_marked(source, folder):
    thor = ThorImage(folder, "fill", frames=3)
    thor.record(1)
    thor.begin_frame(0.5)
    _, _, half, end = whole_series(source)
    assert (half.index, half.flags, end) == (1, FrameFlag.INCOMPLETE, StreamEnd("timeout"))


@pytest.mark.parametrize(
    ("way", "stored", "mask", "only", "picked", "certain"),
    [
        *((way, 1, 1, 1, [0], True) for way in WAYS),
        *((way, 2, 3, 1, [0, 1], True) for way in WAYS),
        *((way, 4, 15, 0, [0, 1, 2, 3], True) for way in WAYS),
        ("fill", 4, 5, 0, [0, 2], True),
        ("fill", 2, 3, 0, [0, 1], True),
        ("fill", 4, 1, 0, [0], True),
        ("append", 4, 5, 0, [0, 2], False),
        ("append", 1, 1, 0, [0], False),
    ],
)
def test_channels_are_those_that_are_enabled(source, folder, way, stored, mask, only, picked, certain, caplog):
    thor = ThorImage(folder, way, stored=stored, mask=mask, RawData_onlyEnabledChannels=only, frames=3)
    thor.record(1)
    events = events_of(source, 1)  # nobody knows yet how long the file will be
    thor.record(2)
    info, *frames, _ = events + whole_series(source)
    assert info.user["channels"] == [f"Chan{'ABCD'[channel]}" for channel in picked]
    assert_right(frames, range(3), picked)
    assert ("leaves open" in caplog.text) is not certain


def test_channels_can_be_given(tmp_path, folder):
    source = ThorImageSource(tmp_path, channels=2, idle_s=0.5)
    source.open()
    thor = ThorImage(folder, stored=2, mask=3, RawData_onlyEnabledChannels=0, frames=3)
    thor.record(3)
    _, *frames, _ = whole_series(source)
    assert_right(frames, range(3), [0, 1])
    source.close()


@pytest.mark.parametrize("way", WAYS)
def test_planes_come_in_turn_and_fly_back_frames_are_left_out(source, folder, way):
    xml = {"Streaming_zFastEnable": 1, "ZStage_steps": 3, "Streaming_flybackFrames": 2}
    thor = ThorImage(folder, way, frames=13, **xml)
    thor.record(13)
    info, *frames, end = whole_series(source)
    assert (info.planes, info.n_expected, info.user["flyback_frames"], end) == (3, 9, 2, StreamEnd("done"))
    assert info.rate_hz == pytest.approx(RATE_HZ * 3 / 5)
    assert [(frame.index, frame.plane) for frame in frames] == [(k, k % 3) for k in range(9)]
    for frame in frames:
        np.testing.assert_array_equal(frame.pixels[0], picture(frame.index // 3 * 5 + frame.plane))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("black", [1, 7, 40, 200])
def test_black_frames_are_frames(source, folder, way, black, monkeypatch):
    monkeypatch.setattr(thorimage, "_LOOK_S", 0.25)
    thor = ThorImage(folder, way, frames=999)
    begin_s = time.monotonic()
    thor.record(2)
    thor.record(black, black=True)
    thor.record(black)
    _, *frames, end = whole_series(source)
    assert end == StreamEnd("timeout")
    assert [frame.index for frame in frames] == list(range(2 + 2 * black))
    assert [frame.pixels.any() for frame in frames] == [True] * 2 + [False] * black + [True] * black
    assert time.monotonic() - begin_s < 40  # it looks ahead once for all of them


def test_black_frames_at_the_end_of_a_growing_file_are_frames(source, folder):
    thor = ThorImage(folder, frames=9)
    thor.record(2)
    first = events_of(source, 3)
    thor.record(3, black=True)
    *frames, end = whole_series(source)
    assert ([frame.index for frame in first[1:] + frames], end) == ([0, 1, 2, 3, 4], StreamEnd("timeout"))


def test_a_length_shorter_than_announced_proves_nothing(source, folder):
    thor = ThorImage(folder, "fill", frames=7)
    experiment(folder, Streaming_frames=9, LSM_frameRate=RATE_HZ)
    assert source.read(0.6) is None
    thor.record(2)
    thor.begin_frame(0.5)
    assert_right(events_of(source, 3)[1:], [0, 1])
    assert source.read(0.2) is None
    thor.record(4)
    thor.begin_frame(0.5)
    assert_right(events_of(source, 4), range(2, 6))
    assert source.read(0.2) is None
    thor.record(1)
    assert_right([next_event(source)], [6])


@pytest.mark.parametrize("way", WAYS)
def test_a_recording_that_is_stopped_ends_after_its_last_frame(source, folder, way):
    thor = ThorImage(folder, way, frames=50)
    thor.record(4)
    events = events_of(source, 2)
    thor.record(3)
    thor.stop()
    events += whole_series(source)
    assert_right([event for event in events if isinstance(event, Frame)], range(7))
    assert events[-1] == StreamEnd("timeout")
    assert source.read(0.6) is None


def test_a_file_that_is_cut_off_after_the_end_is_not_read_again(source, folder):
    thor = ThorImage(folder, "fill", frames=50)
    thor.record(7)
    assert_right(whole_series(source)[1:-1], range(7))
    thor.stop()
    assert source.read(0.8) is None


@pytest.mark.parametrize("way", WAYS)
def test_a_recording_that_goes_on_after_a_pause_is_another_series(source, folder, way):
    thor = ThorImage(folder, way, frames=8)
    thor.record(3)
    first = whole_series(source)
    assert_right(first[1:-1], range(3))
    assert first[-1] == StreamEnd("timeout")
    before = thor.raw.stat()
    thor.record(5)
    if way == "fill":  # Windows does not change the time of a file whose pages are written
        os.utime(thor.raw, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = whole_series(source)
    assert second[0].series != first[0].series
    assert_right(second[1:-1], range(3, 8))
    assert second[-1] == StreamEnd("done")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("again", ["anew", "replaced"])
def test_a_file_that_is_written_anew_is_another_series(source, folder, way, again):
    thor = ThorImage(folder, way, frames=9)
    thor.record(4)
    events_of(source, 4)
    if again == "replaced":
        thor.raw.unlink()
    thor.begin()
    thor.record(2)
    events = []
    while not events or not isinstance(events[-1], StreamEnd):
        events.append(next_event(source))
    assert events[-1] == StreamEnd("replaced")
    assert {event.index for event in events[:-1]} <= {3}
    thor.record(7)
    info, *frames, end = whole_series(source)
    assert (type(info), end) == (StreamInfo, StreamEnd("done"))
    assert_right(frames, range(9))


def test_a_file_that_becomes_shorter_is_noticed_at_once(source, folder):
    """It could grow beyond the present frame before folders are looked through."""
    thor = ThorImage(folder, frames=9)
    thor.record(4)
    events_of(source, 4)
    source._look_s = np.inf
    thor.begin()
    thor.record(2)
    assert StreamEnd("replaced") in events_of(source, 2)


@pytest.mark.parametrize("way", WAYS)
def test_a_finished_file_that_is_written_anew_is_another_series(source, folder, way):
    thor = ThorImage(folder, way, frames=4)
    thor.record(4)
    whole_series(source)
    thor.begin()
    thor.record(2)
    info, *frames = events_of(source, 3)
    assert isinstance(info, StreamInfo)
    thor.record(2)
    *rest, end = whole_series(source)
    assert_right(frames + rest, range(4))
    assert end == StreamEnd("done")


def test_a_file_that_disappears_ends_the_series(source, folder):
    thor = ThorImage(folder, frames=9)
    thor.record(2)
    events_of(source, 3)
    thor.raw.rename(thor.raw.with_suffix(".moved"))
    assert next_event(source) == StreamEnd("abort")
    assert source.read(0.3) is None


@pytest.mark.parametrize("fault", ["half", "missing", "empty"])
def test_xml_that_is_not_there_yet_is_waited_for_and_said_once(source, folder, fault, monkeypatch, caplog):
    monkeypatch.setattr(thorimage, "_XML_WAIT_S", 0.3)
    thor = ThorImage(folder)
    xml = folder / "Experiment.xml"
    text = xml.read_text()
    if fault == "missing":
        xml.unlink()
    else:
        xml.write_text(text[: len(text) // 2] if fault == "half" else "")
    thor.record(6)
    assert source.read(1.5) is None
    assert len([record for record in caplog.records if record.message.startswith("waiting, since")]) == 1
    xml.write_text(text)
    assert_right(whole_series(source)[1:-1], range(6))


def test_xml_that_changes_before_the_first_frame_counts(source, folder):
    thor = ThorImage(folder, "fill", frames=4, LSM_pixelX=13)
    assert source.read(0.4) is None
    experiment(folder, Streaming_frames=4, LSM_frameRate=RATE_HZ)
    assert source.read(0.4) is None
    thor.record(4)
    assert_right(whole_series(source)[1:-1], range(4))


@pytest.mark.parametrize("way", WAYS)
def test_a_file_longer_than_its_xml_is_left_out_and_said_once(source, folder, way, caplog):
    thor = ThorImage(folder, way, frames=20)
    experiment(folder, Streaming_frames=4)
    thor.record(20)
    assert source.read(0.8) is None
    assert len(caplog.records) == 1
    assert "record without averaging" in caplog.text
    other = ThorImage(folder.with_name("mouse7_002"), way, frames=3)
    other.record(3)
    assert_right(whole_series(source)[1:-1], range(3))


def test_a_growing_file_that_turns_out_longer_ends_with_an_error(source, folder, caplog):
    thor = ThorImage(folder, frames=20)
    experiment(folder, Streaming_frames=4)
    thor.record(2)
    events_of(source, 3)
    thor.record(18)
    assert whole_series(source)[-1] == StreamEnd("error")
    assert source.read(0.6) is None
    assert len(caplog.records) == 1


def test_a_recording_of_another_kind_is_left_out_and_said_once(source, folder, caplog):
    thor = ThorImage(folder, LSM_areaMode=2)
    for _ in range(3):
        thor.record(1)
        assert source.read(0.3) is None
    assert [record.message.split(":")[0] for record in caplog.records] == ["this recording is left out"]
    assert "line scan" in caplog.text


def test_channels_that_a_file_cannot_hold_are_refused(source, folder, caplog):
    ThorImage(folder, mask=33, RawData_onlyEnabledChannels=0).record(3)
    assert source.read(0.5) is None
    assert "enables channel number 6" in caplog.text


@pytest.mark.parametrize("way", WAYS)
def test_the_next_experiment_ends_the_one_before(tmp_path, folder, way):
    source = ThorImageSource(tmp_path, idle_s=60)
    source.open()
    thor = ThorImage(folder, way, frames=30)
    thor.record(5)
    events_of(source, 2)
    other = ThorImage(folder.with_name("mouse7_002"), way, frames=3)
    other.record(3)
    *frames, end = whole_series(source)
    assert_right(frames, range(1, 5))
    assert end == StreamEnd("done")
    info, *frames, end = whole_series(source)
    assert (info.user["experiment"], end) == ("mouse7_002", StreamEnd("done"))
    assert_right(frames, range(3))
    source.close()


def test_a_file_that_stays_empty_of_frames_gives_way_to_the_next(source, folder):
    ThorImage(folder, "fill", frames=30)
    assert source.read(0.5) is None
    other = ThorImage(folder.with_name("mouse7_002"), "fill", frames=3)
    other.record(3)
    info, *frames, _ = whole_series(source)
    assert info.user["experiment"] == "mouse7_002"
    assert_right(frames, range(3))


@pytest.mark.parametrize("way", WAYS)
def test_old_recordings_are_left_out(tmp_path, folder, way):
    for name in ("a", "b"):
        ThorImage(tmp_path / name, way, frames=3).record(3)
    source = ThorImageSource(tmp_path / "b" / "Experiment.xml")
    source.open()
    assert source.read(0.6) is None
    ThorImage(folder, way, frames=3).record(3)
    assert_right(whole_series(source)[1:-1], range(3))
    source.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_recording_that_is_running_is_read_from_its_present_frame_on(tmp_path, folder, way):
    thor = ThorImage(folder, way, frames=12)
    thor.record(7)
    source = ThorImageSource(folder)
    source.open()
    assert source.read(0.3) is None
    thor.record(5)
    _, *frames, end = whole_series(source)
    assert_right(frames, range(7, 12))
    assert end == StreamEnd("done")
    source.close()


def test_a_recording_without_a_length_is_read(source, folder):
    thor = ThorImage(folder, frames=0)
    thor.record(5)
    info, *frames, end = whole_series(source)
    assert (info.n_expected, end) == (None, StreamEnd("timeout"))
    assert_right(frames, range(5))


def test_a_rate_that_is_not_said_is_assumed_and_said(source, folder, caplog):
    ThorImage(folder, frames=2, LSM_frameRate=0).record(2)
    assert whole_series(source)[0].rate_hz == 30
    assert "30 Hz are assumed" in caplog.text


def test_a_scan_in_one_direction_is_said(source, folder):
    ThorImage(folder, frames=2, LSM_scanMode=1).record(2)
    assert not whole_series(source)[0].scan.bidirectional


def test_options_reach_the_description(tmp_path, folder):
    source = ThorImageSource(tmp_path, scan=ScanGeometry("collinear", first="backward"), rate_hz=77)
    source.open()
    ThorImage(folder, frames=2).record(2)
    info = next_event(source)
    assert (info.scan, info.rate_hz) == (ScanGeometry("collinear", first="backward"), 77)
    source.close()


def test_a_burst_is_published_at_a_limited_pace(source, folder):
    """A receiver that gets a second of frames at once loses some."""
    ThorImage(folder, frames=31, LSM_frameRate=20).record(31)
    events_of(source, 2)
    begin_s = time.monotonic()
    events_of(source, 30)
    assert time.monotonic() - begin_s > 25 / 80  # the first 5 make up for the time since the start


def test_a_disk_that_fails_is_a_sentence(source, folder, monkeypatch):
    thor = ThorImage(folder, frames=9)
    thor.record(2)
    events_of(source, 3)

    def fail():
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(source._tail, "stat", fail)
    with pytest.raises(StageError, match="Input/output error"):
        source.read(1)
    monkeypatch.undo()


def test_what_can_never_work_is_refused(tmp_path, capsys):
    with pytest.raises(FileError, match="no folder"):
        ThorImageSource(tmp_path / "none").open()
    for wrong in ({"channels": 0}, {"rate_hz": -1.0}, {"idle_s": 0.0}):
        with pytest.raises(StreamError):
            ThorImageSource(tmp_path, **wrong)
    assert thorimage.main([str(tmp_path / "none"), "--bind", "tcp://127.0.0.1:0"]) == 2
    assert "no folder" in capsys.readouterr().err


def test_closing_it_in_the_middle_and_opening_it_again(source, folder):
    thor = ThorImage(folder, frames=9)
    thor.record(2)
    events_of(source, 2)
    source.close()
    source.close()
    assert source.read(0.0) is None
    source.open()
    assert source.read(0.3) is None
    thor.record(2)
    assert_right([events_of(source, 2)[1]], [2])


WRITER = """
import sys, time
from pathlib import Path
from tests.bridge.test_thorimage import ThorImage
folder, way, count, rate_hz = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
thor = ThorImage(folder, way, frames=count, stored=2, LSM_frameRate=rate_hz)
begin_s = time.monotonic()
for k in range(count):
    time.sleep(max(0.0, begin_s + k / rate_hz - time.monotonic()))
    if k % 3 == 0:
        thor.begin_frame(0.7)
    thor.record(1)
"""


@pytest.mark.parametrize("way", WAYS)
def test_as_a_program_behind_another_process(tmp_path, folder, way):
    count, environment = 150, {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "bridge" / "thorimage.py"), str(tmp_path), "--bind", "tcp://127.0.0.1:0"]
    command += ["--series", "1", "--wait", "60", "--name", "bscope"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as connector:
        try:
            assert connector.stdout is not None
            receiver = ZmqSource(connector.stdout.readline().removeprefix("publishing on ").strip())
            receiver.open()
            writing = [sys.executable, "-c", WRITER, str(folder), way, str(count), "100"]
            try:
                with subprocess.Popen(writing, cwd=ROOT, env=environment) as writer:
                    events: list[Any] = []
                    deadline_s = time.monotonic() + 60
                    while not (events and isinstance(events[-1], StreamEnd)) and time.monotonic() < deadline_s:
                        event = next_event(receiver, 0.1)
                        events += [] if event is None else [event]
                    assert writer.wait(60) == 0
            finally:
                receiver.close()
            assert connector.wait(60) == 0
            info, *frames, end = events
            assert (info.shape, info.source, end) == ((2, LINES, PIXELS), "bscope", StreamEnd("done"))
            assert_right(frames, range(count), (0, 1))
            assert json.loads(connector.stdout.read().splitlines()[-1]) == {"series": 1, "frames": count, "lost": 0}
        finally:
            connector.kill()
