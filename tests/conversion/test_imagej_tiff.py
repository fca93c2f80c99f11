"""Hyperstacks of ImageJ, read with tifffile and with deepbid-rt's own reader; tests/conversion/test_other_readers.py
opens them in ImageJ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.conversion import imagej_tiff
from deepbid_rt.conversion.imagej_tiff import write_imagej
from deepbid_rt.movies.open_movie import open_movie_file
from tests.conversion.recordings import noise, volumes


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<f4"])
@pytest.mark.parametrize("shape", [(5, 3, 2), (4, 1, 1), (1, 1, 1), (1, 3, 2), (3, 1, 4)])
def test_pixels_and_their_places(tmp_path: Path, dtype: str, shape: tuple[int, int, int]) -> None:
    truth = noise(*shape, dtype=dtype)
    path = tmp_path / "a.tif"
    assert write_imagej(volumes(truth, stated=False), path) == []
    with tifffile.TiffFile(path) as tif:
        assert tif.is_imagej
        assert not tif.is_bigtiff
        said = tif.imagej_metadata
        assert [said.get(key, 1) for key in ("frames", "slices", "channels")] == list(shape)
        assert tif.series[0].dtype.str == dtype
        np.testing.assert_array_equal(tif.series[0].asarray().reshape(truth.shape), truth)


def test_narrow_frames_are_no_colours(tmp_path: Path) -> None:
    truth = noise(lines=3, pixels=3, dtype="|u1")
    write_imagej(volumes(truth), tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif").reshape(truth.shape), truth)


def test_facts_and_labels(tmp_path: Path) -> None:
    held = volumes(noise())
    write_imagej(held, tmp_path / "a.tif")
    with open_movie_file(tmp_path / "a.tif") as movie:
        assert movie.facts.rate_hz == pytest.approx(30.0)
        assert movie.facts.pixel_um == pytest.approx((0.8, 0.4))
        assert (movie.shape, movie.facts.planes) == ((15, 2, 12, 16), 3)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        said = tif.imagej_metadata
    assert len(said["Labels"]) == 30
    assert said["Labels"][:3] == ["GCaMP6f, frame 7, 3.500000 s", "red µ/2, frame 7, 3.500000 s", said["Labels"][2]]
    assert said["Labels"][-1] == f"red µ/2, frame 23, {held.times_s[-1, -1]:.6f} s"
    assert "the recording is denoised, not raw data" in said["Info"]
    assert said["mode"] == "composite"


def test_frames_without_facts_are_counted_from_0(tmp_path: Path) -> None:
    write_imagej(volumes(noise(2, 3, 1), stated=False), tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.imagej_metadata["Labels"] == [f"frame {n}" for n in range(6)]
        assert tif.imagej_metadata["unit"] == "pixel"
        assert "finterval" not in tif.imagej_metadata
    with open_movie_file(tmp_path / "a.tif") as movie:
        assert (movie.facts.rate_hz, movie.facts.pixel_um) == (None, None)


def test_too_large_for_page_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same layout as above 4 GB, with a small limit."""
    monkeypatch.setattr(imagej_tiff, "LARGEST_TIFF", 10_000)
    truth = noise()
    (note,) = write_imagej(volumes(truth), tmp_path / "a.tif")
    assert "larger than 4 GB" in note
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert len(tif.pages) == 1
        np.testing.assert_array_equal(tif.series[0].asarray(), truth)
        assert len(tif.imagej_metadata["Labels"]) == 30
    with open_movie_file(tmp_path / "a.tif") as movie:
        np.testing.assert_array_equal(movie.read(0, 15).reshape(truth.shape), truth)


def test_labels_of_very_many_images_are_left_out_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagej_tiff, "_MAX_LABELS", 29)
    (note,) = write_imagej(volumes(noise()), tmp_path / "a.tif")
    assert "are left out: too many images" in note
