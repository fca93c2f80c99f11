"""The connector for Scanbox: a stand-in writes the memory-mapped file as ``scanbox.m`` does."""

from __future__ import annotations

import json
import logging
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge import scanbox
from bridge.scanbox import ScanboxSource
from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.frame import Frame, FrameFlag, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSource
from tests import ROOT

LINES, PIXELS = 12, 20
WAIT_S = 20.0


def picture(number: int, channel: int = 0, shape: tuple[int, int] = (LINES, PIXELS)) -> Any:
    """Counts (Y, X) that differ from frame to frame, with the number in the first pixel."""
    counts = np.random.default_rng(10 * number + channel).integers(0, 65536, shape, "u2", endpoint=False)
    counts[0, 0] = number % 65536
    return counts


class Scanbox:
    """Writes the file as Scanbox does: the number last, and only when the first word is negative.

    A number that does not fit into the header becomes the largest that does, as in MATLAB; `wraps` lets it wrap around.
    """

    def __init__(self, path: Path, *, bits: int = 16, frames_bytes: int = 200_000, wraps: bool = False) -> None:
        self.path, self.type, self.wraps = path, np.dtype(f"<i{bits // 8}"), wraps
        if not path.exists():
            path.write_bytes(bytes(16 * self.type.itemsize + frames_bytes))
        self.file = path.open("r+b")
        self.map = mmap.mmap(self.file.fileno(), 0)
        self.number = 0
        self.lost = 0

    @property
    def words(self) -> Any:
        return np.frombuffer(self.map, self.type, 16)

    def begin(self, shape: tuple[int, int] = (LINES, PIXELS), *, period: int = 0, number: int = 0) -> None:
        self.words[:6] = [-1, *shape, 0, bool(period), period]
        self.shape, self.number = shape, number

    def scan(self, *, ttl: int = 0, counts: Any = None) -> bool:
        """Scan the next frame; False when it is lost as the last one was not read."""
        number, self.number = self.number, self.number + 1
        if self.words[0] >= 0:
            self.lost += 1
            return False
        self.words[3] = ttl
        lines, pixels = self.shape
        planes = np.frombuffer(self.map, "<u2", 2 * lines * pixels, 16 * self.type.itemsize).reshape(2, pixels, lines)
        for channel in (0, 1):
            stored = 65535 - (picture(number, channel, self.shape) if counts is None else counts)
            planes[channel] = stored.T  # MATLAB stores columns
        limits = np.iinfo(self.type)
        self.words[0] = np.int64(number).astype(self.type) if self.wraps else min(number, limits.max)
        return True

    def stop(self) -> None:
        self.words[0] = -2

    def close(self) -> None:
        self.map.close()
        self.file.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scanbox.mmap"


@pytest.fixture
def writer(path):
    made = Scanbox(path)
    yield made
    made.close()


@pytest.fixture
def source(path):
    made = ScanboxSource(path)
    yield made
    made.close()


def next_event(source, wait_s=WAIT_S):
    """The next event, with a copy of the pixels, which are valid until the next `read` only."""
    event = source.read(wait_s)
    if isinstance(event, Frame):
        return Frame(event.index, event.pixels.copy(), event.t_ns, event.arrived_ns, event.plane, event.flags)
    return event


def events_of(source, writer, numbers, **rest):
    """Scan frames one after the other, and return what the source makes of each."""
    events = []
    for _ in numbers:
        assert writer.scan(**rest)
        events.append(next_event(source))
        while not isinstance(events[-1], Frame):
            events.append(next_event(source))
    return events


def test_frames_of_a_run_are_read_upright_and_given_back(source, writer):
    source.open()
    writer.begin()
    before_ns = time.time_ns()
    info, *frames = events_of(source, writer, range(5))
    assert (info.shape, info.dtype, info.planes) == ((1, LINES, PIXELS), np.dtype("<u2"), 1)
    assert info.rate_hz == pytest.approx(7930 / LINES * 2)
    assert info.user["channels"] == ["PMT0"]
    assert info.scan == ScanGeometry(extra={"kind": "resonant"})
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    for frame in frames:
        np.testing.assert_array_equal(frame.pixels[0], picture(frame.index))
        assert before_ns <= frame.arrived_ns <= time.time_ns()
    assert writer.words[0] == -1
    writer.stop()
    assert next_event(source) == StreamEnd("done")
    assert source.read(0.01) is None


def test_options_reach_the_description(path, writer):
    source = ScanboxSource(
        path, scan=ScanGeometry("collinear", first="backward"), channels=2, rate_hz=15.5, f_res_hz=7910
    )
    source.open()
    writer.begin()
    info, frame = events_of(source, writer, [0])
    source.close()
    assert (info.shape, info.rate_hz, info.user["channels"]) == ((2, LINES, PIXELS), 15.5, ["PMT0", "PMT1"])
    assert info.scan == ScanGeometry("collinear", first="backward", extra={"kind": "resonant", "f_res_hz": 7910})
    for channel in (0, 1):
        np.testing.assert_array_equal(frame.pixels[channel], picture(0, channel))


def test_a_scan_in_one_direction_has_half_the_rate(path, writer):
    source = ScanboxSource(path, scan=ScanGeometry(bidirectional=False), f_res_hz=8000)
    source.open()
    writer.begin()
    assert events_of(source, writer, [0])[0].rate_hz == pytest.approx(8000 / LINES)
    source.close()


def test_frames_that_scanbox_left_out_are_a_gap(source, writer):
    source.open()
    writer.begin()
    events_of(source, writer, range(2))
    assert writer.scan()
    assert not writer.scan()
    assert not writer.scan()
    assert next_event(source).index == 2
    assert writer.scan()
    assert next_event(source) == Gap(3, 2, "source")
    frame = next_event(source)
    assert frame.index == 5
    np.testing.assert_array_equal(frame.pixels[0], picture(5))


@pytest.mark.parametrize("taker", ["frees", "frees and Scanbox writes the next", "frees and Scanbox writes pixels"])
def test_a_frame_that_changes_while_it_is_copied_is_lost_not_torn(source, writer, monkeypatch, caplog, taker):
    source.open()
    writer.begin()
    events_of(source, writer, range(2))
    copy = source._copy

    def disturbed(stored):
        copy(stored)
        writer.words[0] = -1
        if "next" in taker:
            assert writer.scan()
        elif "pixels" in taker:
            stored[: stored.size // 2] = 7
        monkeypatch.undo()

    monkeypatch.setattr(source, "_copy", disturbed)
    assert writer.scan()
    source.read(0.0)
    if "next" not in taker:
        assert writer.scan()
    assert next_event(source) == Gap(2, 1, "source")
    frame = next_event(source)
    assert frame.index == 3
    np.testing.assert_array_equal(frame.pixels[0], picture(3))
    assert "Only one program" in caplog.text


def test_a_frame_with_a_wrapped_number_that_is_overwritten_is_lost_not_torn(path, monkeypatch):
    writer, source = Scanbox(path, wraps=True), ScanboxSource(path)
    source.open()
    writer.begin(number=32768)
    events_of(source, writer, range(1))
    copy = source._copy

    def overwritten(stored):
        copy(stored)
        stored[stored.size // 2 :] = 3  # a negative number means free to Scanbox
        monkeypatch.undo()

    monkeypatch.setattr(source, "_copy", overwritten)
    assert writer.scan()
    source.read(0.0)
    writer.words[0] = -1
    assert writer.scan()
    assert next_event(source) == Gap(32769, 1, "source")
    assert next_event(source).index == 32770
    source.close()
    writer.close()


def test_a_ttl_is_passed_on(source, writer):
    source.open()
    writer.begin()
    assert events_of(source, writer, [0], ttl=1)[-1].flags == FrameFlag.TTL_HIGH
    assert events_of(source, writer, [0], ttl=0)[-1].flags == FrameFlag.NONE


@pytest.mark.parametrize("given", [None, 32])
def test_words_of_32_bits_are_recognized(path, given, caplog):
    writer, source = Scanbox(path, bits=32), ScanboxSource(path, header_bits=given)
    source.open()
    assert source.read(0.01) is None
    writer.begin()
    info, frame = events_of(source, writer, [0])
    assert info.shape == (1, LINES, PIXELS)
    np.testing.assert_array_equal(frame.pixels[0], picture(0))
    # From here on the words look like a frame of 2 lines in words of 16 bits.
    writer.number = 2**17 + 5
    assert events_of(source, writer, [0])[-1].index == 2**17 + 5
    source.close()
    source.open()
    writer.number = 2**17 + 7
    info, frame = events_of(source, writer, [0])
    assert (info.shape, frame.index) == ((1, LINES, PIXELS), 2**17 + 7)
    np.testing.assert_array_equal(frame.pixels[0], picture(2**17 + 7))
    assert not caplog.records
    source.close()
    writer.close()


def test_numbers_of_16_bits_that_wrap_around_go_on(path):
    writer, source = Scanbox(path, wraps=True), ScanboxSource(path, rate_hz=30)
    source.open()
    writer.begin(number=32766)
    _, *frames = events_of(source, writer, range(4))
    assert [frame.index for frame in frames] == [32766, 32767, 32768, 32769]
    np.testing.assert_array_equal(frames[-1].pixels[0], picture(32769))
    writer.number = 65532
    source._last_s -= 3600  # as if an hour had passed
    assert [event.index for event in events_of(source, writer, range(2)) if isinstance(event, Frame)] == [65532, 65533]
    writer.scan()  # its number says "stopped"
    assert source.read(0.01) is None
    writer.scan()  # its number says "free"
    assert source.read(0.01) is None
    writer.scan()
    assert next_event(source) == Gap(65534, 2, "source")
    assert next_event(source).index == 65536
    assert events_of(source, writer, range(1))[-1].index == 65537
    source.close()
    writer.close()


def test_numbers_that_stay_at_the_largest_are_counted_on(path, caplog):
    writer, source = Scanbox(path), ScanboxSource(path)
    source.open()
    writer.begin(number=32766)
    _, *frames = events_of(source, writer, range(5))
    assert [frame.index for frame in frames] == [32766, 32767, 32768, 32769, 32770]
    np.testing.assert_array_equal(frames[-1].pixels[0], picture(32770))
    assert "stays at 32767" in caplog.text
    assert len(caplog.records) == 1
    writer.begin()  # a run whose beginning is not seen
    end, info, frame = events_of(source, writer, range(1))
    assert (end, type(info), frame.index) == (StreamEnd("replaced"), StreamInfo, 0)
    source.close()
    writer.close()


def test_a_volume_scan_has_planes(source, writer):
    source.open()
    writer.begin(period=3)
    info, *frames = events_of(source, writer, range(7))
    assert info.planes == 3
    assert [frame.plane for frame in frames] == [0, 1, 2, 0, 1, 2, 0]


def test_another_size_begins_a_new_series(source, writer):
    source.open()
    writer.begin()
    events_of(source, writer, range(2))
    writer.begin((8, 30), number=2)
    end, info, frame = events_of(source, writer, range(1))
    assert (end, info.shape, frame.index) == (StreamEnd("replaced"), (1, 8, 30), 2)
    np.testing.assert_array_equal(frame.pixels[0], picture(2, shape=(8, 30)))


@pytest.mark.parametrize("bits", [16, 32])
def test_a_number_that_falls_begins_a_new_series(path, bits):
    writer, source = Scanbox(path, bits=bits), ScanboxSource(path)
    source.open()
    writer.begin()
    first = events_of(source, writer, range(4))[0]
    writer.begin()
    end, info, frame = events_of(source, writer, range(1))
    assert (end, frame.index) == (StreamEnd("replaced"), 0)
    assert info.series != first.series
    source.close()
    writer.close()


def test_a_run_after_a_stop_is_a_new_series(source, writer):
    source.open()
    writer.begin()
    events_of(source, writer, range(2))
    writer.stop()
    assert next_event(source) == StreamEnd("done")
    writer.begin()
    info, frame = events_of(source, writer, range(1))
    assert (type(info), frame.index) == (StreamInfo, 0)


def test_a_stop_that_was_missed_ends_the_series_after_some_time(path, writer):
    source = ScanboxSource(path, idle_s=0.05)
    source.open()
    writer.begin()
    events_of(source, writer, range(2))
    assert next_event(source) == StreamEnd("timeout")
    writer.number = 9
    info, frame = events_of(source, writer, range(1))
    assert (type(info), frame.index) == (StreamInfo, 9)
    source.close()


def test_a_frame_that_is_there_at_the_beginning_is_left_out(source, writer):
    """Scanbox keeps an unread frame for ever: it can be minutes old."""
    writer.begin()
    writer.scan()
    for _ in range(50):
        assert not writer.scan()
    source.open()
    assert source.read(0.01) is None
    info, frame = events_of(source, writer, range(1))
    assert (type(info), frame.index) == (StreamInfo, 51)


def test_a_missing_file_is_waited_for_and_said_once(path, source, caplog):
    source.open()
    assert source.read(0.3) is None
    assert source.read(0.3) is None
    assert [record.message for record in caplog.records] == [
        f"waiting for {path}, which Scanbox makes when it starts with memory mapping switched on"
    ]
    writer = Scanbox(path)
    writer.begin()
    deadline_s = time.monotonic() + WAIT_S
    event = None
    while event is None and time.monotonic() < deadline_s:  # the first frame is left out, see above
        writer.scan()
        event = next_event(source, 0.05)
    assert isinstance(event, StreamInfo)
    assert isinstance(next_event(source), Frame)
    writer.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 31, b"\0" * 5000])
def test_a_file_that_is_being_made_is_waited_for(path, source, content, caplog):
    path.write_bytes(content)
    source.open()
    assert source.read(0.01) is None
    path.write_bytes(bytes(50_000))
    writer = Scanbox(path)
    writer.begin()
    source._look_s = 0
    assert source.read(0.01) is None
    assert events_of(source, writer, range(1))[-1].index == 0
    writer.close()


def test_a_file_that_is_replaced_is_opened_again(path, source, writer):
    source.open()
    writer.begin()
    events_of(source, writer, range(2))
    path.unlink()
    other = Scanbox(path)
    other.begin()
    source._look_s = 0
    assert source.read(0.01) is None
    end, _, frame = events_of(source, other, range(1))
    assert (end, frame.index) == (StreamEnd("replaced"), 0)
    np.testing.assert_array_equal(frame.pixels[0], picture(0))
    other.close()


def test_a_file_that_is_cut_off_is_not_touched(path, source, writer):
    """Touching pages behind the end of a file ends the process."""
    source.open()
    writer.begin((100, 200))
    events_of(source, writer, range(2))
    writer.words[0] = 2
    os.truncate(path, 4096)
    assert source.read(0.3) is None
    os.truncate(path, 200_032)
    source._look_s = 0
    assert source.read(0.0) is None
    writer.begin()
    assert events_of(source, writer, range(1))[-1].index == 0


def test_a_frame_that_does_not_fit_is_refused(path, source, writer):
    source.open()
    writer.words[:6] = [0, 600, 800, 0, 0, 0]
    with pytest.raises(StreamError, match="1 x 600 x 800 by a header of 16-bit words"):
        source.read(0.1)


def test_an_unknown_header_is_shown(path, source, writer, caplog):
    source.open()
    writer.words[:6] = [0, 320, 20, 0, 77, 0]
    assert source.read(0.05) is None
    assert [record.message for record in caplog.records] == [
        f"{path} begins with the unknown words [0, 320, 20, 0, 77, 0, 0, 0]; see --header-bits"
    ]
    forced = ScanboxSource(path, header_bits=16)
    forced.open()
    writer.words[0] = 5
    assert isinstance(forced.read(1), StreamInfo)
    forced.close()


def test_what_can_never_work_is_refused(tmp_path, path):
    for wrong in (tmp_path, tmp_path / "none" / "scanbox.mmap"):
        with pytest.raises(FileError):
            ScanboxSource(wrong).open()
    for wrong in ({"channels": 3}, {"header_bits": 8}, {"rate_hz": 0.0}, {"f_res_hz": -1.0}, {"planes": 0}):
        with pytest.raises(StreamError):
            ScanboxSource(path, **wrong)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="rights are not checked for this user")
def test_a_file_that_may_not_be_written_is_refused(path, source, writer):
    path.chmod(0o400)
    with pytest.raises(FileError, match="may be written"):
        source.open()


def test_a_file_that_cannot_be_opened_is_refused(path, source, writer, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileError, match="cannot be opened for writing"):
        source.open()


def test_main_says_what_is_refused(tmp_path, capsys):
    assert scanbox.main([str(tmp_path), "--bind", "tcp://127.0.0.1:0"]) == 2
    assert "which is a folder" in capsys.readouterr().err
    assert scanbox.main([str(tmp_path / "x"), "--scan", "collinear", "--no-bidirectional"]) == 2


WRITER = """
import sys, time
from pathlib import Path
from tests.bridge.test_scanbox import Scanbox
path, count, rate_hz = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
scanbox = Scanbox(path)
scanbox.begin(period=2)
scanbox.scan()
while scanbox.words[0] >= 0:  # the connector gives the frame of an earlier run back when it opens the file
    time.sleep(0.001)
scanbox.begin(period=2)
begin_s = time.monotonic()
for k in range(count):
    time.sleep(max(0.0, begin_s + k / rate_hz - time.monotonic()))
    if k == count // 2:
        scanbox.number += 3  # the digitizer lost three frames
    scanbox.scan(ttl=k % 2)
while scanbox.words[0] >= 0:  # the last frame is read
    time.sleep(0.001)
scanbox.stop()
print(scanbox.lost, flush=True)
sys.stdin.readline()
"""


def test_as_a_program_with_scanbox_in_another_process(path):
    """The connector is a program of its own, and nothing of what Scanbox scanned is missing or torn."""
    count, environment = 120, {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "bridge" / "scanbox.py"), str(path), "--bind", "tcp://127.0.0.1:0"]
    command += ["--channels", "2", "--series", "1", "--wait", "60", "--name", "rig2", "--rate", "200"]
    writing = [sys.executable, "-c", WRITER, str(path), str(count), "200"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stdin": subprocess.PIPE, "text": True, "env": environment}
    with (
        subprocess.Popen(writing, cwd=ROOT, **pipes) as writer,
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, **pipes) as connector,
    ):
        try:
            assert connector.stdout is not None
            assert writer.stdin is not None
            assert writer.stdout is not None
            receiver = ZmqSource(connector.stdout.readline().removeprefix("publishing on ").strip())
            receiver.open()
            try:
                deadline_s = time.monotonic() + 60
                events: list[Any] = []
                while not (events and isinstance(events[-1], StreamEnd)) and time.monotonic() < deadline_s:
                    event = next_event(receiver, 0.1)
                    events += [] if event is None else [event]
                lost = int(writer.stdout.readline())
            finally:
                receiver.close()
            writer.stdin.close()
            assert connector.wait(60) == 0
            info, *_, end = events
            assert (info.shape, info.source, info.planes, end) == ((2, LINES, PIXELS), "rig2", 2, StreamEnd("done"))
            frames = [event for event in events if isinstance(event, Frame)]
            missing = sum(event.count for event in events if isinstance(event, Gap))
            assert missing == lost + 3
            assert len(frames) == count - lost
            for frame in frames:
                assert frame.plane == frame.index % 2
                for channel in (0, 1):
                    np.testing.assert_array_equal(frame.pixels[channel], picture(frame.index, channel))
            assert {bool(frame.flags & FrameFlag.TTL_HIGH) for frame in frames} == {False, True}
            summary = json.loads(connector.stdout.read().splitlines()[-1])
            assert (summary["frames"], summary["lost"]) == (len(frames), missing)
        finally:
            connector.kill()
            writer.kill()


def test_logs_stay_quiet_when_all_is_well(source, writer, caplog):
    with caplog.at_level(logging.WARNING):
        source.open()
        writer.begin()
        events_of(source, writer, range(20))
    assert not caplog.records
