"""Recordings of deepbid-rt itself."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.movies.tiff import open_movie
from deepbid_rt.movies.wanted import Wanted
from deepbid_rt.recording.tiff_writer import TiffMovieWriter
from tests.movies.tiff_files import expected, firsts, page, value

STEM = "2026-11-29_21-54-46_mouse7_3f2a9c"


def record(path: Path, numbers: list[int], *, channels: int = 2, planes: int = 3, facts: bool = True) -> Path:
    said = {"stream": "raw", "series": "s", "rate_hz": 30.0, "channels": channels, "planes": planes} if facts else {}
    with closing(TiffMovieWriter(path, facts=said or {"processed": "denoised, not raw data"})) as writer:
        for number in numbers:
            t, plane = divmod(number, planes)
            frame = np.stack([page(value(t, plane, channel)) for channel in range(channels)])
            more = {"t_ns": 0, "plane": plane} if facts else {}
            writer.append(frame, number, number / 30, **more)
    return path


def test_channels_planes_and_rate_are_known(tmp_path: Path) -> None:
    with open_movie(record(tmp_path / "a.tif", list(range(12))), Wanted()) as movie:
        assert firsts(movie) == expected([(t, p) for t in range(4) for p in range(3)], 2)
        facts = movie.facts
        assert (facts.format, facts.planes, facts.rate_hz, facts.warnings) == ("deepbid-rt", 3, 30.0, ())
        assert facts.numbers is not None
        assert facts.numbers.tolist() == list(range(12))
        assert facts.times_s == pytest.approx(np.arange(12) / 30)


def test_lost_frames_do_not_shift_planes(tmp_path: Path) -> None:
    with open_movie(record(tmp_path / "a.tif", [1, 2, 3, 4, 5, 6, 8, 9, 10, 11]), Wanted()) as movie:
        assert firsts(movie) == expected([(t, p) for t in (1, 3) for p in range(3)], 2)
        assert any("4 frames of volumes that lack frames" in one for one in movie.facts.warnings)
        assert any("3 frames are missing" in one for one in movie.facts.warnings)


def test_files_of_a_fixed_length(tmp_path: Path) -> None:
    for k in range(3):
        record(tmp_path / f"{STEM}_raw_{k + 1:05d}.tif", list(range(4 * k, 4 * k + 4)))
    for asked in (tmp_path, tmp_path / f"{STEM}_raw_*.tif"):
        with open_movie(asked, Wanted()) as movie:
            assert firsts(movie) == expected([(t, p) for t in range(4) for p in range(3)], 2)


def test_output_of_denoise(tmp_path: Path) -> None:
    with open_movie(record(tmp_path / "a.tif", list(range(5)), planes=1, facts=False), Wanted()) as movie:
        assert movie.shape[:2] == (5, 2)
        assert movie.facts.rate_hz == pytest.approx(30.0)
        assert "not raw data" in movie.facts.warnings[0]


def test_the_scan_of_the_session_log(tmp_path: Path) -> None:
    path = record(tmp_path / f"{STEM}_raw.tif", list(range(6)), planes=1)
    scan = {"layout": "collinear", "bidirectional": True, "first": "forward", "mirrored": False, "extra": {"ff_t": 0.9}}
    info = {"parent": None, "scan": scan}
    log = tmp_path / f"{STEM}.jsonl"
    log.write_text(json.dumps({"kind": "start", "t_ns": 1, "info": info}) + "\n")
    with open_movie(path, Wanted()) as movie:
        assert (movie.facts.bidirectional, movie.facts.mirrored) == (True, False)
        assert movie.facts.extra == {"ff_t": 0.9, "layout": "collinear"}
    log.write_text("no json\nnothing\n")
    with open_movie(path, Wanted()) as movie:
        assert movie.facts.bidirectional is None


def test_wishes_replace_what_is_said(tmp_path: Path) -> None:
    path = record(tmp_path / "a.tif", list(range(12)))
    with open_movie(path, Wanted(planes=4)) as movie:
        assert (movie.shape[:2], movie.facts.planes) == ((12, 2), 4)
        assert "the file itself says 3 planes" in movie.facts.warnings[0]
    with pytest.raises(StreamError, match="multiple of 10 pages"):
        open_movie(path, Wanted(planes=5))
