from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.recording.recording_name import RecordingName, check_session_name, log_beside, series_name

T_NS = 1_764_453_286_000_000_000
DATE = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(T_NS / 1e9))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_names_begin_with_date_time_session_and_series(tmp_path: Path) -> None:
    name = RecordingName.of_series(tmp_path, "3f2a9c", "mouse7", T_NS)
    assert name.movie("raw") == tmp_path / f"{DATE}_mouse7_3f2a9c_raw.tif"
    assert name.movie("denoised", 2) == tmp_path / f"{DATE}_mouse7_3f2a9c_denoised_part002.tif"
    assert name.movie("raw", 3, 17) == tmp_path / f"{DATE}_mouse7_3f2a9c_raw_part003_00017.tif"
    assert (name.log(), name.log(2)) == (
        tmp_path / f"{DATE}_mouse7_3f2a9c.jsonl",
        tmp_path / f"{DATE}_mouse7_3f2a9c_part002.jsonl",
    )
    assert RecordingName.of_series(tmp_path, "3f2a9c", "", T_NS).stem == f"{DATE}_3f2a9c"


def test_a_series_that_was_recorded_before_keeps_its_stem(tmp_path: Path) -> None:
    touch(
        tmp_path, "2020-01-01_00-00-00_m_s1_raw.tif", "2020-01-01_00-00-00_m_s2.jsonl", "2020-01-01_00-00-00_s1.jsonl"
    )
    of = RecordingName.of_series
    assert of(tmp_path, "s1", "m", T_NS).stem == "2020-01-01_00-00-00_m_s1"
    assert of(tmp_path, "s2", "m", T_NS).stem == "2020-01-01_00-00-00_m_s2"
    assert of(tmp_path, "s2", "", T_NS).stem == f"{DATE}_s2"
    assert of(tmp_path, "s3", "m", T_NS).stem == f"{DATE}_m_s3"
    assert of(tmp_path / "none", "s1", "m", T_NS).stem == f"{DATE}_m_s1"


def test_files_are_found_in_the_order_of_writing_and_the_next_part_has_a_free_number(tmp_path: Path) -> None:
    stem = "2020-01-01_00-00-00_a_raw"
    ordered = [
        *(f"{stem}_raw.tif", f"{stem}_raw_part002_00001.tif", f"{stem}_raw_part002_00002.tif"),
        *(f"{stem}_raw_part010.tif", f"{stem}_raw_part1000.tif"),
    ]
    touch(tmp_path, *reversed(ordered), f"{stem}_denoised.tif", f"{stem}_part004.jsonl", f"{stem}.jsonl", "x.tif")
    touch(tmp_path, "2020-01-01_00-00-00_a_raw_raw_recovered.tif", "2020-01-01_00-00-00_a_raw.tif")
    name = RecordingName(tmp_path, stem)
    assert [path.name for path in name.movies("raw")] == ordered
    assert [path.name for path in name.logs()] == [f"{stem}.jsonl", f"{stem}_part004.jsonl"]
    assert [name.next_part(of) for of in ("raw", "denoised", "log")] == [1001, 2, 5]
    assert log_beside(tmp_path / ordered[3]) == name.logs()
    assert log_beside(tmp_path / "x.tif") == []


@pytest.mark.parametrize("name", ["../up", "a/b", "a b", "x" * 65, "ü", "a\n", "C:x"])
def test_names_that_are_not_safe_in_a_file_name_are_refused(name: str) -> None:
    with pytest.raises(FileError, match="expected up to 64 letters"):
        check_session_name(name)
    assert check_session_name("mouse7-day_2") == "mouse7-day_2"


def test_a_denoised_series_has_the_name_of_its_raw_one() -> None:
    info = StreamInfo((1, 2, 2), np.dtype("<i2"), 1.0, series="d", parent="r")
    assert series_name(info) == "r"
    with pytest.raises(StreamError):
        series_name(StreamInfo((1, 2, 2), np.dtype("<i2"), 1.0, series="../r"))
