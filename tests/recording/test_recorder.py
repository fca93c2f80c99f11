from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tifffile
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.frame import Frame, Gap, Motion, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.movies.open_movie import open_movie_file
from deepbid_rt.recording.disk_room import DiskRoom
from deepbid_rt.recording.motion_trace import read_motions
from deepbid_rt.recording.recorder import Recorder
from deepbid_rt.recording.sidecar import Sidecar, read_log_beside, read_sidecar
from deepbid_rt.recording.tiff_movie import TiffMovie
from tests import ROOT
from tests.fakes import raise_

RAW = StreamInfo((2, 6, 8), np.dtype("<i2"), 30.0, ScanGeometry("collinear"), series="s1", planes=2)
DENOISED = StreamInfo((2, 3, 8), np.dtype("<i2"), 30.0, series="d1", parent="s1", planes=2)


def frame(index: int, info: StreamInfo = RAW, t_ns: int = 0) -> Frame:
    return Frame(index, np.full(info.shape, index - 5, info.dtype), t_ns=t_ns, plane=index % info.planes)


class FaultyFile(io.FileIO):
    """A file whose methods fail while their names are in a set."""

    failing: ClassVar[set[str]] = set()
    grace: ClassVar[int] = 0
    """Writes that still work."""

    def write(self, data: Any) -> int:
        if "write" in self.failing and FaultyFile.grace == 0:
            super().write(bytes(data)[: len(data) // 2])  # a full disk takes what fits
            self._fail("write")
        FaultyFile.grace = max(0, FaultyFile.grace - 1)
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        self._fail("truncate")
        return super().truncate(size)

    def _fail(self, name: str) -> None:
        if name in self.failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def undated(paths: Iterable[Path]) -> list[str]:
    """The names of files without date and time."""
    for path in paths:
        assert re.match(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_", path.name), path
    return [path.name[20:] for path in paths]


def names(folder: Path) -> list[str]:
    return undated(sorted(folder.iterdir()))


def log_in(folder: Path) -> list[dict[str, Any]]:
    return [line for path in sorted(folder.glob("*.jsonl")) for line in read_sidecar(path)]


def frames_in(path: Path) -> list[int]:
    """The numbers of the frames in a movie, from the descriptions of its pages."""
    numbers = [int(page["frameNumbers"]) for page in tags(path) if page["channel"] == "0"]
    with TiffMovie(path) as movie:
        assert movie.shape[0] == len(tags(path))
    return numbers


def tags(path: Path) -> list[dict[str, str]]:
    with tifffile.TiffFile(path) as tif:
        return [dict(line.split(" = ", 1) for line in page.description.splitlines()) for page in tif.pages]


def test_raw_and_denoised_recordings_share_one_log(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path / "session")
    raw = Recorder(tmp_path / "session", "raw", sidecar)
    denoised = Recorder(tmp_path / "session", "denoised", sidecar)
    for recorder, info in ((raw, RAW), (denoised, DENOISED)):
        recorder.start(info)
        for index in (10, 11, 14):
            recorder.put(frame(index, info))
            if index == 11:
                recorder.skip(Gap(12, 2, "transport"))
        recorder.end(StreamEnd("done"))
        recorder.close()
    sidecar.close(frames_in=3)

    assert names(tmp_path / "session") == ["s1.jsonl", "s1_denoised.tif", "s1_raw.tif"]
    assert undated(raw.paths) == ["s1_raw.tif"]
    assert undated(denoised.paths) == ["s1_denoised.tif"]
    assert len({path.name.partition("_s1")[0] for path in (tmp_path / "session").iterdir()}) == 1
    with TiffMovie(denoised.paths[0], channels=2) as movie:
        assert (movie.shape, movie.dtype.str) == ((3, 2, 3, 8), "<i2")
        assert movie.read(0, 3)[:, 0, 0, 0].tolist() == [5, 6, 9]
    log = log_in(tmp_path / "session")
    assert [(line["kind"], line.get("stream")) for line in log] == [
        ("start", None),
        ("file", "raw"),
        ("gap", "raw"),
        ("recorded", "raw"),
        ("start", None),
        ("file", "denoised"),
        ("gap", "denoised"),
        ("recorded", "denoised"),
        ("summary", None),
    ]
    assert {key: log[2][key] for key in ("first", "count", "cause")} == {"first": 12, "count": 2, "cause": "transport"}
    assert {key: log[3][key] for key in ("frames", "first", "last", "reason")} == {
        "frames": 3,
        "first": 10,
        "last": 14,
        "reason": "done",
    }


def test_pages_state_number_time_plane_and_channel_in_plane_then_channel_order(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "denoised", Sidecar(tmp_path), software="deepbid-rt 9.9")
    recorder.start(DENOISED)
    for index in range(4):
        recorder.put(frame(index, DENOISED, t_ns=1_000_000_000 + index * 50_000_000))
    recorder.close()
    pages = tags(recorder.paths[0])
    keys = ("frameNumbers", "plane", "channel", "frameTimestamps_sec", "t_ns")
    assert [tuple(page[key] for key in keys) for page in pages[:4]] == [
        ("0", "0", "0", "0.000000000", "1000000000"),
        ("0", "0", "1", "0.000000000", "1000000000"),
        ("1", "1", "0", "0.050000000", "1050000000"),
        ("1", "1", "1", "0.050000000", "1050000000"),
    ]
    assert pages[0]["processed"] == "denoised by deepbid-rt 9.9, not raw data"
    assert (pages[0]["series"], pages[0]["channels"], pages[0]["planes"]) == ("s1", "2", "2")
    assert all("processed" not in page for page in pages[1:])


def test_the_motion_of_recorded_frames_is_in_the_log(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    recorder = Recorder(tmp_path, "denoised", sidecar)
    recorder.start(DENOISED)
    motions = {n: Motion(n / 8, -n, 7.0, "held") for n in (3, 4, 90)}
    for index, motion in motions.items():
        recorder.put(replace(frame(index, DENOISED), motion=motion))
    recorder.end(StreamEnd("done"))
    log = log_in(tmp_path)
    assert [line["kind"] for line in log] == ["start", "file", "motion", "recorded"]
    assert log[2]["stream"] == "denoised"
    assert read_motions(log) == motions


def test_raw_recordings_are_not_labelled_processed_and_unknown_times_come_from_the_rate(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "raw", Sidecar(tmp_path))
    recorder.start(RAW)
    recorder.put(frame(15))
    recorder.close()
    first = tags(recorder.paths[0])[0]
    assert "processed" not in first
    assert first["frameTimestamps_sec"] == "0.500000000"


def test_rolls_to_numbered_files(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "raw", Sidecar(tmp_path), roll_frames=2)
    recorder.start(RAW)
    for index in range(5):
        recorder.put(frame(index))
    recorder.end(StreamEnd("done"))
    assert undated(recorder.paths) == [f"s1_raw_0000{n}.tif" for n in (1, 2, 3)]
    lengths = []
    for path in recorder.paths:
        with TiffMovie(path, 2) as movie:
            lengths.append(movie.shape[0])
    assert lengths == [2, 2, 1]


def test_a_second_series_gets_its_own_files(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "raw", Sidecar(tmp_path))
    for series in ("s1", "s2"):
        recorder.start(StreamInfo((1, 6, 8), np.dtype("<i2"), 30.0, series=series))
        recorder.put(Frame(0, np.zeros((1, 6, 8), np.int16)))
        recorder.end(StreamEnd("replaced"))
    assert undated(recorder.paths) == ["s1_raw.tif", "s2_raw.tif"]
    assert read_log_beside(recorder.paths[1])[0]["info"]["series"] == "s2"


def test_a_series_without_frames_leaves_no_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "raw", Sidecar(tmp_path))
    recorder.start(RAW)
    recorder.close()
    recorder.close()
    assert names(tmp_path) == ["s1.jsonl"]
    assert recorder.paths == ()


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from deepbid_rt.frame import Frame, Gap, StreamInfo
from deepbid_rt.recording.recorder import Recorder
from deepbid_rt.recording.sidecar import Sidecar
recorder = Recorder(Path(sys.argv[1]), "denoised", Sidecar(sys.argv[1]))
recorder.start(StreamInfo((1, 64, 64), np.dtype("<i2"), 30.0, series="s1"))
for index in range(60):
    if index == 30:
        recorder.skip(Gap(30, 1, "source"))
    recorder.put(Frame(index + (index >= 30), np.full((1, 64, 64), index - 30, np.int16)))
if hasattr(signal, "SIGKILL"):
    os.kill(os.getpid(), signal.SIGKILL)
os._exit(9)
"""


def test_all_frames_put_before_a_kill_are_readable(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, timeout=60, check=False)
    assert process.returncode != 0
    (path,) = tmp_path.glob("*_s1_denoised.tif")
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == 60
        for index, page in enumerate(tif.pages):
            assert page.dtype == np.int16
            assert (page.asarray() == index - 30).all()
    with TiffMovie(path) as movie:
        assert movie.shape == (60, 1, 64, 64)
    assert [line["kind"] for line in log_in(tmp_path)] == ["start", "file", "gap"]


FULL = """
import resource, signal, sys
import numpy as np
from deepbid_rt.errors import StageError
from deepbid_rt.frame import Frame, StreamInfo
from deepbid_rt.recording.recorder import Recorder
from deepbid_rt.recording.sidecar import Sidecar
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
recorder = Recorder(sys.argv[1], "raw", Sidecar(sys.argv[1]))
info = StreamInfo((1, 64, 64), np.dtype("<i2"), 30.0, series="s1")
recorder.start(info)
for index in range(25):
    try:
        recorder.put(Frame(index, np.full((1, 64, 64), index, np.int16)))
    except StageError as error:
        print(error.came.split(" could")[0], "|", error.todo)
        recorder.start(info)
recorder.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")
def test_a_full_disk_leaves_intact_files_and_each_start_goes_on_in_a_new_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, timeout=60, check=True, capture_output=True, text=True)
    assert names(tmp_path) == ["s1.jsonl", "s1_raw.tif", "s1_raw_part002.tif", "s1_raw_part003.tif"]
    recorded = [frames_in(path) for path in sorted(tmp_path.glob("*.tif"))]
    assert recorded == [list(range(11)), list(range(12, 23)), [24]]
    assert process.stdout.splitlines() == [
        f"frame {n} | free some space and record again; the 11 frames before it are complete in that file"
        for n in (11, 23)
    ]
    parts = [line for line in log_in(tmp_path) if line["kind"] == "recording_part"]
    assert [(line["part"], line["last"], line["first"], line["missing"]) for line in parts] == [
        (2, 10, 12, 1),
        (3, 22, 24, 1),
    ]
    assert all("(File too large)" in line["reason"] for line in parts)


def test_refuses_frames_that_differ_from_the_series(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "raw", Sidecar(tmp_path))
    with pytest.raises(StreamError, match="frame 0 outside a series"):
        recorder.put(frame(0))
    recorder.start(RAW)
    for pixels in (np.zeros((2, 6, 9), np.int16), np.zeros((2, 6, 8), np.uint16)):
        with pytest.raises(StreamError) as info:
            recorder.put(Frame(3, pixels))
        assert str(info.value) == (
            f"frame 3 of type {pixels.dtype.str} and shape {pixels.shape}; expected <i2 and (C, Y, X) = (2, 6, 8) as "
            "the series began; begin a new series when the frames change."
        )
    recorder.put(frame(3))
    recorder.close()
    with TiffMovie(recorder.paths[0], 2) as movie:
        assert movie.shape[0] == 1


def test_refuses_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    recorder = Recorder(blocker / "below", "raw", Sidecar(tmp_path))
    for attempt in (recorder.check, lambda: recorder.start(RAW)):
        with pytest.raises(FileError) as info:
            attempt()
        assert str(info.value) == (
            f"no recording can be written to {blocker / 'below'} ({info.value.__cause__.strerror}); expected a folder "
            "that exists or can be created, and that can be written; choose another folder or change its permissions."
        )
    assert list(tmp_path.iterdir()) == [blocker]


def test_check_tries_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    Recorder(tmp_path / "new", "raw", Sidecar(tmp_path)).check()
    assert list((tmp_path / "new").iterdir()) == []
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(FileError, match="Read-only file system"):
        Recorder(tmp_path, "raw", Sidecar(tmp_path)).check()


def restarted(folder: Path, first: int, last: int, stream: str = "raw", **settings: Any) -> Recorder:
    """Record some frames of the same series in a session of its own."""
    sidecar = Sidecar(folder)
    recorder = Recorder(folder, stream, sidecar, **settings)  # type: ignore[arg-type]
    recorder.start(RAW)
    for index in range(first, last):
        recorder.put(frame(index))
    recorder.close()
    sidecar.close()
    return recorder


@pytest.mark.parametrize("roll", [0, 2])
def test_sessions_that_follow_each_other_add_numbered_parts_and_overwrite_nothing(tmp_path: Path, roll: int) -> None:
    restarted(tmp_path, 0, 3, roll_frames=roll)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    restarted(tmp_path, 5, 8, roll_frames=roll)
    restarted(tmp_path, 8, 9, roll_frames=roll)
    assert all(path.read_bytes() == content for path, content in before.items())
    movies = [name for name in names(tmp_path) if name.endswith(".tif")]
    if roll:
        numbers = ("00001", "00002", "part002_00001", "part002_00002", "part003_00001")
        assert movies == [f"s1_raw_{number}.tif" for number in numbers]
    else:
        assert movies == ["s1_raw.tif", "s1_raw_part002.tif", "s1_raw_part003.tif"]
    recorded = [n for path in sorted(tmp_path.glob("*.tif")) for n in frames_in(path)]
    assert recorded == [0, 1, 2, 5, 6, 7, 8]
    log = log_in(tmp_path)
    parts = [line for line in log if line["kind"] == "recording_part"]
    assert [(line["last"], line["first"], line["missing"]) for line in parts] == [(2, 5, 2), (7, 8, 0)]
    assert {line["reason"] for line in parts} == {"a recording of this series was there already"}
    assert [line["kind"] for line in log].count("summary") == 3


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "raw", Sidecar(tmp_path), roll_frames=1)
    recorder.start(RAW)
    recorder.put(frame(0))
    foreign = Path(str(recorder.paths[0]).replace("_00001", "_00002"))
    foreign.write_bytes(b"precious")
    recorder.put(frame(1))
    recorder.put(frame(2))
    recorder.close()
    assert foreign.read_bytes() == b"precious"
    assert undated(recorder.paths) == ["s1_raw_00001.tif", "s1_raw_part002_00001.tif", "s1_raw_part002_00002.tif"]


def test_a_vanished_folder_is_created_again_and_recording_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    recorder = Recorder(folder, "raw", Sidecar(folder))
    recorder.start(RAW)
    recorder.put(frame(0))
    shutil.rmtree(folder)
    with pytest.raises(StageError, match=r"frame 1 could not be written .*deleted while it was written"):
        recorder.put(frame(1))
    with pytest.raises(StreamError, match="frame 2 outside a series"):
        recorder.put(frame(2))
    recorder.start(RAW)
    recorder.put(frame(3))
    recorder.close()
    assert frames_in(recorder.paths[-1]) == [3]
    (part,) = (line for line in log_in(folder) if line["kind"] == "recording_part")
    assert (part["last"], part["first"], part["missing"]) == (0, 3, 2)
    assert names(folder) == ["s1_part002.jsonl", "s1_raw_part002.tif"]


def test_a_renamed_folder_keeps_the_movie_whole_and_later_files_go_to_the_old_place(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    recorder = Recorder(folder, "raw", Sidecar(folder), roll_frames=2)
    recorder.start(RAW)
    recorder.put(frame(0))
    folder.rename(tmp_path / "moved")
    for index in (1, 2):
        recorder.put(frame(index))
    recorder.close()
    (first,), (second,) = (tmp_path / "moved").glob("*.tif"), folder.glob("*.tif")
    assert (frames_in(first), frames_in(second)) == ([0, 1], [2])


def test_a_fault_of_the_writer_ends_the_part_and_not_the_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, "raw", Sidecar(tmp_path))
    recorder.start(RAW)
    recorder.put(frame(0))
    with monkeypatch.context() as patch:
        patch.setattr(tifffile.TiffWriter, "write", lambda *_a, **_k: raise_(MemoryError("none left")))
        with pytest.raises(MemoryError):
            recorder.put(frame(1))
    recorder.start(RAW)
    recorder.put(frame(2))
    recorder.close()
    assert [frames_in(path) for path in recorder.paths] == [[0], [2]]


def test_an_fsync_error_is_reported_with_the_next_frame_and_a_new_part_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, "raw", Sidecar(tmp_path), sync_s=0.0)
    recorder.start(RAW)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: raise_(OSError(errno.EIO, os.strerror(errno.EIO))))
        recorder.put(frame(0))
    with pytest.raises(StageError, match=r"frame 1 could not be written .*Input/output error"):
        recorder.put(frame(1))
    recorder.start(RAW)
    recorder.put(frame(2))
    recorder.close()
    assert [frames_in(path) for path in recorder.paths] == [[0], [2]]


def test_a_log_that_takes_no_lines_does_not_stop_the_movie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    troubles: list[str | None] = []
    sidecar = Sidecar(tmp_path, trouble=troubles.append)
    recorder = Recorder(tmp_path, "raw", sidecar)
    with monkeypatch.context() as patch:
        patch.setattr(io, "FileIO", FaultyFile)
        patch.setattr(FaultyFile, "failing", {"write"})
        recorder.start(RAW)
    recorder.put(frame(0))
    recorder.skip(Gap(1, 2, "ring"))
    recorder.put(frame(3))
    recorder.close()
    sidecar.close()
    assert frames_in(recorder.paths[0]) == [0, 3]
    said, over = troubles
    assert said == (
        f"the session log in {tmp_path} takes no lines (No space left on device); they are kept and tried again; the "
        "recordings go on"
    )
    assert over is None
    assert [line["kind"] for line in log_in(tmp_path)] == ["start", "file", "gap", "recorded", "summary"]


def test_recording_stops_before_the_disk_is_full_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    free = [80_000_000_000]
    room = DiskRoom(tmp_path, usage=lambda _: (100_000_000_000, 0, free[0]))
    recorder = Recorder(tmp_path, "raw", Sidecar(tmp_path), room=room)
    assert room.look(1e6) is None
    recorder.start(RAW)
    recorder.put(frame(0))
    free[0] = 100_000_000
    assert room.look(1e6) is not None
    with pytest.raises(StageError, match=r"frame 1 has no file \(only 100 MB are free"):
        recorder.put(frame(1))
    with pytest.raises(FileError, match=r"only 100 MB are free"):
        recorder.start(RAW)
    free[0] = 80_000_000_000
    assert room.look(1e6) is None
    recorder.start(RAW)
    recorder.put(frame(2))
    recorder.close()
    assert [frames_in(path) for path in recorder.paths] == [[0], [2]]
    assert recorder.frames == 2


def test_refuses_a_series_whose_name_is_a_path(tmp_path: Path) -> None:
    info = StreamInfo((1, 6, 8), np.dtype("<i2"), 30.0, series="../../evil")
    with pytest.raises(StreamError, match=r"a series named '\.\./\.\./evil'"):
        Recorder(tmp_path / "in", "raw", Sidecar(tmp_path / "in")).start(info)


def test_forces_the_log_to_the_disk_with_the_movie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sidecar = Sidecar(tmp_path)
    monkeypatch.setattr(sidecar, "sync", synced.append)
    recorder = Recorder(tmp_path, "raw", sidecar, sync_s=0.0)
    recorder.start(RAW)
    recorder.put(frame(0))
    recorder.close()
    assert synced == ["s1"]


class RecorderModel(RuleBasedStateMachine):
    """The recorder beside a list of what it has accepted, on a disk that fails at random calls."""

    SHAPE = StreamInfo((1, 4, 4), np.dtype("<u2"), 30.0)

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="recorder"))
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(io, "FileIO", FaultyFile)
        fsync = os.fsync

        def faulty_fsync(descriptor: int) -> None:
            if "fsync" in self.failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            fsync(descriptor)

        self.patch.setattr(os, "fsync", faulty_fsync)
        self.failing = set()
        self.roll = 0
        self.put_ok: list[tuple[str, int]] = []
        self.seen: dict[Path, bytes] = {}
        self.next = 0
        self.open()

    @property
    def failing(self) -> set[str]:
        """What the disk refuses."""
        return FaultyFile.failing

    @failing.setter
    def failing(self, what: set[str]) -> None:
        FaultyFile.failing = what

    def open(self) -> None:
        """Begin a session."""
        self.sidecar = Sidecar(self.folder)
        self.recorder = Recorder(self.folder, "raw", self.sidecar, roll_frames=self.roll, sync_s=0.0)
        self.running: str | None = None

    @rule(series=st.sampled_from(["a", "b"]))
    def start(self, series: str) -> None:
        self.running = None
        try:
            self.recorder.start(replace(self.SHAPE, series=series))
        except (FileError, StageError):
            assert self.failing
            return
        self.running = series

    @rule(skipped=st.integers(0, 3))
    def put(self, skipped: int) -> None:
        self.next += 1 + skipped
        pixels = np.full((1, 4, 4), self.next, np.uint16)
        try:
            self.recorder.put(Frame(self.next, pixels))
        except StageError:
            assert self.running is not None
            self.running = None
            return
        except StreamError:
            assert self.running is None
            return
        assert self.running is not None
        self.put_ok.append((self.running, self.next))

    @precondition(lambda self: self.running)
    @rule()
    def skip(self) -> None:
        self.recorder.skip(Gap(self.next, 1, "sink"))

    @rule()
    def end(self) -> None:
        self.running = None
        try:
            self.recorder.end(StreamEnd("done"))
        except StageError:
            assert self.failing

    @rule(what=st.sets(st.sampled_from(["write", "truncate", "fsync"])), grace=st.integers(0, 3))
    def the_disk_changes(self, what: set[str], grace: int) -> None:
        self.failing, FaultyFile.grace = what, grace

    @rule(roll=st.sampled_from([0, 1, 2]))
    def another_session(self, roll: int) -> None:
        """The process ends without a word, and another one begins."""
        self.roll = roll
        if (writer := self.recorder._writer) is not None:
            writer._file.close()  # as the operating system does
        self.open()

    @rule()
    def a_clean_end(self) -> None:
        for close in (self.recorder.close, self.sidecar.close):
            try:
                close()
            except StageError:
                assert self.failing
        self.open()

    @invariant()
    def earlier_files_stay_as_they_are(self) -> None:
        """Nothing is overwritten: a file grows at its end, but for the pointer from its last page to the next."""
        for path, content in self.seen.items():
            now = path.read_bytes()
            if "truncate" not in self.failing:
                changed = sum(a != b for a, b in zip(content, now, strict=False))
                assert changed <= 8
            assert len(now) >= len(content) or self.failing
        self.seen = {path: path.read_bytes() for path in self.folder.glob("*.tif")}

    def teardown(self) -> None:
        self.failing = set()
        with contextlib.suppress(StageError):  # an fsync that failed before
            self.recorder.close()
        recorded: dict[str, list[int]] = {"a": [], "b": []}
        for path in sorted(self.folder.glob("*.tif")):
            series = path.name[20]
            recorded[series] += frames_in(path)
        for series in "ab":
            assert recorded[series] == [number for name, number in self.put_ok if name == series]
        self.patch.undo()
        shutil.rmtree(self.folder)


TestRecorderModel = RecorderModel.TestCase
TestRecorderModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_what_the_acquisition_states_is_in_the_recording(tmp_path: Path) -> None:
    info = replace(RAW, user={"pixel_um": [0.8, 0.4], "channels": [{"name": "green"}, {"name": "red"}]})
    sidecar = Sidecar(tmp_path)
    recorder = Recorder(tmp_path, "raw", sidecar, roll_frames=2)
    recorder.start(info)
    for index in range(4):
        recorder.put(replace(frame(index, t_ns=10**18 + index), acquired_s=12.5 + index / 30))
    recorder.end(StreamEnd("done"))
    sidecar.close()
    for part, path in enumerate(recorder.paths):
        pages = tags(path)
        assert [page["frameTimestamps_sec"] for page in pages[::2]] == [
            f"{12.5 + (2 * part + k) / 30:.9f}" for k in (0, 1)
        ]
        assert {key: pages[0][key] for key in ("pixel_um_y", "pixel_um_x", "channel_names", "clock")} == {
            "pixel_um_y": "0.8",
            "pixel_um_x": "0.4",
            "channel_names": '["green", "red"]',
            "clock": "acquisition",
        }
        assert pages[0]["t_ns"] == str(10**18 + 2 * part)
    with open_movie_file(recorder.paths[0]) as movie:
        assert movie.facts.channel_names == ("green", "red")
        assert movie.facts.pixel_um == (0.8, 0.4)
        assert movie.facts.times_s == pytest.approx([12.5, 12.5 + 1 / 30])


def test_the_next_series_has_a_clock_of_its_own(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    recorder = Recorder(tmp_path, "raw", sidecar)
    for series, acquired_s in (("s1", 7.0), ("s2", None)):
        recorder.start(replace(RAW, series=series))
        recorder.put(replace(frame(0, t_ns=10**18), acquired_s=acquired_s))
        recorder.end(StreamEnd("done"))
    sidecar.close()
    assert [(tags(path)[0]["frameTimestamps_sec"], tags(path)[0]["clock"]) for path in recorder.paths] == [
        ("7.000000000", "acquisition"),
        ("0.000000000", "sender"),
    ]
