from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.frame import FrameFlag, ScanGeometry, StreamInfo
from deepbid_rt.recording import sidecar as module
from deepbid_rt.recording.sidecar import Sidecar, read_sidecar, series_name
from tests import ROOT

INFO = StreamInfo(
    (1, 6, 8), np.dtype("<i2"), 30.0, ScanGeometry("collinear", extra={"f_res_hz": 7_910.5}), series="s1", user={"n": 1}
)
DENOISED = StreamInfo((1, 3, 8), np.dtype("<i2"), 30.0, series="d1", parent="s1")


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
    assert sidecar.paths == (tmp_path / "new" / "folder" / "s1.jsonl",)
    start, derived, *rest = read_sidecar(sidecar.paths[0])
    assert (start["kind"], start["t_ns"], start["engine"]) == ("start", 100, {"sha256": "ab"})
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
        {"kind": "gap", "t_ns": 102, "first": 3, "count": 2, "cause": "transport"},
        {"kind": "gap", "t_ns": 103, "first": 9, "count": 1, "cause": "ring"},
        {"kind": "late", "t_ns": 7},
        {
            "kind": "summary",
            "t_ns": 105,
            "series": "s1",
            "lines": {"start": 2, "gap": 2, "late": 1},
            "frames_in": 12,
        },
    ]


def test_each_line_is_in_the_file_before_write_returns(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    sidecar.begin(INFO)
    for count in range(2, 6):
        sidecar.write("latency", p50_ms=1.5)
        assert len(read_sidecar(tmp_path / "s1.jsonl")) == count


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
    line = read_sidecar(tmp_path / "s1.jsonl")[-1]
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
    lines = read_sidecar(tmp_path / "s1.jsonl")
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
    assert [line.get("n") for line in read_sidecar(tmp_path / "s1.jsonl")] == [None, *range(20)]


def test_refuses_logs_that_exist_or_cannot_be_created(tmp_path: Path) -> None:
    path = tmp_path / "s1.jsonl"
    path.write_bytes(b"precious")
    with pytest.raises(FileError) as info:
        Sidecar(tmp_path).begin(INFO)
    assert str(info.value) == (
        f"{path} exists already; expected a new name, since recordings are never overwritten; choose another folder."
    )
    assert path.read_bytes() == b"precious"
    with pytest.raises(FileError, match="cannot be created"):
        Sidecar(path).begin(INFO)


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


def test_a_full_disk_is_an_error_and_nothing_is_appended_to_the_broken_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sidecar = Sidecar(tmp_path)
    sidecar.begin(INFO)
    whole = (tmp_path / "s1.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(OSError(28, os.strerror(28))))
        with pytest.raises(StageError) as info:
            sidecar.write("gap")
    assert str(info.value) == (
        f"{tmp_path / 's1.jsonl'} could not be written (No space left on device); expected a disk that accepts every "
        "line; free some space and record again; the lines before this one are complete."
    )
    sidecar.close()
    assert (tmp_path / "s1.jsonl").read_bytes() == whole


def test_sync_forces_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(module.os, "fsync", calls.append)
    sidecar = Sidecar(tmp_path)
    series = sidecar.begin(INFO)
    sidecar.write("gap")
    assert calls == []
    sidecar.sync(series)
    assert len(calls) == 1
    sidecar.close()
    assert len(calls) == 2


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
        "be incomplete; restore the file from a copy."
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
    assert held == [True] * 3
