from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.frame import Frame, Gap, Motion, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.recording.motion_trace import read_motions
from deepbid_rt.recording.recorder import Recorder
from deepbid_rt.recording.sidecar import Sidecar, read_sidecar
from deepbid_rt.recording.tiff_movie import TiffMovie
from tests import ROOT

RAW = StreamInfo((2, 6, 8), np.dtype("<i2"), 30.0, ScanGeometry("collinear"), series="s1", planes=2)
DENOISED = StreamInfo((2, 3, 8), np.dtype("<i2"), 30.0, series="d1", parent="s1", planes=2)


def frame(index: int, info: StreamInfo = RAW, t_ns: int = 0) -> Frame:
    return Frame(index, np.full(info.shape, index - 5, info.dtype), t_ns=t_ns, plane=index % info.planes)


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

    assert sorted(p.name for p in (tmp_path / "session").iterdir()) == ["s1.jsonl", "s1_denoised.tif", "s1_raw.tif"]
    assert raw.paths == (tmp_path / "session" / "s1_raw.tif",)
    assert denoised.paths == (tmp_path / "session" / "s1_denoised.tif",)
    with TiffMovie(denoised.paths[0], channels=2) as movie:
        assert (movie.shape, movie.dtype.str) == ((3, 2, 3, 8), "<i2")
        assert movie.read(0, 3)[:, 0, 0, 0].tolist() == [5, 6, 9]
    log = read_sidecar(tmp_path / "session" / "s1.jsonl")
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
    log = read_sidecar(tmp_path / "s1.jsonl")
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
    assert [path.name for path in recorder.paths] == [f"s1_raw_0000{n}.tif" for n in (1, 2, 3)]
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
    assert [path.name for path in recorder.paths] == ["s1_raw.tif", "s2_raw.tif"]
    assert read_sidecar(tmp_path / "s2.jsonl")[0]["info"]["series"] == "s2"


def test_a_series_without_frames_leaves_no_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "raw", Sidecar(tmp_path))
    recorder.start(RAW)
    recorder.close()
    recorder.close()
    assert [path.name for path in tmp_path.iterdir()] == ["s1.jsonl"]
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
    with tifffile.TiffFile(tmp_path / "s1_denoised.tif") as tif:
        assert len(tif.pages) == 60
        for index, page in enumerate(tif.pages):
            assert page.dtype == np.int16
            assert (page.asarray() == index - 30).all()
    with TiffMovie(tmp_path / "s1_denoised.tif") as movie:
        assert movie.shape == (60, 1, 64, 64)
    assert [line["kind"] for line in read_sidecar(tmp_path / "s1.jsonl")] == ["start", "file", "gap"]


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
recorder.start(StreamInfo((1, 64, 64), np.dtype("<i2"), 30.0, series="s1"))
try:
    for index in range(20):
        recorder.put(Frame(index, np.full((1, 64, 64), index, np.int16)))
except StageError as error:
    print(error.came.split(" could")[0], "|", error.todo)
recorder.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")
def test_a_full_disk_leaves_an_intact_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, timeout=60, check=True, capture_output=True, text=True)
    with TiffMovie(tmp_path / "s1_raw.tif") as movie:
        frames = movie.shape[0]
        assert movie.read(0, frames)[:, 0, 0, 0].tolist() == list(range(frames))
    assert frames == 11
    assert process.stdout.strip() == (
        "frame 11 | free some space and record again; the 11 frames before it are complete in that file"
    )


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


@pytest.mark.parametrize("existing", ["s1_raw.tif", "s1_raw_00001.tif"])
def test_never_overwrites(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_bytes(b"precious")
    with pytest.raises(FileError, match=f"{existing} exists already"):
        Recorder(tmp_path, "raw", Sidecar(tmp_path)).start(RAW)
    assert (tmp_path / existing).read_bytes() == b"precious"
    assert not (tmp_path / "s1.jsonl").exists()


def test_an_existing_next_file_fails_the_recording(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "raw", Sidecar(tmp_path), roll_frames=1)
    recorder.start(RAW)
    recorder.put(frame(0))
    (tmp_path / "s1_raw_00002.tif").write_bytes(b"precious")
    with pytest.raises(StageError, match=r"frame 1 has no file .*all files up to .*s1_raw_00001\.tif are complete"):
        recorder.put(frame(1))
    recorder.close()


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
