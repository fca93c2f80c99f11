from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepbid_rt.errors import StageError
from deepbid_rt.movies import nwb
from deepbid_rt.movies.wanted import Wanted
from tests.movies.encoded import check, encoded, frames_of, refused

h5py = pytest.importorskip("h5py", reason="the formats extra is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def series(
    file: Any,
    pixels: Any,
    name: str = "acquisition/TwoPhotonSeries",
    kind: str = "TwoPhotonSeries",
    rate: float | None = 30.0,
    **members: Any,
) -> Any:
    """Write a series and its imaging plane as the NWB schema says, by h5py."""
    plane = file.require_group("general/optophysiology/ImagingPlane")
    plane.attrs["neurodata_type"] = "ImagingPlane"
    if "green" not in plane:
        plane["green/emission_lambda"] = 510.0
        plane["green"].attrs["neurodata_type"] = "OpticalChannel"
    group = file.create_group(name)
    group.attrs["neurodata_type"] = kind
    if pixels is not None:
        group["data"] = pixels
        group["data"].attrs["conversion"] = 1.0
    if rate is not None:
        group["starting_time"] = 0.0
        group["starting_time"].attrs["rate"] = rate
    group["imaging_plane"] = h5py.SoftLink("/general/optophysiology/ImagingPlane")
    for key, value in members.items():
        if key in ("grid_spacing", "imaging_rate"):
            plane[key] = value
        else:
            group[key] = value
    return group


def write(path: Path, pixels: Any, **more: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.8.0"
        series(file, pixels, **more)
    return path


def test_one_series_opens(tmp_path: Path) -> None:
    movie = encoded(5)
    path = write(tmp_path / "m.nwb", movie[:, 0, 0], grid_spacing=np.array([1e-6, 2e-6], "f4"), imaging_rate=30.0)
    facts = check(nwb, path, frames_of(movie)).facts
    assert facts.rate_hz == 30.0
    assert facts.pixel_um == pytest.approx((2.0, 1.0))
    assert facts.channel_names == ("green",)
    assert facts.extra == {"conversion": 1.0}
    assert facts.pages.startswith("TwoPhotonSeries /acquisition/TwoPhotonSeries, axes (T, Y, X)")
    assert len(facts.warnings) == 1
    assert "(frames, height, width) is assumed" in facts.warnings[0]


@pytest.mark.parametrize(
    ("members", "transposed", "by"),
    [
        ({"dimension": np.array([64, 48])}, False, "by its dimension"),
        ({"dimension": np.array([64, 48])}, True, "by its dimension"),
        ({"field_of_view": np.array([64e-6, 96e-6]), "grid_spacing": np.array([1e-6, 2e-6])}, True, "field of view"),
        ({"field_of_view": np.array([64e-6, 96e-6]), "grid_spacing": np.array([1e-6, 2e-6])}, False, "field of view"),
    ],
)
def test_hints_decide_which_axis_is_a_line(tmp_path: Path, members: Any, transposed: bool, by: str) -> None:
    movie = encoded(5)
    stored = movie[:, 0, 0].transpose(0, 2, 1) if transposed else movie[:, 0, 0]
    facts = check(nwb, write(tmp_path / "m.nwb", stored, **members), frames_of(movie)).facts
    assert by in facts.pages
    assert facts.warnings == ()


def test_hints_that_disagree_are_said(tmp_path: Path) -> None:
    movie = encoded(5)
    members = {"field_of_view": np.array([48e-6, 64e-6]), "grid_spacing": np.array([1e-6, 1e-6])}
    path = write(tmp_path / "m.nwb", movie[:, 0, 0], dimension=np.array([64, 48]), **members)
    assert "disagree" in check(nwb, path, frames_of(movie)).facts.warnings[0]


@pytest.mark.parametrize(
    "script", ["Created using NeuroConv v0.7.2", "NeuroConv provenance record\nneuroconv_version: 1"]
)
def test_neuroconv_writes_width_first(tmp_path: Path, script: str) -> None:
    movie = encoded(5)
    path = write(tmp_path / "m.nwb", movie[:, 0, 0].transpose(0, 2, 1), dimension=np.array([48, 64]))
    with h5py.File(path, "a") as file:
        file["general/source_script"] = script
    assert "NeuroConv" in check(nwb, path, frames_of(movie)).facts.pages


def test_the_shape_of_a_frame_decides(tmp_path: Path) -> None:
    movie = encoded(5)
    path = write(tmp_path / "m.nwb", movie[:, 0, 0].transpose(0, 2, 1), dimension=np.array([48, 64]))
    assert check(nwb, path, frames_of(movie), shape=(48, 64)).facts.warnings == ()
    refused(nwb, path, "--shape 40,64", shape=(40, 64))


def test_depth_is_planes(tmp_path: Path) -> None:
    movie = encoded(5, 3)
    facts = check(
        nwb, write(tmp_path / "m.nwb", movie[:, :, 0].transpose(0, 2, 3, 1), rate=10.0), frames_of(movie), 3
    ).facts
    assert facts.rate_hz == 30.0
    assert "taken as planes" in facts.warnings[1]


def test_timestamps(tmp_path: Path) -> None:
    movie = encoded(20)
    times = np.arange(20) / 25.0 + 3.0
    times[10:] += 1.0
    facts = check(nwb, write(tmp_path / "m.nwb", movie[:, 0, 0], rate=None, timestamps=times), frames_of(movie)).facts
    assert facts.rate_hz == pytest.approx(25.0)
    assert facts.times_s is not None
    np.testing.assert_allclose(facts.times_s, times)
    assert "1 gaps" in facts.warnings[1]
    path = write(tmp_path / "p.nwb", movie[:, 0, 0], rate=None, timestamps=times)
    with nwb.open_movie(path, Wanted(planes=4)) as opened:
        assert opened.facts.times_s is not None
        assert opened.facts.times_s.shape == (20,)


@pytest.mark.parametrize(
    ("times", "match"),
    [
        (np.arange(7.0), "do not fit"),
        (np.arange(20.0)[::-1], "do not increase"),
        (np.full(20, np.nan), "do not increase"),
        (np.zeros((20, 2)), "do not fit"),
    ],
)
def test_timestamps_that_make_no_sense_are_not_used(tmp_path: Path, times: Any, match: str) -> None:
    path = write(tmp_path / "m.nwb", encoded(20)[:, 0, 0], rate=None, timestamps=times)
    facts = check(nwb, path, frames_of(encoded(20))).facts
    assert facts.times_s is None
    assert facts.rate_hz is None
    assert match in facts.warnings[1]


def test_facts_that_disagree_or_make_no_sense_are_said(tmp_path: Path) -> None:
    movie = encoded(5)
    path = write(tmp_path / "m.nwb", movie[:, 0, 0], imaging_rate=15.0, grid_spacing=np.array([1.0, 1.0], "f4"))
    with h5py.File(path, "a") as file:
        file["acquisition/TwoPhotonSeries/data"].attrs["conversion"] = 0.5
        file["acquisition/TwoPhotonSeries/data"].attrs["offset"] = 7.0
    facts = check(nwb, path, frames_of(movie)).facts
    assert facts.rate_hz == 30.0
    assert facts.pixel_um is None
    words = " ".join(facts.warnings)
    assert "imaging plane says 15 Hz" in words
    assert "1 meters cannot be that of pixels" in words
    assert "counts are kept; value = count x 0.5 + 7 by the file" in words


@pytest.mark.parametrize(("unit", "pixel"), [("micrometers", 1.0), ("parsec", None), (None, None)])
def test_units_of_the_grid(tmp_path: Path, unit: str | None, pixel: float | None) -> None:
    path = write(tmp_path / "m.nwb", encoded(5)[:, 0, 0], grid_spacing=np.array([1.0, 1.0]))
    with h5py.File(path, "a") as file:
        if unit:
            file["general/optophysiology/ImagingPlane/grid_spacing"].attrs["unit"] = unit
    found = check(nwb, path, frames_of(encoded(5))).facts.pixel_um
    assert found == (None if pixel is None else (pixel, pixel))


def test_several_series_are_asked_for(tmp_path: Path) -> None:
    movie = encoded(5)
    path = write(tmp_path / "m.nwb", movie[:, 0, 0])
    with h5py.File(path, "a") as file:
        series(file, movie[:, 0, 0] + 1, "processing/ophys/Second")
        series(file, movie[:, 0, 0] + 2, "processing/ophys/Corrected/corrected", "ImageSeries")
    refused(nwb, path, r"2 series.*/acquisition/TwoPhotonSeries \(5, 48, 64\), /processing/ophys/Second.*--dataset")
    check(nwb, path, frames_of(movie) + 1, dataset="processing/ophys/Second")
    check(nwb, path, frames_of(movie) + 1, dataset="/processing/ophys/Second/data")
    check(nwb, path, frames_of(movie) + 2, dataset="processing/ophys/Corrected")
    check(nwb, path, frames_of(movie), dataset="acquisition")
    refused(nwb, path, "no series none .*one of /acquisition/TwoPhotonSeries", dataset="none")
    refused(nwb, path, "no series general", dataset="general/optophysiology/ImagingPlane")


def test_one_photon_is_taken_only_alone(tmp_path: Path) -> None:
    movie = encoded(5)
    path = write(tmp_path / "m.nwb", movie[:, 0, 0], name="acquisition/One", kind="OnePhotonSeries")
    check(nwb, path, frames_of(movie))
    with h5py.File(path, "a") as file:
        series(file, movie[:, 0, 0] + 1)
    check(nwb, path, frames_of(movie) + 1)


def test_pixels_in_other_files_are_refused(tmp_path: Path) -> None:
    text = np.array(["a.tif", "b.tif"], h5py.string_dtype())
    path = write(tmp_path / "m.nwb", np.zeros((0, 0, 0), "u1"), external_file=text)
    refused(nwb, path, "other files, such as a.tif.*give those files")
    path = write(tmp_path / "n.nwb", None)
    refused(nwb, path, "without a TwoPhotonSeries")
    with h5py.File(path, "a") as file:
        file["acquisition/TwoPhotonSeries/data"] = h5py.ExternalLink("other.nwb", "/data")
    refused(nwb, path, "another file", dataset="acquisition/TwoPhotonSeries")


def test_what_is_no_movie_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.nwb", "w") as file:
        file["acquisition/x/data"] = np.zeros((5, 8))
    refused(nwb, tmp_path / "m.nwb", "without a TwoPhotonSeries")
    refused(nwb, write(tmp_path / "c.nwb", np.zeros((5, 48, 64), "c8")), "complex")
    (tmp_path / "t.nwb").write_text("text")
    refused(nwb, tmp_path / "t.nwb", "no HDF5 file")
    path = write(tmp_path / "cut.nwb", encoded(5)[:, 0, 0])
    path.write_bytes(path.read_bytes()[:-500])
    refused(nwb, path, "cut off")
    assert not nwb.claims(tmp_path / "none.nwb")


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "m.nwb", encoded(200)[:, 0, 0])
    with nwb.open_movie(path, Wanted()) as movie:
        with path.open("r+b") as file:
            file.truncate(50_000)
        with pytest.raises(StageError, match="shorter"):
            movie.frame(199)


@pytest.mark.parametrize("several", [False, True])
def test_files_of_pynwb(tmp_path: Path, several: bool) -> None:
    pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
    from pynwb.ophys import OpticalChannel, TwoPhotonSeries

    movie = encoded(6, dtype="<u2")
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    file = pynwb.NWBFile("a movie", "1", start)
    device = file.create_device("microscope")
    channel = OpticalChannel(name="green", description="PMT", emission_lambda=510.0)
    plane = file.create_imaging_plane(
        name="plane",
        optical_channel=channel,
        imaging_rate=20.0,
        description="",
        device=device,
        excitation_lambda=920.0,
        indicator="GCaMP",
        location="V1",
        grid_spacing=[1e-6, 2e-6],
        grid_spacing_unit="meters",
    )
    for number in range(1 + several):
        file.add_acquisition(
            TwoPhotonSeries(
                name=f"movie{number}",
                data=movie[:, 0, 0] + number,
                imaging_plane=plane,
                unit="counts",
                rate=20.0,
                dimension=[64, 48],
            )
        )
    with pynwb.NWBHDF5IO(tmp_path / "m.nwb", "w") as io:
        io.write(file)
    if several:
        refused(nwb, tmp_path / "m.nwb", "2 series.*/acquisition/movie0")
    facts = check(
        nwb, tmp_path / "m.nwb", frames_of(movie) + several, dataset="acquisition/movie1" if several else None
    ).facts
    assert facts.rate_hz == 20.0
    assert facts.pixel_um == pytest.approx((2.0, 1.0))
    assert facts.channel_names == ("green",)
    assert facts.warnings == ()
