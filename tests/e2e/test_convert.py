"""``deepbid-rt convert``, as users run it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.movies.open_movie import open_movie_file
from tests.cli.test_info import HEADER
from tests.e2e.commands import run, started

DEADLINE_S = 60.0
NAMES = {"a.ome.tif": (), "a.zarr": (), "a.tif": ("--format", "imagej")}


@pytest.fixture
def scanimage(tmp_path: Path) -> Path:
    """A ScanImage recording: 4 volumes of 3 planes and a fly-back frame, 2 channels; pixel = 100 x frame + channel."""
    path = tmp_path / "mouse7.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for frame in range(16):
            for channel in range(2):
                writer.write(
                    np.full((16, 24), 100 * frame + channel - 50, np.int16) + np.arange(24, dtype=np.int16),
                    contiguous=False,
                    metadata=None,
                    photometric="minisblack",
                    software=HEADER,
                    description=f"frameNumbers = {frame + 1}\nframeTimestamps_sec = {frame / 30:.9f}\n",
                )
    return path


def frames_of(path: Path) -> list[int]:
    return [int(value) for value in tifffile.imread(path).reshape(-1, 16, 24)[:, 0, 0]]


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_keeps_what_info_shows(scanimage: Path, tmp_path: Path, name: str) -> None:
    done = run("convert", scanimage, "-o", tmp_path / name, *NAMES[name], "--json")
    assert done.code == 0, done.stderr
    assert "fly-back" in done.stderr
    assert done.result["shape"] == [4, 3, 2, 16, 24]
    found = run("info", tmp_path / name, "--json").result
    with open_movie_file(scanimage) as before:
        assert (found["frames"], found["planes"], found["channels"], found["dtype"]) == (4, 3, 2, "int16")
        assert found["rate_hz"] == pytest.approx(before.facts.rate_hz / 3)
        assert found["pixel_um"] == pytest.approx(before.facts.pixel_um)
    if name.endswith("tif"):
        wanted = [100 * frame + channel - 50 for frame in range(16) if frame % 4 < 3 for channel in range(2)]
        assert frames_of(tmp_path / name) == wanted


def test_a_denoised_recording_becomes_nwb(scanimage: Path, tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb", reason="the nwb extra is not installed")
    assert run("denoise", scanimage, tmp_path / "out.tif", "--engine", "echo").code == 0
    said = ("--nwb", "indicator=GCaMP6f,mRuby", "--nwb", "session_start=2026-01-30T10:00+01:00", "--nwb", "location=V1")
    done = run("convert", tmp_path / "out.tif", "-o", tmp_path / "out.nwb", *said)
    assert done.code == 0, done.stderr
    with pynwb.NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        file = io.read()
        first, second = (file.acquisition[f"TwoPhotonSeriesChannel{c}"] for c in (1, 2))
        assert first.data.shape == (4, 16, 24, 3)
        assert first.data[:, 0, 0].reshape(-1).tolist() == [100 * f - 50 for f in range(16) if f % 4 < 3]
        assert second.data[0, 0, 0].tolist() == [-49, 51, 151]
        assert second.imaging_plane.indicator == "mRuby"
        assert second.rate == pytest.approx(7.5)
        assert "denoised by deepbid-rt" in first.comments
        assert file.session_start_time.isoformat() == "2026-01-30T10:00:00+01:00"


def test_names_of_channels_and_times_of_a_denoised_recording(tmp_path: Path) -> None:
    movie = np.random.default_rng(0).integers(-50, 50, (5, 2, 16, 24), np.int16)
    times = [0.5, 0.55, 0.6, 0.7, 0.75]
    planes = {"DeltaT": np.repeat(times, 2).tolist(), "DeltaTUnit": ["s"] * 10}
    said = {"axes": "TCYX", "PhysicalSizeX": 1.5, "PhysicalSizeY": 0.7, "Channel": {"Name": ["GCaMP", "red"]}}
    tifffile.imwrite(tmp_path / "in.ome.tif", movie, metadata={**said, "Plane": planes})
    assert run("denoise", tmp_path / "in.ome.tif", tmp_path / "mid.tif", "--engine", "echo").code == 0
    assert run("convert", tmp_path / "mid.tif", "-o", tmp_path / "out.ome.tif").code == 0
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tif:
        np.testing.assert_array_equal(tif.series[0].asarray(), movie)
        xml = tif.ome_metadata
    for text in ('Name="GCaMP"', 'Name="red"', 'PhysicalSizeY="0.7"', *(f'DeltaT="{time_s}"' for time_s in times)):
        assert text in xml


def test_whole_frames_of_a_damaged_recording(scanimage: Path, tmp_path: Path) -> None:
    assert run("denoise", scanimage, tmp_path / "out.tif", "--engine", "echo").code == 0
    whole = (tmp_path / "out.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) * 2 // 3])
    done = run("convert", tmp_path / "cut.tif", "-o", tmp_path / "a.ome.tif", "--salvage", "--json")
    assert done.code == 0, done.stderr
    assert "is damaged (it is cut off)" in done.stderr
    assert done.result["problem"] == "it is cut off"
    points = done.result["shape"][0]
    assert 1 <= points < 4
    assert frames_of(tmp_path / "a.ome.tif") == frames_of(tmp_path / "out.tif")[: points * 6]


@pytest.fixture
def long_movie(tmp_path: Path) -> Path:
    """A movie of 3 GB that takes no room on the disk."""
    path = tmp_path / "long.npy"
    np.lib.format.open_memmap(path, "w+", np.int16, (6000, 512, 512))
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("name", ["a.ome.tif", "a.zarr"])
def test_an_interrupted_conversion_has_no_result(long_movie: Path, tmp_path: Path, name: str, number: int) -> None:
    with started("convert", long_movie, "-o", tmp_path / name, "--rate", "30") as command:
        deadline = time.monotonic() + DEADLINE_S
        while not any(path.name.startswith(".") for path in tmp_path.iterdir()):
            assert time.monotonic() < deadline
            assert command.process.poll() is None
            time.sleep(0.005)
        os.kill(command.process.pid, number)
        done = command.finish()
    assert done.code == (-signal.SIGKILL if number == signal.SIGKILL else 130), done.stderr
    left = [path.name for path in tmp_path.iterdir() if path != long_movie]
    if number == signal.SIGKILL:
        assert [one.startswith(".") and one.endswith(name) for one in left] == [True]
    else:
        assert left == []
