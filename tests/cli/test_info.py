"""What ``deepbid-rt info`` says of a recording."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from deepbid_rt.cli import app
from deepbid_rt.errors import FileError, StreamError

HEADER = """SI.VERSION_MAJOR = 2023
SI.hChannels.channelSave = [1;2]
SI.hStackManager.enable = true
SI.hStackManager.numSlices = 3
SI.hStackManager.actualNumSlices = 3
SI.hStackManager.framesPerSlice = 1
SI.hStackManager.numFramesPerVolume = 3
SI.hStackManager.numFramesPerVolumeWithFlyback = 4
SI.hFastZ.enable = true
SI.hFastZ.numDiscardFlybackFrames = 1
SI.hRoiManager.scanFrameRate = 30
SI.hRoiManager.scanVolumeRate = 7.5
SI.hScan2D.bidirectional = true
SI.hRoiManager.imagingFovUm = [-12 -16;12 -16;12 16;-12 16]
"""


@pytest.fixture
def scanimage(tmp_path: Path) -> Path:
    """Two volumes of 3 planes and a fly-back frame in 2 channels; pixel value: 100 x channel + frame."""
    path = tmp_path / "mouse.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for page in range(2 * 4 * 2):
            frame, channel = divmod(page, 2)
            writer.write(
                np.full((16, 24), 100 * channel + frame, np.int16),
                contiguous=False,
                metadata=None,
                photometric="minisblack",
                software=HEADER,
                description=f"frameNumbers = {frame + 1}\nframeTimestamps_sec = {frame / 30:.6f}\n",
            )
    return path


def info(*arguments: object) -> dict[str, object]:
    found = CliRunner().invoke(app, ["info", *map(str, arguments), "--json"], catch_exceptions=False)
    result: dict[str, object] = json.loads(found.stdout.strip().splitlines()[-1])
    return result


def test_volumes_and_channels_of_a_scanimage_file(scanimage: Path) -> None:
    found = info(scanimage)
    assert found["format"] == "ScanImage"
    assert (found["frames"], found["planes"], found["channels"], found["shape"]) == (2, 3, 2, [16, 24])
    assert (found["dtype"], found["scan"], found["mirrored"]) == ("int16", "bidirectional", True)
    assert found["rate_hz"] == pytest.approx(7.5)
    assert found["seconds"] == pytest.approx(2 / 7.5)
    assert "fly-back" in str(found["pages"])


def test_the_user_is_right(scanimage: Path) -> None:
    found = info(scanimage, "--channels", 1, "--planes", 1, "--flyback", 0)
    assert (found["frames"], found["planes"], found["channels"]) == (16, 1, 1)
    assert "--channels" in str(found["pages"])


def test_a_table_without_json(scanimage: Path) -> None:
    shown = CliRunner().invoke(app, ["info", str(scanimage)], catch_exceptions=False)
    assert shown.stdout == ""
    for words in ("ScanImage", "2 volumes of 3 planes", "16 x 24, int16", "7.500 volumes/s", "bidirectional"):
        assert words in shown.stderr


def test_a_movie_in_which_nothing_is_seen_is_said_to_be_one(tmp_path: Path) -> None:
    np.save(tmp_path / "dark.npy", np.full((4, 16, 24), 7, np.int16))
    assert info(tmp_path / "dark.npy")["warnings"] == ["every pixel is 7"]


def test_pixels_alone(tmp_path: Path) -> None:
    (tmp_path / "pixels.raw").write_bytes(np.arange(3 * 2 * 16 * 24, dtype="<u2").tobytes())
    found = info(tmp_path / "pixels.raw", "--shape", "2,16,24", "--dtype", "uint16")
    assert (found["frames"], found["channels"], found["shape"], found["dtype"]) == (3, 2, [16, 24], "uint16")


@pytest.mark.parametrize(("channels", "error"), [(3, StreamError), (5, StreamError)])
def test_what_cannot_be_is_refused(scanimage: Path, channels: int, error: type[Exception]) -> None:
    found = CliRunner().invoke(app, ["info", str(scanimage), "--channels", str(channels)])
    assert isinstance(found.exception, error)


@pytest.mark.parametrize("lost", [(1,), (5, 11)])
def test_a_lost_page_does_not_swap_the_channels(scanimage: Path, lost: tuple[int, ...]) -> None:
    """Each page says to which frame it belongs, so that channels of different frames are not taken for one."""
    with tifffile.TiffFile(scanimage) as file:
        pages = [(page.asarray(), page.tags["ImageDescription"].value) for page in file.pages]
    with tifffile.TiffWriter(scanimage, bigtiff=True) as writer:
        for number, (pixels, description) in enumerate(pages):
            if number not in lost:
                options = {"contiguous": False, "metadata": None, "photometric": "minisblack", "software": HEADER}
                writer.write(pixels, description=description, **options)
    found = CliRunner().invoke(app, ["info", str(scanimage)])
    assert isinstance(found.exception, StreamError)
    assert "belongs to frame" in str(found.exception)


def test_no_movie(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a mouse")
    for path in (tmp_path / "notes.txt", tmp_path / "none.tif"):
        found = CliRunner().invoke(app, ["info", str(path)])
        assert isinstance(found.exception, FileError)
