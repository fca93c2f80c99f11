"""Whole conversions, of all formats alike."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepbid_rt.conversion.convert import check_nwb, convert
from deepbid_rt.conversion.nwb_facts import NwbFacts
from deepbid_rt.conversion.target import Format, Target
from deepbid_rt.errors import FileError, OptionError, StageError, StreamError
from deepbid_rt.movies.open_movie import open_movie_file
from tests import ROOT
from tests.conversion.recordings import HeldMovie, noise, recording

pytestmark = pytest.mark.usefixtures("threads_of_zarr")

NAMES: dict[Format, str] = {"ome-tiff": "a.ome.tif", "ome-zarr": "a.zarr", "nwb": "a.nwb", "imagej": "a.tif"}
FORMATS = pytest.mark.parametrize("format_", NAMES)


def target(folder: Path, format_: Format) -> Target:
    if format_ == "nwb":
        pytest.importorskip("pynwb", reason="the nwb extra is not installed")
    return Target(folder / NAMES[format_], format_)


@FORMATS
def test_every_format_is_read_again(tmp_path: Path, format_: Format) -> None:
    truth = noise(channels=1)
    told: list[int] = []
    done = convert(recording(truth), target(tmp_path, format_), progress=told.append)
    assert (done.path, done.format, done.shape) == (tmp_path / NAMES[format_], format_, truth.shape)
    assert told == sorted(told)
    assert told[-1] == 15
    assert [path.name for path in tmp_path.iterdir()] == [NAMES[format_]]
    with open_movie_file(done.path) as movie:
        assert movie.facts.planes == 3
        np.testing.assert_array_equal(movie.read(0, 15).reshape(truth.shape), truth)


class Breaking(HeldMovie):
    """A recording whose last frame cannot be read."""

    def _read_frame(self, i: int, out: Any) -> None:
        if i == len(self.pixels) - 1:
            raise OSError("the drive was unplugged")
        super()._read_frame(i, out)


@FORMATS
def test_a_frame_that_cannot_be_read_leaves_nothing(tmp_path: Path, format_: Format) -> None:
    held = recording(noise())
    with pytest.raises(StageError, match=r"frame 14 of mouse7\.tif cannot be read"):
        convert(Breaking(held.pixels, held.facts), target(tmp_path, format_))
    assert list(tmp_path.iterdir()) == []


@FORMATS
def test_an_interrupt_leaves_nothing(tmp_path: Path, format_: Format) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(recording(noise()), target(tmp_path, format_), progress=interrupted)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("format_", "package", "extra"), [("nwb", "pynwb", "nwb"), ("ome-zarr", "zarr", "formats")])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: Format, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"deepbid_rt.conversion.{format_.replace('-', '_')}", raising=False)
    with pytest.raises(FileError) as info:
        convert(recording(noise()), Target(tmp_path / NAMES[format_]))
    assert info.value.came == f"{NAMES[format_]} without the Python package {package}"
    assert info.value.todo == f'install them: pip install "deepbid-rt[{extra}]"'
    assert list(tmp_path.iterdir()) == []


def test_the_recording_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_text("precious")
    held = recording(noise())
    held.path = path
    with pytest.raises(FileError, match="itself"):
        convert(held, Target(path, "imagej", overwrite=True))
    assert path.read_text() == "precious"


@pytest.mark.parametrize("format_", ["ome-tiff", "imagej"])
def test_a_full_disk_is_found_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: Format) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5759}))
    with pytest.raises(FileError, match="GB free in"):
        convert(recording(noise()), target(tmp_path, format_))
    assert list(tmp_path.iterdir()) == []


def test_facts_for_an_nwb_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"^nwb for a.zarr, which is no NWB file; .* or leave nwb out"):
        check_nwb("nwb", {"location": "V1"}, Target(tmp_path / "a.zarr"))
    assert check_nwb("nwb", {}, Target(tmp_path / "a.zarr")).location == "unknown"
    assert check_nwb("nwb", {"location": "V1"}, Target(tmp_path / "a.nwb")).location == "V1"


def test_a_rate_makes_an_nwb_file_possible(tmp_path: Path) -> None:
    held = recording(noise(), stated=False)
    with pytest.raises(StreamError, match="states no frame rate"):
        convert(held, target(tmp_path, "nwb"))
    assert list(tmp_path.iterdir()) == []
    done = convert(held, target(tmp_path, "nwb"), rate_hz=30.0, nwb=NwbFacts.of({"session_start": "2026-01-02"}))
    assert done.notes == ()


SHARED = ROOT.parent / "shared" / "data"
REAL = ("si2021_vol_1ch", "si2023_2slice_2ch", "bruker_2plane", "thorlabs_3files", "sima_motion", "thunder_mouse64")


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("format_", ["ome-tiff", "ome-zarr", "imagej"])
def test_real_recordings_keep_pixels_and_facts(tmp_path: Path, name: str, format_: Format) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"the recording {name} is not here")
    with open_movie_file(SHARED / name) as before:
        convert(before, target(tmp_path, format_))
        with open_movie_file(tmp_path / NAMES[format_]) as after:
            assert (after.shape, after.dtype) == (before.shape, before.dtype)
            assert after.facts.planes == before.facts.planes
            for known, kept in (
                (before.facts.rate_hz, after.facts.rate_hz),
                (before.facts.pixel_um, after.facts.pixel_um),
            ):
                assert kept == (None if known is None else pytest.approx(known, rel=1e-6))
            np.testing.assert_array_equal(after.read(0, after.shape[0]), before.read(0, before.shape[0]))
