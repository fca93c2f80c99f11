from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.frame import FrameFlag, ScanGeometry, StreamInfo
from deepbid_rt.recording import log_file
from deepbid_rt.recording import sidecar as module
from deepbid_rt.recording.sidecar import Sidecar, read_log_beside, read_sidecar, series_name
from tests import ROOT
from tests.fakes import raise_

INFO = StreamInfo(
    (1, 6, 8), np.dtype("<i2"), 30.0, ScanGeometry("collinear", extra={"f_res_hz": 7_910.5}), series="s1", user={"n": 1}
)
DENOISED = StreamInfo((1, 3, 8), np.dtype("<i2"), 30.0, series="d1", parent="s1")


def undated(paths: Iterable[Path]) -> list[str]:
    return [path.name[20:] for path in paths]


def lines_in(folder: Path) -> list[dict[str, Any]]:
    return [line for path in sorted(folder.glob("*.jsonl")) for line in read_sidecar(path)]


def test_a_session_from_start_to_summary(tmp_path: Path) -> None:
    ticks = iter(range(100, 200))
    sidecar = Sidecar(tmp_path / "new" / "folder", clock=lambda: next(ticks))
    assert sidecar.begin(INFO, engine={"sha256": "ab"}) == "s1"
    sidecar.begin(INFO, engine="ignored")
    sidecar.begin(DENOISED)
    sidecar.write("gap", first=3, count=2, cause="transport")
    sidecar.write("gap", first=9, count=1, cause="ring")
    sidecar.write("late", series="s1", t_ns=7)
    sidecar.close(frames_in=12)
    sidecar.close(frames_in=99)
    assert undated(sidecar.paths) == ["s1.jsonl"]
    assert sidecar.paths[0].parent == tmp_path / "new" / "folder"
    start, derived, *rest = read_sidecar(sidecar.paths[0])
    assert (start["kind"], start["t_ns"], start["engine"]) == ("start", 101, {"sha256": "ab"})
    assert start["info"] == {
        "shape": [1, 6, 8],
        "dtype": "<i2",
        "rate_hz": 30.0,
        "scan": {
            "layout": "collinear",
            "bidirectional": True,
            "first": "forward",
            "mirrored": True,
            "extra": {"f_res_hz": 7910.5},
        },
        "series": "s1",
        "source": "scope1",
        "planes": 1,
        "n_expected": None,
        "parent": None,
        "user": {"n": 1},
    }
    assert (derived["kind"], derived["info"]["parent"]) == ("start", "s1")
    assert rest == [
        {"kind": "gap", "t_ns": 103, "first": 3, "count": 2, "cause": "transport"},
        {"kind": "gap", "t_ns": 104, "first": 9, "count": 1, "cause": "ring"},
        {"kind": "late", "t_ns": 7},
        {
            "kind": "summary",
            "t_ns": 106,
            "series": "s1",
            "lines": {"start": 2, "gap": 2, "late": 1},
            "lines_lost": 0,
            "frames_in": 12,
        },
    ]


def test_each_line_is_in_the_file_before_write_returns(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    sidecar.begin(INFO)
    for count in range(2, 6):
        sidecar.write("latency", p50_ms=1.5)
        assert len(lines_in(tmp_path)) == count


def test_lines_go_to_their_series_or_the_latest(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    first = sidecar.begin(INFO)
    sidecar.begin(StreamInfo((1, 6, 8), np.dtype("<i2"), 30.0, series="s2"))
    sidecar.begin(DENOISED)  # a recorder that lags behind joins the first
    sidecar.write("a")
    sidecar.write("b", series=first)
    sidecar.close()
    kinds = [[line["kind"] for line in read_sidecar(path)] for path in sidecar.paths]
    assert kinds == [["start", "start", "b", "summary"], ["start", "a", "summary"]]


def test_all_plain_data_become_json(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    sidecar.begin(INFO)
    sidecar.write(
        "mixed",
        scalar=np.float32(1.5),
        array=np.arange(3, dtype=np.uint16),
        flag=FrameFlag.SATURATED,
        path=tmp_path,
        raw=b"\x01\xff",
        bad=[math.nan, np.inf, -math.inf],
        text="µs \u2028",
        keys={1: (True, None)},
        scan=INFO.scan,
    )
    line = lines_in(tmp_path)[-1]
    assert (line["scalar"], line["array"], line["flag"], line["path"]) == (1.5, [0, 1, 2], 1, str(tmp_path))
    assert (line["raw"], line["bad"], line["text"]) == ("01ff", [None, None, None], "µs \u2028")
    assert (line["keys"], line["scan"]["first"]) == ({"1": [True, None]}, "forward")


def test_threads_never_mix_their_lines(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    sidecar.begin(INFO)

    def write(who: int) -> None:
        for n in range(50):
            sidecar.begin(INFO)
            sidecar.write("n", who=who, n=n, padding="x" * 500)

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sidecar.close()
    lines = lines_in(tmp_path)
    for who in range(4):
        assert [line["n"] for line in lines if line.get("who") == who] == list(range(50))
    assert lines[-1]["lines"] == {"start": 1, "n": 200}


KILLED = """
import os, signal, sys
import numpy as np
from deepbid_rt.frame import StreamInfo
from deepbid_rt.recording.sidecar import Sidecar
sidecar = Sidecar(sys.argv[1])
sidecar.begin(StreamInfo((1, 6, 8), np.dtype("<i2"), 30.0, series="s1"))
for n in range(20):
    sidecar.write("n", n=n)
if hasattr(signal, "SIGKILL"):
    os.kill(os.getpid(), signal.SIGKILL)
os._exit(9)
"""


def test_a_kill_loses_no_line(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, timeout=60, check=False)
    assert process.returncode != 0
    assert [line.get("n") for line in lines_in(tmp_path)] == [None, *range(20)]


def test_a_log_that_exists_is_left_alone_and_a_new_part_begins(tmp_path: Path) -> None:
    (tmp_path / "2026-11-29_21-54-46_mouse7_s1.jsonl").write_bytes(b"precious")
    sidecar = Sidecar(tmp_path, name="mouse7")
    sidecar.begin(INFO)
    sidecar.close()
    assert [path.name for path in sidecar.paths] == ["2026-11-29_21-54-46_mouse7_s1_part002.jsonl"]
    assert (tmp_path / "2026-11-29_21-54-46_mouse7_s1.jsonl").read_bytes() == b"precious"
    part, start, _ = read_sidecar(sidecar.paths[0])
    assert (part["kind"], part["part"], part["reason"]) == ("part", 2, "an earlier session")
    assert start["kind"] == "start"


def test_a_name_that_cannot_be_in_a_file_name_is_refused(tmp_path: Path) -> None:
    for name in ("../up", "a b", "x" * 65, "ü"):
        with pytest.raises(FileError, match=r"expected up to 64 letters, digits, _ and -; choose a name such as"):
            Sidecar(tmp_path, name=name)


@pytest.mark.parametrize("series", ["", "../up", "a/b", "C:x", "a b", "x" * 129, "ü", "s1\n"])
def test_refuses_series_whose_name_cannot_be_a_file_name(series: str) -> None:
    with pytest.raises(StreamError, match=r"a series named"):
        series_name(StreamInfo((1, 6, 8), np.dtype("<i2"), 30.0, series=series))


def test_refuses_lines_outside_a_session(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    with pytest.raises(StreamError, match="a gap line for series None"):
        sidecar.write("gap")
    sidecar.begin(INFO)
    with pytest.raises(StreamError, match="a gap line for series other"):
        sidecar.write("gap", series="other")
    sidecar.close()
    with pytest.raises(StreamError, match="a gap line for a closed log"):
        sidecar.write("gap")


class Disk:
    """Files that take no lines while it is full, and the alarms that follow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.told: list[str | None] = []
        disk = self

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                if not disk.full:
                    return super().write(data)
                super().write(bytes(data)[:5])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(io, "FileIO", File)
        monkeypatch.setattr(log_file, "RETRY_S", 0.0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_lines_that_a_full_disk_refuses_wait_and_go_into_a_new_part(tmp_path: Path, disk: Disk) -> None:
    sidecar = Sidecar(tmp_path, trouble=disk.told.append)
    sidecar.begin(INFO)
    sidecar.write("gap", first=1)
    whole = sidecar.paths[0].read_bytes()
    disk.full = True
    sidecar.write("gap", first=2)
    sidecar.write("gap", first=3)
    (told,) = disk.told
    assert told == (
        f"the session log in {tmp_path} takes no lines (No space left on device); they are kept and tried again; "
        "the recordings go on"
    )
    assert [path.name[20:] for path in tmp_path.iterdir()] == ["s1.jsonl"]
    disk.full = False
    sidecar.write("gap", first=4)
    assert disk.told[1:] == [None]
    sidecar.close()
    first, second = sidecar.paths
    assert undated(sidecar.paths) == ["s1.jsonl", "s1_part002.jsonl"]
    assert first.read_bytes() == whole
    lines = read_sidecar(second)
    assert [line["kind"] for line in lines] == ["start", "part", "gap", "gap", "gap", "summary"]
    assert lines[1]["reason"] == "No space left on device"
    assert [line["first"] for line in lines[2:5]] == [2, 3, 4]
    assert (lines[-1]["lines"], lines[-1]["lines_lost"]) == ({"start": 1, "gap": 4}, 0)


def test_lines_beyond_the_limit_are_counted_and_said_at_the_end(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "WAITING_LINES", 3)
    sidecar = Sidecar(tmp_path)
    sidecar.begin(INFO)
    disk.full = True
    for n in range(5):
        sidecar.write("n", n=n)
    disk.full = False
    with pytest.raises(StageError, match=r"^3 lines of the session log in .* could not be written \(the disk refused"):
        sidecar.close()
    lines = lines_in(tmp_path)
    assert [line["n"] for line in lines if line["kind"] == "n"] == [3, 4]
    assert (lines[-1]["kind"], lines[-1]["lines_lost"]) == ("summary", 2)


def test_a_disk_that_stays_full_is_said_at_the_end(tmp_path: Path, disk: Disk) -> None:
    sidecar = Sidecar(tmp_path)
    disk.full = True
    sidecar.begin(INFO)
    with pytest.raises(StageError, match=r"^2 lines .* \(No space left on device\)"):
        sidecar.close()
    assert list(tmp_path.iterdir()) == []


def test_the_log_needs_no_descriptor_after_it_has_begun(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no limit of descriptors")
    sidecar = Sidecar(tmp_path)
    sidecar.begin(INFO)
    before, held = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(64, before[0]), before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        sidecar.write("gap")
        sidecar.sync("s1")
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [line["kind"] for line in lines_in(tmp_path)] == ["start", "gap"]
    sidecar.close()


def test_hundreds_of_series_keep_few_logs_open(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    for n in range(30):
        sidecar.begin(StreamInfo((1, 6, 8), np.dtype("<i2"), 30.0, series=f"s{n:02d}"))
        sidecar.write("gap", series="s00")
        assert sum(log.open for log in sidecar._logs.values()) <= module.OPEN_LOGS
    sidecar.close()
    for path in tmp_path.iterdir():
        kinds = [line["kind"] for line in read_sidecar(path)]
        assert kinds == ["start", *["gap"] * (30 if "s00" in path.name else 0), "summary"]
    assert not any(log.open for log in sidecar._logs.values())


def test_a_deleted_log_begins_again_with_what_describes_the_series(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    sidecar = Sidecar(folder)
    sidecar.begin(INFO)
    sidecar.write("engine", name="average")
    sidecar.write("gap", first=1)
    shutil.rmtree(folder)
    sidecar.write("gap", first=2)
    lines = lines_in(folder)
    assert [line["kind"] for line in lines] == ["start", "engine", "part", "gap"]
    assert (lines[2]["reason"], lines[3]["first"]) == ("the part before it was deleted, and 3 lines with it", 2)
    with pytest.raises(StageError, match="3 lines"):
        sidecar.close()


def test_sync_forces_to_the_disk_and_an_error_is_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    told: list[str | None] = []
    sidecar = Sidecar(tmp_path, trouble=told.append)
    series = sidecar.begin(INFO)
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", calls.append)
        sidecar.write("gap")
        assert calls == []
        sidecar.sync(series)
        assert len(calls) == 1
        patch.setattr(module.os, "fsync", lambda _: raise_(OSError(errno.EIO, os.strerror(errno.EIO))))
        sidecar.sync(series)
    sidecar.close()
    assert told == [f"the session log in {tmp_path} cannot be forced to the disk (Input/output error)", None]


def test_the_log_beside_a_recording_has_all_its_parts(tmp_path: Path) -> None:
    for _ in range(2):
        sidecar = Sidecar(tmp_path)
        sidecar.begin(INFO)
        sidecar.close()
    movie = sidecar.name("s1").movie("denoised", 2)
    kinds = [line["kind"] for line in read_log_beside(movie)]
    assert kinds == ["start", "summary", "part", "start", "summary"]
    for other in (tmp_path / "movie.tif", Path(str(movie).replace("s1", "s2"))):
        with pytest.raises(FileError, match="has no session log beside it"):
            read_log_beside(other)


lines = st.lists(
    st.fixed_dictionaries({"kind": st.text(max_size=5), "t_ns": st.integers(0, 2**63), "x": st.text(max_size=8)}),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines, st.data())
def test_a_log_cut_at_any_byte_lacks_only_the_cut_line(
    tmp_path: Path, records: list[dict[str, Any]], data: st.DataObject
) -> None:
    whole = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    size = data.draw(st.integers(0, len(whole)))
    (tmp_path / "log.jsonl").write_bytes(whole[:size])
    ends = np.cumsum([len(json.dumps(record)) + 1 for record in records])
    assert read_sidecar(tmp_path / "log.jsonl") == records[: int(np.sum(ends - 1 <= size))]


@pytest.mark.parametrize(
    "broken", [b'{"kind": "gap", "t_', b"\0\0\0\0", b"[1]", b'{"kind": "gap"}', b'{"kind": 3, "t_ns": 1}', b"", b"\xff"]
)
def test_refuses_any_other_broken_line(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "log.jsonl"
    good = b'{"kind": "gap", "t_ns": 1}\n'
    path.write_bytes(good + broken + b"\n" + good)
    with pytest.raises(FileError) as info:
        read_sidecar(path)
    assert str(info.value) == (
        f'line 2 of {path} is not a log line; expected JSON objects with "kind" and "t_ns", of which only the last may '
        "be incomplete; run deepbid-rt recover on its folder, which writes the whole lines to a new file."
    )


def test_refuses_a_missing_log(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        read_sidecar(tmp_path / "none.jsonl")


def test_lines_are_written_under_the_lock(tmp_path: Path) -> None:
    held: list[bool] = []

    def clock() -> int:
        held.append(sidecar._lock.locked())
        return 0

    sidecar = Sidecar(tmp_path, clock=clock)
    sidecar.begin(INFO)
    sidecar.write("gap")
    sidecar.close()
    assert held == [True] * 4
