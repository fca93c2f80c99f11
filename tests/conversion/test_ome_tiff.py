"""OME-TIFF, read with tifffile and with deepbid-rt's own reader."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile

from deepbid_rt.conversion import ome_tiff
from deepbid_rt.conversion.ome_tiff import runs, write_ome_tiff
from deepbid_rt.movies.open_movie import open_movie_file
from tests.conversion.recordings import noise, volumes


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<f4"])
@pytest.mark.parametrize("shape", [(5, 3, 2), (4, 1, 1), (1, 1, 1), (1, 3, 2), (3, 1, 4)])
def test_pixels_and_their_places(tmp_path: Path, dtype: str, shape: tuple[int, int, int]) -> None:
    truth = noise(*shape, dtype=dtype)
    path = tmp_path / "a.ome.tif"
    assert write_ome_tiff(volumes(truth, stated=False), path) == []
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert tif.is_bigtiff
        assert len(tif.series) == 1
        series = tif.series[0]
        sizes = dict(zip(series.axes, series.shape, strict=True))
        assert sizes == {axis: n for axis, n in zip("TZCYX", truth.shape, strict=True) if n > 1}
        assert series.dtype.str == dtype
        np.testing.assert_array_equal(series.asarray().reshape(truth.shape), truth)
        np.testing.assert_array_equal(np.stack([page.asarray() for page in tif.pages]), truth.reshape(-1, 12, 16))


def test_all_facts_come_back(tmp_path: Path) -> None:
    truth = noise()
    held = volumes(truth)
    write_ome_tiff(held, tmp_path / "a.ome.tif")
    with open_movie_file(tmp_path / "a.ome.tif") as movie:
        facts = movie.facts
        assert movie.shape == (15, 2, 12, 16)
        assert (facts.format, facts.planes, facts.warnings) == ("OME-TIFF", 3, ())
        assert facts.rate_hz == pytest.approx(30.0)
        assert facts.pixel_um == (0.8, 0.4)
        assert facts.channel_names == ("GCaMP6f", "red µ/2")
        assert facts.times_s == pytest.approx(held.times_s.reshape(-1), abs=1e-12)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        xml = tif.ome_metadata
    (description,) = (one.text for one in ET.fromstring(xml).iter() if one.tag.endswith("}Description"))
    assert description == "the recording is denoised, not raw data; frame numbers 7-9 12-23"


def test_nothing_is_stated_that_is_not_known(tmp_path: Path) -> None:
    write_ome_tiff(volumes(noise(), stated=False), tmp_path / "a.ome.tif")
    with open_movie_file(tmp_path / "a.ome.tif") as movie:
        facts = movie.facts
        assert (facts.rate_hz, facts.pixel_um, facts.channel_names, facts.times_s) == (None, None, (), None)


def test_times_of_very_many_pages_are_left_out_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ome_tiff, "MAX_TIMED_PAGES", 29)
    (note,) = write_ome_tiff(volumes(noise()), tmp_path / "a.ome.tif")
    assert note == "the times of 30 pages are left out: they are too many for an OME-XML"
    with open_movie_file(tmp_path / "a.ome.tif") as movie:
        assert movie.facts.times_s is None
        assert movie.facts.rate_hz == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("numbers", "text"), [([5], "5"), ([1, 2, 3], "1-3"), ([1, 3, 4, 9], "1 3-4 9"), ([4, 3, 3], "4 3 3")]
)
def test_runs_of_numbers(numbers: list[int], text: str) -> None:
    assert runs(np.array(numbers)) == text
