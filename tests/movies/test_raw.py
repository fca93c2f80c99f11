from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepbid_rt.errors import StageError
from deepbid_rt.movies import raw
from deepbid_rt.movies.wanted import Wanted
from tests.movies.encoded import check, encoded, frames_of, refused


def write(path: Path, pixels: Any, behind: bytes = b"") -> Path:
    path.write_bytes(pixels.tobytes() + behind)
    return path


@pytest.mark.parametrize("dtype", ["uint16", "<i2", ">u2", "float32", "uint8", "int8", "float64"])
def test_frames_are_counted_by_the_length_of_the_file(tmp_path: Path, dtype: str) -> None:
    movie = encoded(5, dtype=dtype) % 100
    stored = movie.astype(dtype)
    kinds = {
        "int8": "<i2",
        "float64": "<f4",
        "float32": "<f4",
        "uint16": "<u2",
        ">u2": "<u2",
        "<i2": "<i2",
        "uint8": "|u1",
    }
    opened = check(
        raw, write(tmp_path / "m.raw", stored), frames_of(stored).astype(kinds[dtype]), shape=(48, 64), dtype=dtype
    )
    assert "--shape and --dtype" in opened.facts.pages
    assert any("confirms" in one for one in opened.facts.warnings)


def test_channels_planes_and_times(tmp_path: Path) -> None:
    movie = encoded(5, 3, 2)
    path = write(tmp_path / "m.bin", movie)
    check(raw, path, frames_of(movie), shape=(2, 48, 64), dtype="uint16")
    check(raw, path, frames_of(movie), 3, shape=(2, 48, 64), dtype="uint16", planes=3)
    check(raw, path, frames_of(movie), 3, shape=(48, 64), dtype="uint16", planes=3, channels=2)
    check(raw, path, frames_of(movie), shape=(15, 2, 48, 64), dtype="uint16")
    refused(raw, path, "16 .*|multiple of 4", shape=(2, 48, 64), dtype="uint16", planes=4)
    refused(raw, path, "2 channels for 3", shape=(2, 48, 64), dtype="uint16", channels=3)


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        ({}, "without --shape and --dtype.*--shape 512,512 --dtype uint16"),
        ({"shape": (48, 64)}, "without --dtype"),
        ({"dtype": "u2"}, "without --shape"),
        ({"shape": (48,), "dtype": "u2"}, "Y,X or C,Y,X"),
        ({"shape": (48, 0), "dtype": "u2"}, "at least 1"),
        ({"shape": (48, -64), "dtype": "u2"}, "at least 1"),
        ({"shape": (48, 64), "dtype": "uint12"}, "--dtype uint12"),
        ({"shape": (48, 64), "dtype": "O"}, "type of numbers"),
        ({"shape": (48, 64), "dtype": "complex64"}, "complex"),
        ({"shape": (48, 64), "dtype": "u2,u2"}, "values"),
        ({"shape": (48, 640), "dtype": "f8"}, "less than one frame"),
        ({"shape": (10**9, 10**9), "dtype": "u2"}, "less than one frame"),
        ({"shape": (20, 1, 48, 64), "dtype": "u2"}, "5 whole frames, for --shape 20,1,48,64"),
        ({"shape": (20, 48, 64), "dtype": "u1"}, "less than|channels"),
        ({"shape": (9, 16, 16), "dtype": "u2"}, "9 channels"),
        ({"shape": (2, 9000), "dtype": "u1"}, "9000 pixels"),
    ],
)
def test_bad_wishes_are_refused(tmp_path: Path, wanted: dict[str, Any], match: str) -> None:
    refused(raw, write(tmp_path / "m.raw", encoded(5)), match, **wanted)


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    movie = encoded(5)
    path = write(tmp_path / "m.raw", movie, b"123")
    assert "3 bytes at the end" in check(raw, path, frames_of(movie), shape=(48, 64), dtype="u2").facts.warnings[0]
    opened = check(raw, path, frames_of(movie)[:3], shape=(3, 1, 48, 64), dtype="u2")
    assert f"{2 * 48 * 64 * 2 + 3} bytes behind" in opened.facts.warnings[0]
    opened = check(raw, path, frames_of(movie), shape=(9, 1, 48, 64), dtype="u2", salvage=True)
    assert opened.problem == "it is cut off"


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    refused(raw, write(tmp_path / "m.raw", np.zeros(0)), "less than one frame", shape=(48, 64), dtype="u2")


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "m.raw", encoded(50))
    with raw.open_movie(path, Wanted(shape=(48, 64), dtype="u2")) as movie:
        with path.open("r+b") as file:
            file.truncate(20_000)
        with pytest.raises(StageError, match="shorter"):
            movie.read(0, 50)


def test_a_raw_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "Image_0001_0001.raw", encoded(1))
    assert raw.claims(path)
    (tmp_path / "Experiment.xml").write_text("<ThorImageExperiment/>")
    assert not raw.claims(path)
    assert not raw.claims(tmp_path)
    assert not raw.claims(tmp_path / "none.raw")
