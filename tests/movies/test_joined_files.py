"""Files of a folder that are joined to one recording, each of which says for itself what its pages are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.movies.open_movie import open_movie_file
from deepbid_rt.movies.wanted import Wanted

RNG = np.random.default_rng(1)


def pixels(*axes: int) -> NDArray[np.uint16]:
    return RNG.integers(1, 9999, (*axes, 24, 20)).astype(np.uint16)


def stored(path: Path) -> NDArray[Any]:
    with open_movie_file(path) as movie:
        return movie.read(0, movie.shape[0])


def test_arrays_of_tifffile_keep_their_channels(tmp_path: Path) -> None:
    movie = pixels(2, 3, 2)
    for part in (0, 1):
        tifffile.imwrite(
            tmp_path / f"m_{part + 1}.tif", movie[part], photometric="minisblack", metadata={"axes": "TCYX"}
        )
    np.testing.assert_array_equal(stored(tmp_path), movie.reshape(6, 2, 24, 20))


def test_hyperstacks_of_imagej_keep_their_planes_and_channels(tmp_path: Path) -> None:
    movie = pixels(2, 4, 3, 2)
    for part in (0, 1):
        tifffile.imwrite(tmp_path / f"m_{part + 1}.tif", movie[part], imagej=True, metadata={"axes": "TZCYX"})
    with open_movie_file(tmp_path) as joined:
        assert (joined.shape, joined.facts.planes) == ((24, 2, 24, 20), 3)
        assert any("2 files, m_1.tif to m_2.tif, are joined" in text for text in joined.facts.warnings)
        np.testing.assert_array_equal(joined.read(0, 24), movie.reshape(24, 2, 24, 20))


def test_hyperstacks_that_differ_are_not_joined(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m_1.tif", pixels(2, 3, 2), imagej=True, metadata={"axes": "TZCYX"})
    tifffile.imwrite(tmp_path / "m_2.tif", pixels(4, 3, 1), imagej=True, metadata={"axes": "TZCYX"})
    with pytest.raises(StreamError, match=r"m_2\.tif, a recording of another kind than m_1\.tif"):
        open_movie_file(tmp_path)


def test_recordings_of_different_rates_are_not_joined(tmp_path: Path) -> None:
    for part, interval_s in ((1, 0.1), (2, 0.2)):
        metadata = {"axes": "TYX", "finterval": interval_s}
        tifffile.imwrite(tmp_path / f"m_{part}.tif", pixels(5), imagej=True, metadata=metadata)
    with pytest.raises(StreamError, match="of another kind"):
        open_movie_file(tmp_path)


def test_a_denoised_file_is_not_joined_to_the_raw_one(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m_001.tif", pixels(5), photometric="minisblack", metadata=None)
    tifffile.imwrite(
        tmp_path / "m_002.tif",
        pixels(5),
        photometric="minisblack",
        metadata=None,
        software="deepbid-rt 0.1.0",
        description="frameNumbers = 0\nframeTimestamps_sec = 0.0\nchannel = 0\n",
    )
    with pytest.raises(StreamError, match="of another kind"):
        open_movie_file(tmp_path)
    (tmp_path / "m_001.tif").rename(tmp_path / "m_003.tif")
    with pytest.raises(StreamError, match=r"m_003\.tif beside m_002\.tif, which deepbid-rt wrote"):
        open_movie_file(tmp_path)


def test_plain_pages_are_joined_with_a_word_and_may_cut_volumes(tmp_path: Path) -> None:
    movie = pixels(12)
    for part, pages in enumerate((movie[:5], movie[5:]), start=1):
        tifffile.imwrite(tmp_path / f"m_{part}.tif", pages, photometric="minisblack", metadata=None)
    with open_movie_file(tmp_path, Wanted(planes=3)) as joined:
        assert (joined.shape, joined.facts.planes) == ((12, 1, 24, 20), 3)
        assert any("2 files" in text for text in joined.facts.warnings)
        np.testing.assert_array_equal(joined.read(0, 12)[:, 0], movie)
