"""OME-Zarr, read with zarr and with deepbid-rt's own reader."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deepbid_rt.movies.open_movie import open_movie_file
from tests.conversion.recordings import noise, recording, volumes

zarr = pytest.importorskip("zarr", reason="the formats extra is not installed")
from deepbid_rt.conversion import ome_zarr  # noqa: E402
from deepbid_rt.conversion.ome_zarr import write_ome_zarr  # noqa: E402
from deepbid_rt.conversion.volumes import Volumes  # noqa: E402

pytestmark = pytest.mark.usefixtures("threads_of_zarr")


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<f4"])
@pytest.mark.parametrize("shape", [(5, 3, 2), (4, 1, 1), (1, 1, 1), (1, 3, 2)])
def test_pixels_and_their_places(tmp_path: Path, dtype: str, shape: tuple[int, int, int]) -> None:
    truth = noise(*shape, dtype=dtype)
    path = tmp_path / "a.zarr"
    assert write_ome_zarr(volumes(truth, stated=False), path) == []
    array = zarr.open_group(path, mode="r")["0"]
    assert array.dtype.str == dtype
    assert array.metadata.dimension_names == ("t", "c", "z", "y", "x")
    np.testing.assert_array_equal(array[:], truth.transpose(0, 2, 1, 3, 4))
    with open_movie_file(path) as movie:
        np.testing.assert_array_equal(movie.read(0, movie.shape[0]).reshape(truth.shape), truth)
        assert movie.facts.planes == shape[1]


def test_metadata_are_those_of_ome_zarr(tmp_path: Path) -> None:
    held = volumes(noise())
    write_ome_zarr(held, tmp_path / "a.zarr")
    stored = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    assert (stored["zarr_format"], stored["node_type"]) == (3, "group")
    ome = stored["attributes"]["ome"]
    assert ome["version"] == "0.5"
    (picture,) = ome["multiscales"]
    assert picture["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "z", "type": "space"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    (level,) = picture["datasets"]
    (scale,) = level["coordinateTransformations"]
    assert (level["path"], scale["type"]) == ("0", "scale")
    assert scale["scale"] == pytest.approx([0.1, 1.0, 1.0, 0.8, 0.4])
    channels = ome["omero"]["channels"]
    assert [one["label"] for one in channels] == ["GCaMP6f", "red µ/2"]
    for one in channels:
        window = one["window"]
        assert window["min"] == -32768
        assert window["min"] <= window["start"] < window["end"] <= window["max"] == 32767
        assert len(one["color"]) == 6
    assert stored["attributes"]["deepbid_rt"]["notes"] == ["the recording is denoised, not raw data"]
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(group["frame_times_s"][:], held.times_s)
    np.testing.assert_array_equal(group["frame_numbers"][:], held.numbers)


def test_facts_come_back(tmp_path: Path) -> None:
    write_ome_zarr(volumes(noise()), tmp_path / "a.zarr")
    with open_movie_file(tmp_path / "a.zarr") as movie:
        facts = movie.facts
        assert (movie.shape, facts.planes, facts.warnings) == ((15, 2, 12, 16), 3, ())
        assert facts.rate_hz == pytest.approx(30.0)
        assert facts.pixel_um == (0.8, 0.4)
        assert facts.channel_names == ("GCaMP6f", "red µ/2")


def test_nothing_is_stated_that_is_not_known(tmp_path: Path) -> None:
    write_ome_zarr(volumes(noise(), stated=False), tmp_path / "a.zarr")
    stored = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    assert not any("unit" in axis for axis in stored["multiscales"][0]["axes"])
    assert "omero" not in stored
    with open_movie_file(tmp_path / "a.zarr") as movie:
        assert (movie.facts.rate_hz, movie.facts.pixel_um, movie.facts.channel_names) == (None, None, ())


@pytest.mark.parametrize(("shard_volumes", "files"), [(1, 5), (2, 3), (5, 1), (99, 1)])
def test_memory_and_files_are_as_large_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_volumes: int, files: int
) -> None:
    truth = noise()
    movie = recording(truth)
    monkeypatch.setattr(ome_zarr, "SHARD_BYTES", shard_volumes * truth[0].nbytes)
    write_ome_zarr(Volumes(movie), tmp_path / "a.zarr")
    assert movie.longest == 3 * min(shard_volumes, 5)
    assert len([path for path in (tmp_path / "a.zarr" / "0" / "c").rglob("*") if path.is_file()]) == files
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["0"]
    np.testing.assert_array_equal(array[:], truth.transpose(0, 2, 1, 3, 4))


def test_volumes_that_are_too_large_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = noise()
    monkeypatch.setattr(ome_zarr, "_LARGEST_SHARD_BYTES", truth[0].nbytes - 1)
    monkeypatch.setattr(ome_zarr, "SHARD_BYTES", 1)
    write_ome_zarr(volumes(truth), tmp_path / "a.zarr")
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["0"]
    assert array.shards is None
    np.testing.assert_array_equal(array[:], truth.transpose(0, 2, 1, 3, 4))


def test_a_dark_channel_has_a_contrast(tmp_path: Path) -> None:
    truth = noise(channels=1)
    truth[:] = 7
    write_ome_zarr(volumes(truth), tmp_path / "a.zarr")
    stored = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    window = stored["attributes"]["ome"]["omero"]["channels"][0]["window"]
    assert (window["start"], window["end"]) == (7.0, 8.0)


def test_the_contrast_of_float_pixels_is_within_their_range(tmp_path: Path) -> None:
    truth = noise(channels=1, dtype="<f4")
    held = volumes(truth)
    write_ome_zarr(held, tmp_path / "a.zarr")
    stored = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    window = stored["attributes"]["ome"]["omero"]["channels"][0]["window"]
    assert window["min"] == held.sample().min() < window["start"] < window["end"] < window["max"] == held.sample().max()


def test_dark_frames_are_stored(tmp_path: Path) -> None:
    truth = noise()
    truth[:] = 0
    write_ome_zarr(volumes(truth, stated=False), tmp_path / "a.zarr")
    with open_movie_file(tmp_path / "a.zarr") as movie:
        assert movie.facts.warnings == ()
        assert not movie.read(0, 15).any()
