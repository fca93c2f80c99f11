"""The end of a long movie; everything else is tested through `TiffMovie`, in test_tiff_movie.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.recording.tiff_pages import last_frame_number
from deepbid_rt.recording.tiff_writer import TiffMovieWriter


def write(path: Path, numbers: list[int], side: int = 16, channels: int = 2) -> None:
    writer = TiffMovieWriter(path)
    for number in numbers:
        writer.append(np.zeros((channels, side, side), np.int16), number, 0.0)
    writer.close()


@pytest.mark.parametrize(("count", "side"), [(1, 16), (2, 16), (400, 16), (3, 700), (1, 700)])
def test_the_last_frame_number_is_read_from_the_end_of_the_file(tmp_path: Path, count: int, side: int) -> None:
    write(tmp_path / "m.tif", [3 * n + 1_000_000 for n in range(count)], side)
    assert last_frame_number(tmp_path / "m.tif") == 1_000_000 + 3 * (count - 1)


@pytest.mark.parametrize("whole", [True, False])
def test_a_page_that_nothing_points_to_does_not_count(tmp_path: Path, whole: bool) -> None:
    """A process was killed after it had written a page, or a part of it, and before the pointer to it."""
    path = tmp_path / "m.tif"
    write(path, list(range(300)), channels=1)
    with TiffMovie(path) as movie:
        offset = movie._offsets[-1]
    content = bytearray(path.read_bytes())
    at = content.rindex(offset.to_bytes(8, "little"))
    content[at : at + 8] = bytes(8)
    path.write_bytes(content if whole else content[:-100])
    assert last_frame_number(path) == 298
    with TiffMovie(path) as movie:
        assert movie.shape[0] == 299
    with TiffMovie(path, salvage=True) as movie:
        assert movie.shape[0] == (300 if whole else 299)


def test_files_without_frame_numbers_have_none(tmp_path: Path) -> None:
    for content in (b"", b"no TIFF", b"II+\0" + bytes(20)):
        (tmp_path / "m.tif").write_bytes(content)
        assert last_frame_number(tmp_path / "m.tif") is None
