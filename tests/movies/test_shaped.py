"""Arrays that tifffile wrote."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.tiff import open_movie
from deepbid_rt.movies.wanted import Wanted
from tests import DATA
from tests.movies.tiff_files import SIDE, expected, firsts, page, value


def array(axes: str, **lengths: int) -> np.ndarray[Any, Any]:
    """Return an array with these leading axes; the first pixel of each page encodes (t, plane, channel)."""
    shape = [lengths[axis] for axis in axes]
    out = np.empty((*shape, SIDE, SIDE), np.int16)
    for at in np.ndindex(*shape):
        place = dict(zip(axes, at, strict=True))
        out[at] = page(value(place.get("T", 0), place.get("Z", 0), place.get("C", 0)))
    return out


@pytest.mark.parametrize("axes", ["T", "TC", "CT", "TZC", "TCZ", "ZCT", "TZ"])
def test_named_axes(tmp_path: Path, axes: str) -> None:
    lengths = {"T": 3, "Z": 4, "C": 2}
    tifffile.imwrite(
        tmp_path / "a.tif", array(axes, **lengths), photometric="minisblack", metadata={"axes": f"{axes}YX"}
    )
    with open_movie(tmp_path / "a.tif", Wanted()) as movie:
        planes, channels = (lengths[axis] if axis in axes else 1 for axis in "ZC")
        assert firsts(movie) == expected([(t, z) for t in range(3) for z in range(planes)], channels)
        assert movie.facts.planes == planes
        assert movie.facts.warnings == ()
        assert movie.dtype.str == "<i2"


def test_two_unnamed_axes_are_time_and_channel_with_a_word(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", array("TC", T=12, C=2), photometric="minisblack")
    with open_movie(tmp_path / "a.tif", Wanted()) as movie:
        assert firsts(movie) == expected([(t, 0) for t in range(12)], 2)
        assert "taken as 2 channels" in movie.facts.warnings[0]
    for swapped in (array("CT", C=2, T=12), array("TZC", T=2, Z=3, C=2)):
        tifffile.imwrite(tmp_path / "b.tif", swapped, photometric="minisblack")
        with pytest.raises(StreamError, match=r"whose axes are not named.*--channels"):
            open_movie(tmp_path / "b.tif", Wanted())
    with open_movie(tmp_path / "b.tif", Wanted(channels=2, planes=3)) as movie:
        assert firsts(movie) == expected([(t, z) for t in range(2) for z in range(3)], 2)


def test_one_directory_that_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array("T", T=6), metadata={"axes": "TYX"}, contiguous=True)
    with open_movie(path, Wanted()) as movie:
        assert movie.shape[0] == 6
    os.truncate(path, path.stat().st_size - SIDE * SIDE * 2 * 5 // 2)
    with pytest.raises(FileError, match="complete pages"):
        open_movie(path, Wanted())


@pytest.mark.parametrize(
    "text",
    [
        '{"shape": [1000000000, 64, 64]}',
        '{"shape": [3, 1000000, 64, 64], "axes": "TCYX"}',
        '{"shape": [5, 64, 64]}',
        '{"shape": [2, 3, 4, 5, 6, 64, 64]}',
    ],
)
def test_shapes_that_the_pages_contradict_are_refused(tmp_path: Path, text: str) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for number in range(3):
            description = text if number == 0 else None
            writer.write(page(number), contiguous=False, metadata=None, description=description)
    with pytest.raises((FileError, StreamError), match=r"3 pages|not named"):
        open_movie(tmp_path / "a.tif", Wanted())


@pytest.mark.parametrize("text", ['{"shape": "x"}', '{"shape": [-1, 64, 64]}', '{"shape": ' + "[" * 50_000])
def test_damaged_shapes_are_plain_pages(tmp_path: Path, text: str) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for number in range(3):
            writer.write(page(number), contiguous=False, metadata=None, description=text if number == 0 else None)
    with open_movie(tmp_path / "a.tif", Wanted()) as movie:
        assert (movie.shape[0], movie.facts.format) == (3, "TIFF")


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("fmi_gcamp/fmi_frames_0001-0300.tif", (300, 1, 256, 256), "<u2"),
        ("fissa_v1_A01/AVG_A01.tif", (288, 1, 176, 156), "<u2"),
        ("thunder_mouse64/mouse_500x64x64.tif", (500, 1, 64, 64), "<i2"),
    ],
)
def test_real_movies(name: str, shape: tuple[int, ...], dtype: str) -> None:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no real recording {path}")
    with open_movie(path, Wanted()) as movie:
        assert (movie.shape, movie.dtype.str, movie.facts.warnings) == (shape, dtype, ())
    with open_movie(path.parent, Wanted()) as movie:
        assert movie.shape == shape
