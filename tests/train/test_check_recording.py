"""A recording that cannot be trained on is refused before the first step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.train import check_recording as module
from deepbid_rt.train.check_recording import check_recording
from deepbid_rt.train.movie import ArrayMovie, FileMovie


def movie(dtype: Any = np.int16) -> NDArray[Any]:
    """(T, C, Y, X) with noise of 30 counts about 500."""
    return np.random.default_rng(0).normal(500, 30, (60, 2, 8, 8)).astype(dtype)


def refusal(pixels: NDArray[Any]) -> str:
    with pytest.raises(StreamError) as error:
        check_recording(ArrayMovie(pixels), 8)
    return str(error.value)


def test_each_channel_is_measured_on_the_first_frames() -> None:
    pixels = movie()
    pixels[:, 1] *= 2
    pixels[8:] += 1000
    one, two = check_recording(ArrayMovie(pixels), 8)
    assert one.offset == pytest.approx(500, abs=5)
    assert one.scale == pytest.approx(30, rel=0.2)
    assert two.scale == pytest.approx(60, rel=0.2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("frame", [0, 41, 59])
def test_the_first_frame_that_is_not_finite_is_named(monkeypatch: pytest.MonkeyPatch, frame: int, bad: float) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 7 * 8 * 8 * 4)  # blocks of 7 frames
    pixels = movie(np.float32)
    pixels[frame:, 1, 2, 3] = bad
    assert refusal(pixels) == (
        f"a recording with pixels that are not finite, first in frame {frame} of channel 1; expected finite counts; "
        "replace NaN and infinity before training."
    )


def test_a_constant_channel_is_refused() -> None:
    pixels = movie()
    pixels[:, 1] = 7
    assert refusal(pixels) == (
        "a recording whose channel 1 is 7 counts everywhere; expected a picture with noise; check the file and the "
        "number of channels."
    )


def test_identical_frames_are_refused() -> None:
    pixels = movie()
    pixels[:] = pixels[0]
    assert (
        "channel 0 is the same picture in each of its first 8 frames; expected frames with independent noise"
        in refusal(pixels)
    )


def test_a_saturated_channel_is_refused_and_a_few_bright_pixels_are_not() -> None:
    pixels = movie()
    pixels[20:, :, :4, :4] = 4095
    assert re.match(r"a recording whose channel 0 has 1\d% of its pixels at its highest count, 4095", refusal(pixels))
    pixels = movie()
    pixels[20:, :, 0, :3] = 4095
    check_recording(ArrayMovie(pixels), 8)
    dark = np.random.default_rng(0).poisson(0.05, (60, 1, 8, 8))  # many pixels at the lowest count are accepted
    check_recording(ArrayMovie(dark), 8)


def damaged(path: Path, page: int) -> Path:
    """A compressed TIFF of 40 frames, one of which cannot be decoded."""
    pixels = np.random.default_rng(0).poisson(50, (40, 16, 16)).astype(np.int16)
    with tifffile.TiffWriter(path) as tif:
        for frame in pixels:
            tif.write(frame, compression="zlib", contiguous=False)
    with tifffile.TiffFile(path) as tif:
        place, count = tif.pages[page].dataoffsets[0], tif.pages[page].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[place : place + count] = bytes(count)
    path.write_bytes(content)
    return path


def test_an_unreadable_page_in_the_middle_is_found(tmp_path: Path) -> None:
    path = damaged(tmp_path / "movie.tif", 27)
    with TiffMovie(path) as file, pytest.raises(FileError, match=f"^frame 27 of {re.escape(str(path))} cannot be read"):
        check_recording(FileMovie(file), 8)


def test_uncompressed_whole_numbers_are_only_sampled() -> None:
    read = set()

    class Counting(ArrayMovie):
        def read(self, t0: int, t1: int, *place: int) -> NDArray[Any]:
            read.update(range(t0, t1))
            return super().read(t0, t1, *place)

    check_recording(Counting(np.tile(movie(), (50, 1, 1, 1))), 8)
    assert len(read) < 30
    assert max(read) == 2999
