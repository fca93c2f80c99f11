"""What recovery finds and writes, in folders as a kill, a power cut and a full disk leave them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError
from deepbid_rt.frame import Frame, Gap, StreamInfo
from deepbid_rt.recording.recorder import Recorder
from deepbid_rt.recording.recovery import MissingFrames, Recovery
from deepbid_rt.recording.sidecar import Sidecar, read_sidecar
from deepbid_rt.recording.tiff_movie import TiffMovie

INFO = StreamInfo((2, 16, 16), np.dtype("<i2"), 30.0, series="s1")


def pixels(index: int) -> np.ndarray:
    return (np.arange(512).reshape(2, 16, 16) + index).astype(np.int16)


def record(folder: Path, first: int, last: int, *, lost: Gap | None = None, killed: bool = False) -> Path:
    """Record frames in a session of their own; return the movie."""
    sidecar = Sidecar(folder)
    recorder = Recorder(folder, "raw", sidecar)
    recorder.start(INFO)
    for index in range(first, last):
        if lost and lost.first <= index < lost.first + lost.count:
            continue
        recorder.put(Frame(index, pixels(index), t_ns=10**9 + index))
    if lost:
        recorder.skip(lost)
    sidecar.write("total", frames_in=last - first)
    if killed:
        recorder._writer._file.close()  # as the operating system does
    else:
        recorder.close()
        sidecar.close(frames_in=last - first)
    return recorder.paths[0]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_whole_session_needs_nothing(tmp_path: Path) -> None:
    record(tmp_path, 0, 9, lost=Gap(3, 2, "transport"))
    before = files(tmp_path)
    (movie,), (log,) = Recovery(tmp_path).run()
    assert (movie.whole, movie.problem, movie.frames, movie.first, movie.last) == (True, None, 7, 0, 8)
    assert movie.missing == [MissingFrames(3, 2, "transport")]
    assert (log.whole, log.problem, log.recovered) == (True, None, None)
    assert log.last_total is not None
    assert log.last_total["kind"] == "summary"
    assert files(tmp_path) == before


def test_a_killed_session_gets_an_index_and_a_summary(tmp_path: Path) -> None:
    path = record(tmp_path, 5, 30, killed=True)
    before = files(tmp_path)
    (movie,), (log,) = Recovery(tmp_path).run()
    assert (movie.whole, movie.frames, movie.recovered) == (True, 25, None)
    assert (log.whole, log.problem) == (False, "1 of its 1 sessions has no summary: it did not end")
    assert {name: content for name, content in files(tmp_path).items() if "_recovered" not in name} == before
    *lines, index, summary = read_sidecar(str(log.recovered))
    assert [line["kind"] for line in lines] == ["start", "file", "total"]
    assert (index["kind"], index["name"], index["frames"]) == ("index", path.name, list(range(5, 30)))
    assert index["frames_t_ns"] == [10**9 + n for n in range(5, 30)]
    assert index["frames_s"] == [round((n - 5) / 1e9, 9) for n in range(5, 30)]
    assert (summary["kind"], summary["frames_in"], summary["lines"]) == (
        "summary",
        25,
        {"start": 1, "file": 1, "total": 1},
    )
    assert summary["recordings"][0]["frames"] == 25
    written = files(tmp_path)
    Recovery(tmp_path).run()  # again: what was written is neither doubled nor taken for an original
    assert files(tmp_path) == written


def test_a_cut_movie_is_written_again_and_the_missing_frames_are_named(tmp_path: Path) -> None:
    path = record(tmp_path, 0, 20)
    os.truncate(path, path.stat().st_size * 3 // 4)
    record(tmp_path, 30, 33)
    before = files(tmp_path)
    (cut, rest), (log,) = Recovery(tmp_path).run()
    assert (cut.whole, cut.problem, cut.last) == (False, "it is cut off", cut.frames - 1)
    assert 13 <= cut.frames <= 15
    assert (rest.whole, rest.missing) == (True, [MissingFrames(cut.frames, 30 - cut.frames, "interruption")])
    assert log.whole
    assert {name: content for name, content in files(tmp_path).items() if "_recovered" not in name} == before
    with TiffMovie(str(cut.recovered), 2) as movie:
        assert movie.shape[0] == cut.frames
        for n in range(cut.frames):
            np.testing.assert_array_equal(movie.frame(n), pixels(n))
        first = movie.description(0)
        assert f"recovered = the whole frames of {path.name}" in first
        assert "stream = raw" in first
        assert movie.description(3).splitlines()[:1] == ["frameNumbers = 1"]
        assert f"t_ns = {10**9 + 1}" in movie.description(3)


def test_a_zeroed_place_costs_its_frames_and_no_channel_is_shifted(tmp_path: Path) -> None:
    path = record(tmp_path, 0, 20)
    with TiffMovie(path) as movie:
        begin, end = movie._offsets[11], movie._offsets[12]  # the second channel of frame 5
    content = bytearray(path.read_bytes())
    content[begin:end] = bytes(end - begin)
    path.write_bytes(content)
    (report,), _ = Recovery(tmp_path).run()
    assert (report.whole, report.frames) == (False, 19)
    assert report.missing == [MissingFrames(5, 1, "unknown")]
    with TiffMovie(str(report.recovered), 2) as movie:
        np.testing.assert_array_equal(movie.read(0, 19), [pixels(n) for n in range(20) if n != 5])


def test_a_log_with_broken_lines_is_written_again_without_them(tmp_path: Path) -> None:
    record(tmp_path, 0, 3)
    (path,) = tmp_path.glob("*.jsonl")
    content = path.read_bytes().splitlines(keepends=True)
    content.insert(1, b"\0" * 30 + b"\n")
    path.write_bytes(b"".join(content))
    _, (log,) = Recovery(tmp_path).run()
    assert (log.whole, log.problem) == (False, "1 of its lines are not whole")
    assert [line["kind"] for line in read_sidecar(str(log.recovered))] == [
        *("start", "file", "total", "recorded", "index", "summary"),
    ]


def test_a_lost_log_is_made_anew_from_the_pages(tmp_path: Path) -> None:
    record(tmp_path, 0, 3)
    (path,) = tmp_path.glob("*.jsonl")
    path.unlink()
    _, (log,) = Recovery(tmp_path).run()
    assert log.problem == "there is no log"
    assert [line["kind"] for line in read_sidecar(str(log.recovered))] == ["index", "summary"]


def test_an_empty_and_a_hopeless_file_are_reported(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_bytes(b"no TIFF at all")
    movies, logs = Recovery(tmp_path).run()
    assert [(Path(m.path).name, m.whole, m.frames, m.recovered) for m in movies] == [
        ("empty.tif", False, 0, None),
        ("text.tif", False, 0, None),
    ]
    assert movies[0].problem == "it is empty: no frame was written"
    assert "not a TIFF file" in str(movies[1].problem)
    assert logs == []


def test_a_movie_of_another_program_is_salvaged_page_by_page(tmp_path: Path) -> None:
    path = tmp_path / "other.tif"
    movie = np.random.default_rng(0).integers(0, 9, (10, 32, 32), np.uint16)
    with tifffile.TiffWriter(path) as tif:
        for frame in movie:
            tif.write(frame, compression="zlib", contiguous=False, metadata=None)
    with tifffile.TiffFile(path) as tif:
        damaged, last = tif.pages[4].dataoffsets[0], tif.pages[9].dataoffsets[0]
    content = bytearray(path.read_bytes())[: last + 5]
    content[damaged : damaged + 9] = bytes(9)
    path.write_bytes(content)
    (report,), logs = Recovery(path).run()
    assert (report.frames, report.first, report.missing, logs) == (8, None, [], [])
    assert str(report.problem).startswith(f"it is cut off; frame 4 of {path} cannot be read (")
    with TiffMovie(str(report.recovered)) as recovered:
        np.testing.assert_array_equal(recovered.read(0, 8)[:, 0], movie[[0, 1, 2, 3, 5, 6, 7, 8]])


def test_a_place_without_recordings_is_refused(tmp_path: Path) -> None:
    for path, message in ((tmp_path, "has no recording"), (tmp_path / "none", "no file or folder")):
        with pytest.raises(FileError, match=message):
            Recovery(path)
