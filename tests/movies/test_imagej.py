"""Stacks and hyperstacks of ImageJ."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.tiff import open_movie
from deepbid_rt.movies.wanted import Wanted
from tests import DATA
from tests.movies.tiff_files import SIDE, expected, firsts, imagej_file, page, value


def description(**sizes: object) -> str:
    return "ImageJ=1.53t\n" + "".join(f"{key}={one}\n" for key, one in sizes.items())


def hyper(channels: int, slices: int, frames: int) -> list[int]:
    return [value(t, z, c) for t in range(frames) for z in range(slices) for c in range(channels)]


def test_hyperstack_with_one_directory(tmp_path: Path) -> None:
    sizes = {"images": 24, "channels": 2, "slices": 3, "frames": 4, "finterval": 0.5, "unit": r"\u00B5m"}
    path = imagej_file(tmp_path / "a.tif", hyper(2, 3, 4), description(**sizes))
    with open_movie(path, Wanted()) as movie:
        assert (movie.shape, movie.dtype.str) == ((12, 2, SIDE, SIDE), "<u2")
        assert firsts(movie) == expected([(t, z) for t in range(4) for z in range(3)], 2)
        assert (movie.facts.format, movie.facts.planes, movie.facts.rate_hz) == ("ImageJ", 3, 6.0)
        assert movie.facts.warnings == ()


def test_hyperstack_of_tifffile_has_pixel_sizes(tmp_path: Path) -> None:
    pages = np.stack([page(one, "u2") for one in hyper(2, 3, 4)]).reshape(4, 3, 2, SIDE, SIDE)
    metadata = {"axes": "TZCYX", "unit": "um", "finterval": 0.1}
    tifffile.imwrite(tmp_path / "a.tif", pages, imagej=True, resolution=(2, 4), metadata=metadata)
    with open_movie(tmp_path / "a.tif", Wanted()) as movie:
        assert firsts(movie) == expected([(t, z) for t in range(4) for z in range(3)], 2)
        assert movie.facts.pixel_um == (0.25, 0.5)
        assert movie.facts.rate_hz == pytest.approx(30.0)


@pytest.mark.parametrize("channels", [1, 2])
def test_slices_without_frames_are_time_with_a_word(tmp_path: Path, channels: int) -> None:
    sizes = {"images": 6 * channels, "channels": channels, "slices": 6}
    numbers = [value(t, 0, c) for t in range(6) for c in range(channels)]
    path = imagej_file(tmp_path / "a.tif", numbers, description(**sizes))
    with open_movie(path, Wanted()) as movie:
        assert movie.facts.planes == 1
        assert firsts(movie) == expected([(t, 0) for t in range(6)], channels)
        assert "6 slices and one time point" in movie.facts.warnings[0]
        assert "--planes 6" in movie.facts.warnings[0]
    with open_movie(path, Wanted(planes=6)) as movie:
        assert (movie.facts.planes, movie.shape[:2]) == (6, (6, channels))
        assert movie.facts.warnings == ()
    with open_movie(path, Wanted(planes=3)) as movie:
        assert (movie.facts.planes, movie.shape[:2]) == (3, (6, channels))


def test_wishes_replace_the_description(tmp_path: Path) -> None:
    sizes = {"images": 24, "channels": 2, "slices": 3, "frames": 4}
    path = imagej_file(tmp_path / "a.tif", list(range(24)), description(**sizes))
    with open_movie(path, Wanted(channels=1, planes=6)) as movie:
        assert (movie.shape[:2], movie.facts.planes) == ((24, 1), 6)
        assert "the file itself says 2 channels and 3 planes" in movie.facts.warnings[0]
    with open_movie(path, Wanted(flyback=1)) as movie:
        assert (movie.shape[:2], movie.facts.planes) == ((8, 2), 2)
        assert firsts(movie)[:3] == [[0, 1], [2, 3], [6, 7]]
    with pytest.raises(StreamError, match="multiple of 10 pages"):
        open_movie(path, Wanted(planes=5))


def test_a_cut_file_and_a_header_that_promises_more(tmp_path: Path) -> None:
    text = description(images=20, frames=20)
    path = imagej_file(tmp_path / "cut.tif", list(range(20)), text)
    os.truncate(path, path.stat().st_size - 6 * SIDE * SIDE * 2 - 4096)
    with pytest.raises(FileError, match="is cut off after 13 complete pages"):
        open_movie(path, Wanted())
    with open_movie(path, Wanted(salvage=True)) as movie:
        assert (movie.shape[0], movie.problem) == (13, "it is cut off")
    path = imagej_file(tmp_path / "lies.tif", list(range(20)), description(images=33, frames=33))
    with pytest.raises(FileError, match="after 20 complete pages"):
        open_movie(path, Wanted())
    with pytest.raises(FileError, match="after 20 complete pages"):
        open_movie(imagej_file(path, list(range(20)), description(images=10**9, frames=10**9)), Wanted())


def test_a_salvaged_hyperstack_keeps_whole_time_points(tmp_path: Path) -> None:
    text = description(images=24, channels=2, slices=3, frames=4)
    path = imagej_file(tmp_path / "a.tif", hyper(2, 3, 4), text)
    os.truncate(path, path.stat().st_size - 4 * SIDE * SIDE * 2 - 10)
    with open_movie(path, Wanted(salvage=True)) as movie:
        assert firsts(movie) == expected([(t, z) for t in range(3) for z in range(3)], 2)
        assert "1 pages of an incomplete last time point are left out" in movie.facts.warnings[0]


def test_numbers_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = imagej_file(tmp_path / "a.tif", list(range(24)), description(images=24, channels=2, slices=3, frames=5))
    with pytest.raises(StreamError, match="24 pages for 2 channels x 3 slices x 5 frames"):
        open_movie(path, Wanted())
    with open_movie(path, Wanted(channels=2, planes=3)) as movie:
        assert movie.shape[:2] == (12, 2)


def test_more_pages_than_the_description_states_are_refused(tmp_path: Path) -> None:
    pages = np.stack([page(one, "u2") for one in range(12)])
    tifffile.imwrite(tmp_path / "a.tif", pages, description=description(images=6, slices=6), metadata=None)
    with pytest.raises(StreamError, match="12 pages, where ImageJ's description states 6"):
        open_movie(tmp_path / "a.tif", Wanted())


def test_an_unknown_order_is_refused(tmp_path: Path) -> None:
    text = description(images=12, channels=2, slices=3, frames=2, order="zct")
    numbers = [value(t, z, c) for t in range(2) for c in range(2) for z in range(3)]
    with open_movie(imagej_file(tmp_path / "a.tif", numbers, text), Wanted()) as movie:
        assert firsts(movie) == expected([(t, z) for t in range(2) for z in range(3)], 2)
    text = text.replace("zct", "tzc")
    with pytest.raises(StreamError, match="order 'tzc'"):
        open_movie(imagej_file(tmp_path / "b.tif", numbers, text), Wanted())


def test_a_large_stack_with_one_directory_is_read_by_size(tmp_path: Path) -> None:
    """Of more than 4 GB, without as many bytes on the disk."""
    count = 2**32 // (SIDE * SIDE * 2) + 3
    text = description(images=count, frames=count)
    path = imagej_file(tmp_path / "big.tif", [5], text)
    start = path.stat().st_size - SIDE * SIDE * 2
    with path.open("r+b") as file:
        file.seek(start + (count - 1) * SIDE * SIDE * 2)
        file.write(page(77).astype(">u2").tobytes())
    with open_movie(path, Wanted(channels=1)) as movie:
        assert movie.shape[0] == count
        np.testing.assert_array_equal(movie.frame(0)[0], page(5))
        np.testing.assert_array_equal(movie.frame(count - 1)[0], page(77))


def test_real_stacks() -> None:
    folder = DATA / "sima_motion"
    if not folder.exists():
        pytest.skip(f"no real recording {folder}")
    with open_movie(folder / "example.tif", Wanted()) as movie:
        assert (movie.shape, movie.dtype.str) == ((20, 1, 128, 256), "<u2")
        assert movie.facts.warnings == ()
    with open_movie(DATA / "clean_pairs_stills" / "noisy_020_1.tif", Wanted()) as movie:
        assert movie.shape == (1, 1, 512, 512)
