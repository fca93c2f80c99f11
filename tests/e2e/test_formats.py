"""A recording of another program through `denoise`: what came in is in the output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.cli.test_info import HEADER
from tests.e2e.commands import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ScanImage recording in two files: 4 volumes of 3 planes and a fly-back frame, 2 channels.

    The border of the files lies inside a volume. Pixel value: 1000 x channel + frame number, fly-back frames included.
    """
    folder = tmp_path / "mouse7"
    folder.mkdir()
    pages = [(frame, channel) for frame in range(16) for channel in range(2)]
    for part, its_pages in enumerate((pages[:20], pages[20:]), start=1):
        with tifffile.TiffWriter(folder / f"mouse7_00001_{part:05}.tif", bigtiff=True) as writer:
            for frame, channel in its_pages:
                writer.write(
                    np.full((16, 24), 1000 * channel + frame, np.int16),
                    contiguous=False,
                    metadata=None,
                    photometric="minisblack",
                    software=HEADER,
                    description=f"frameNumbers = {frame + 1}\nframeTimestamps_sec = {frame / 30:.9f}\n",
                )
    return folder


def test_planes_channels_times_and_rate_of_a_volume_are_in_the_output(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    done = run("denoise", folder, out, "--engine", "echo", "--json")
    assert done.code == 0, done.stderr
    assert done.result["frames_out"] == 12
    assert "fly-back" in done.stderr
    with tifffile.TiffFile(out) as file:
        values = [int(page.asarray()[0, 0]) for page in file.pages]
        descriptions = [page.tags["ImageDescription"].value for page in file.pages]
    frames = [frame for frame in range(16) if frame % 4 < 3]
    assert values == [1000 * channel + frame for frame in frames for channel in range(2)]
    times = [float(text.split("frameTimestamps_sec = ")[1].split("\n")[0]) for text in descriptions[::2]]
    assert np.allclose(np.diff(times), np.diff(frames) / 30)
    found = run("info", out, "--json").result
    assert {key: found[key] for key in ("frames", "planes", "channels", "shape", "dtype")} == {
        "frames": 4,
        "planes": 3,
        "channels": 2,
        "shape": [16, 24],
        "dtype": "int16",
    }
    assert found["rate_hz"] == pytest.approx(7.5)
    assert found["pixel_um"] == pytest.approx([2.0, 1.0])


def test_a_movie_of_nothing_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    np.save(tmp_path / "dark.npy", np.zeros((8, 16, 24), np.int16))
    done = run("denoise", tmp_path / "dark.npy", tmp_path / "out.tif", "--engine", "echo")
    assert done.code == 2
    assert "in which every pixel is 0" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["dark.npy"]


def test_a_rate_that_was_assumed_does_not_become_a_fact(tmp_path: Path) -> None:
    movie = np.arange(8 * 16 * 24, dtype=np.int16).reshape(8, 16, 24)
    tifffile.imwrite(tmp_path / "in.tif", movie, photometric="minisblack", metadata=None)
    done = run("denoise", tmp_path / "in.tif", tmp_path / "out.tif", "--engine", "echo")
    assert "30 Hz is assumed" in done.stderr
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert "rate_hz" not in file.pages[0].tags["ImageDescription"].value
    run("denoise", tmp_path / "in.tif", tmp_path / "known.tif", "--engine", "echo", "--rate", "15")
    assert run("info", tmp_path / "known.tif", "--json").result["rate_hz"] == 15.0


def test_pixels_names_and_times_of_a_collinear_recording_are_in_the_output(tmp_path: Path) -> None:
    """Half as many lines show the same field of view."""
    movie = np.random.default_rng(0).integers(-50, 50, (6, 2, 16, 24), np.int16)
    times = [0.5, 0.55, 0.6, 0.7, 0.75, 0.8]
    said = {"axes": "TCYX", "PhysicalSizeX": 1.5, "PhysicalSizeY": 0.7, "Channel": {"Name": ["GCaMP", "\u00b5"]}}
    planes = {"DeltaT": [time for time in times for _ in range(2)], "DeltaTUnit": ["s"] * 12}
    tifffile.imwrite(tmp_path / "in.ome.tif", movie, metadata={**said, "Plane": planes})
    done = run("denoise", tmp_path / "in.ome.tif", tmp_path / "out.tif", "--engine", "echo", "--scan", "collinear")
    assert done.code == 0, done.stderr
    found = run("info", tmp_path / "out.tif", "--json").result
    assert found["shape"] == [8, 24]
    assert found["pixel_um"] == pytest.approx([1.4, 1.5])
    assert found["channel_names"] == ["GCaMP", "\u00b5"]
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        said = [page.description.split("frameTimestamps_sec = ")[1].split("\n")[0] for page in file.pages]
        x, y = (file.pages[0].tags[code].value for code in (282, 283))
    assert said[::2] == [f"{time:.9f}" for time in times]
    assert (x[0] / x[1], y[0] / y[1]) == pytest.approx((1e4 / 1.5, 1e4 / 1.4))
