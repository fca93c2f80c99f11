"""NWB, read with pynwb and with deepbid-rt's own reader."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepbid_rt.conversion.nwb_facts import NwbFacts
from deepbid_rt.conversion.volumes import Volumes
from deepbid_rt.errors import OptionError, StreamError
from deepbid_rt.movies.open_movie import open_movie_file
from deepbid_rt.movies.wanted import Wanted
from tests.conversion.recordings import noise, recording, volumes

pynwb = pytest.importorskip("pynwb", reason="the nwb extra is not installed")
from deepbid_rt.conversion import nwb as module  # noqa: E402
from deepbid_rt.conversion.nwb import time_of_change, write_nwb  # noqa: E402

CHANGED = datetime(2026, 11, 30, 14, 5, 6, tzinfo=UTC)
STARTED = {"session_start": "2026-11-29T10:00:00+00:00"}


def write(held: Volumes, folder: Path, **facts: Any) -> tuple[Path, list[str]]:
    path = folder / "a.nwb"
    return path, write_nwb(held, path, NwbFacts.of(STARTED | facts), CHANGED)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    with pynwb.NWBHDF5IO(path, "r") as io:
        yield io.read()


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<f4"])
@pytest.mark.parametrize("shape", [(5, 1, 1), (5, 1, 2), (5, 3, 1), (4, 3, 2), (1, 1, 1)])
def test_pixels_and_their_places(tmp_path: Path, dtype: str, shape: tuple[int, int, int]) -> None:
    truth = noise(*shape, dtype=dtype)
    path, notes = write(volumes(truth, stated=False, rate_hz=30.0 * shape[1]), tmp_path)
    assert notes == []
    with opened(path) as file:
        names = [name for name in file.acquisition if name.startswith("TwoPhoton")]
        assert names == (
            ["TwoPhotonSeries"] if shape[2] == 1 else [f"TwoPhotonSeriesChannel{c}" for c in range(shape[2])]
        )
        for channel, name in enumerate(names):
            series = file.acquisition[name]
            assert series.data.dtype.str == dtype
            stored = series.data[:] if shape[1] > 1 else series.data[:][..., None]
            np.testing.assert_array_equal(stored.transpose(0, 3, 1, 2), truth[:, :, channel])
            assert (series.rate, series.starting_time) == (30.0, 0.0)
            assert list(series.dimension) == ([16, 12, shape[1]] if shape[1] > 1 else [16, 12])


def test_facts(tmp_path: Path) -> None:
    held = volumes(noise())
    given = {"indicator": "GCaMP6f,mRuby", "excitation_nm": 920, "emission_nm": "525,600", "location": "V1"}
    subject = {"subject_id": "m7", "species": "Mus musculus", "sex": "F", "age": "P90D", "experimenter": "Ada L."}
    path, notes = write(held, tmp_path, identifier="mine", device="our scope", institution="here", **given, **subject)
    assert notes == []
    with opened(path) as file:
        assert (file.identifier, file.institution, file.experimenter) == ("mine", "here", ("Ada L.",))
        assert file.session_start_time == datetime(2026, 11, 29, 10, tzinfo=UTC)
        assert file.notes == "the recording is denoised, not raw data"
        assert (file.subject.subject_id, file.subject.sex, file.subject.age) == ("m7", "F", "P90D")
        assert file.devices["Microscope"].description == "our scope"
        series = [file.acquisition[f"TwoPhotonSeries{end}"] for end in ("GCaMP6f", "Red2")]
        for one, indicator, emission in zip(series, ("GCaMP6f", "mRuby"), (525, 600), strict=True):
            plane = one.imaging_plane
            assert (plane.indicator, plane.location, plane.excitation_lambda) == (indicator, "V1", 920)
            assert plane.imaging_rate == 10.0
            assert plane.optical_channel[0].emission_lambda == emission
            assert plane.grid_spacing[:] == pytest.approx([0.4e-6, 0.8e-6])
            assert one.field_of_view[:] == pytest.approx([16 * 0.4e-6, 12 * 0.8e-6])
            assert one.comments == "the recording is denoised, not raw data"
            np.testing.assert_array_equal(one.timestamps[:], held.times_s[:, 0])
        np.testing.assert_array_equal(file.acquisition["FrameNumbers"].data[:], held.numbers)
        np.testing.assert_array_equal(file.acquisition["PlaneTimes"].data[:], held.times_s)


def test_what_is_not_said_is_said_to_be_unknown(tmp_path: Path) -> None:
    path = tmp_path / "a.nwb"
    (note,) = write_nwb(volumes(noise(planes=1, channels=1), stated=False, rate_hz=30.0), path, NwbFacts(), CHANGED)
    assert note == "the session is said to begin at 2026-11-30T14:05:06+00:00, when the file changed"
    with opened(path) as file:
        plane = file.acquisition["TwoPhotonSeries"].imaging_plane
        assert (plane.indicator, plane.location, file.devices["Microscope"].description) == ("unknown",) * 3
        assert math.isnan(plane.excitation_lambda)
        assert plane.grid_spacing is None
        assert file.session_start_time == CHANGED
        assert file.session_description == "two-photon recording mouse7.tif"
        assert file.subject is None
        assert list(file.acquisition) == ["TwoPhotonSeries"]


def test_facts_come_back(tmp_path: Path) -> None:
    held = volumes(noise(planes=1, channels=1))
    path, _ = write(held, tmp_path)
    with open_movie_file(path) as movie:
        facts = movie.facts
        assert (movie.shape, facts.format) == ((5, 1, 12, 16), "NWB")
        assert facts.pixel_um == pytest.approx((0.8, 0.4))
        assert facts.times_s == pytest.approx(held.times_s[:, 0])
        assert facts.channel_names == ("GCaMP6f",)
        assert "by its dimension" in facts.pages
    many = noise(planes=3, channels=2)
    path, _ = write(volumes(many), tmp_path)
    for channel, name in enumerate(("TwoPhotonSeriesGCaMP6f", "TwoPhotonSeriesRed2")):
        with open_movie_file(path, Wanted(dataset=f"acquisition/{name}")) as movie:
            assert movie.facts.planes == 3
            np.testing.assert_array_equal(movie.read(0, 15).reshape(5, 3, 12, 16), many[:, :, channel])


def test_even_times_are_a_rate(tmp_path: Path) -> None:
    path, _ = write(volumes(noise(planes=1), uneven=False), tmp_path)
    with opened(path) as file:
        series = file.acquisition["TwoPhotonSeriesGCaMP6f"]
        assert series.timestamps is None
        assert (series.rate, series.starting_time) == (pytest.approx(30.0), 3.5)


def test_times_that_do_not_increase_are_not_written(tmp_path: Path) -> None:
    path, notes = write(volumes(noise(planes=1), times_s=np.array([0.0, 1.0, 1.0, 2.0, 3.0])), tmp_path)
    assert notes == ["the times of the frames do not increase; the frame rate is written in their place"]
    with opened(path) as file:
        assert file.acquisition["TwoPhotonSeriesGCaMP6f"].rate == 30.0


def test_a_rate_is_required(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="states no frame rate, to become an NWB file"):
        write(volumes(noise(), stated=False), tmp_path)
    with pytest.raises(StreamError, match="states no frame rate"):
        write(volumes(noise(1, 1, 1), stated=False, times_s=np.array([3.0])), tmp_path)
    write(Volumes(recording(noise(), stated=False), rate_hz=30.0), tmp_path)


def test_facts_for_other_channels_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="3 values of indicator for 2 channels"):
        write(volumes(noise()), tmp_path, indicator="a,b,c")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "ends"),
    [
        (("a/b", "a:c"), ("AB", "AC")),
        (("a/b", "a:b"), ("Channel0", "Channel1")),
        (("µ", "∆"), ("Channel0", "Channel1")),
        (("", ""), ("Channel0", "Channel1")),
        (("Channel 1", "Channel 4"), ("Channel1", "Channel4")),
    ],
)
def test_names_that_no_object_may_have(tmp_path: Path, names: tuple[str, str], ends: tuple[str, str]) -> None:
    path, _ = write(volumes(noise(planes=1), channel_names=names), tmp_path)
    with opened(path) as file:
        assert [name[15:] for name in file.acquisition if name.startswith("TwoPhoton")] == list(ends)
        assert file.acquisition[f"TwoPhotonSeries{ends[1]}"].imaging_plane.optical_channel[0].name == ends[1]


@pytest.mark.parametrize("planes", [1, 3])
def test_memory_and_chunks_are_as_large_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planes: int) -> None:
    truth = noise(points=23, planes=planes)
    movie = recording(truth)
    monkeypatch.setattr(module, "CHUNK_BYTES", 2 * 12 * 16 * 2)
    monkeypatch.setattr(module, "BLOCK_BYTES", 4 * truth[0].nbytes)
    path, _ = write(Volumes(movie), tmp_path)
    assert movie.longest == 4 * planes
    with opened(path) as file:
        data = file.acquisition["TwoPhotonSeriesGCaMP6f"].data
        assert data.chunks == ((2, 12, 16, 1) if planes > 1 else (2, 12, 16))
        assert data.compression == "gzip"
        stored = data[:] if planes > 1 else data[:][..., None]
        np.testing.assert_array_equal(stored.transpose(0, 3, 1, 2), truth[:, :, 0])


def test_when_a_recording_was_changed(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    os.utime(tmp_path / "a.tif", (CHANGED.timestamp(), CHANGED.timestamp()))
    assert time_of_change(tmp_path / "a.tif") == CHANGED
    assert abs((time_of_change(tmp_path / "a_*.tif") - datetime.now(UTC)).total_seconds()) < 60
