"""Files of Micro-Manager and NDTiff, each page of which has a JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import StreamError
from deepbid_rt.movies.tiff import open_movie
from deepbid_rt.movies.wanted import Wanted
from tests import DATA
from tests.movies.tiff_files import expected, firsts, page, value


def file(path: Path, numbers: Sequence[int], metadata: Sequence[Any]) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for number, one in zip(numbers, metadata, strict=True):
            text = one if isinstance(one, str) else json.dumps(one)
            extra = [(51123, "s", 0, text, True)]
            writer.write(page(number), contiguous=False, metadata=None, extratags=extra)
    return path


def test_indices_of_micro_manager(tmp_path: Path) -> None:
    places = [(t, z, c) for t in range(3) for c in range(2) for z in range(2)]
    metadata = [
        {
            "FrameIndex": t,
            "SliceIndex": z,
            "ChannelIndex": c,
            "PositionIndex": 0,
            "ElapsedTime-ms": 100 * t + 50 * z + c,
            "PixelSizeUm": 0.5,
        }
        for t, z, c in places
    ]
    with open_movie(file(tmp_path / "a.tif", [value(*one) for one in places], metadata), Wanted()) as movie:
        assert firsts(movie) == expected([(t, z) for t in range(3) for z in range(2)], 2)
        assert (movie.facts.format, movie.facts.planes) == ("Micro-Manager", 2)
        assert movie.facts.pixel_um == (0.5, 0.5)
        assert movie.facts.rate_hz == pytest.approx(20.0)


def test_axes_of_ndtiff_with_names_of_channels(tmp_path: Path) -> None:
    places = [(t, c) for t in range(3) for c in range(2)][:-1]
    metadata = [{"Axes": {"time": t, "channel": ("GFP", "AF")[c], "position": 0}} for t, c in places]
    with open_movie(file(tmp_path / "a.tif", [value(t, 0, c) for t, c in places], metadata), Wanted()) as movie:
        assert firsts(movie) == expected([(0, 0), (1, 0)], 2)
        assert movie.facts.channel_names == ("GFP", "AF")
        assert "1 pages of an incomplete last time point" in movie.facts.warnings[0]


@pytest.mark.parametrize(
    ("axes", "error"),
    [
        ([{"time": 0, "position": 0}, {"time": 0, "position": 1}], "several positions"),
        ([{"time": 0}, {"time": 0}], "doubtful places"),
        ([{"time": 0}, {"z": 0}], "doubtful places"),
        ([{"time": 0, "z": 0}, {"time": 1, "z": 1}, {"time": 2, "z": 0}, {"time": 2, "z": 1}], "no page for a place"),
    ],
)
def test_places_that_make_no_movie_are_refused(tmp_path: Path, axes: list[dict[str, int]], error: str) -> None:
    path = file(tmp_path / "a.tif", range(len(axes)), [{"Axes": one} for one in axes])
    with pytest.raises(StreamError, match=error):
        open_movie(path, Wanted())


def test_many_axes_values_allocate_nothing(tmp_path: Path) -> None:
    metadata = [{"Axes": {"time": t, "z": 7 * t, "channel": 5 * t}} for t in range(40)]
    with pytest.raises(StreamError, match="64000 places"):
        open_movie(file(tmp_path / "a.tif", range(40), metadata), Wanted())


@pytest.mark.parametrize("text", ["{", '{"Axes": {"time": [1]}}', '{"Axes": {"time": }}', "{}", '{"FrameIndex": "x"}'])
def test_damaged_metadata_leave_pages_in_order(tmp_path: Path, text: str) -> None:
    path = file(tmp_path / "a.tif", [value(t) for t in range(4)], [text] * 4)
    with open_movie(path, Wanted()) as movie:
        assert firsts(movie) == expected([(t, 0) for t in range(4)])
        assert "does not say more" in movie.facts.pages
    with open_movie(path, Wanted(channels=2)) as movie:
        assert movie.shape[:2] == (2, 2)


def test_real_files() -> None:
    folder = DATA / "ndtiff"
    if not folder.exists():
        pytest.skip(f"no real recording {folder}")
    path = folder / "NDTiff3.2_monochrome_NDTiffStack.tif"
    with open_movie(path, Wanted()) as movie:
        assert (movie.shape, movie.dtype.str, movie.facts.planes) == ((128, 1, 64, 64), "<u2", 16)
        with tifffile.TiffFile(path) as tif:
            axes = [one.tags[51123].value["Axes"] for one in tif.pages]
            at = axes.index({"z": 5, "time": 3})
            np.testing.assert_array_equal(movie.frame(3 * 16 + 5)[0], tif.pages[at].asarray())
    with open_movie(folder / "ndtiff3.2_11bit_NDTiffStack.tif", Wanted()) as movie:
        assert movie.shape == (10, 1, 64, 64)
