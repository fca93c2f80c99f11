from __future__ import annotations

import tempfile

import numpy as np
import pytest

from deepbid_rt.errors import FileError
from deepbid_rt.evaluation.baselines import rolling_mean
from deepbid_rt.evaluation.movie import as_movie
from deepbid_rt.evaluation.temp_movie import TempMovie, to_temp_movie

RAW = np.random.default_rng(6).normal(1000, 30, (75, 2, 9, 7))


def test_a_movie_reads_back_as_written() -> None:
    with to_temp_movie(as_movie(RAW)) as temp_movie:
        assert temp_movie.shape == RAW.shape
        np.testing.assert_array_equal(temp_movie.read(0, 75), RAW.astype(np.float32))
        np.testing.assert_array_equal(temp_movie.read(31, 34), RAW[31:34].astype(np.float32))
        assert temp_movie.read(5, 5).shape == (0, 2, 9, 7)


def test_a_filtered_movie_is_computed_once() -> None:
    class CountingMovie:
        shape = RAW.shape
        reads = 0

        def read(self, t0: int, t1: int) -> np.ndarray:
            self.reads += 1
            return RAW[t0:t1]

    movie = CountingMovie()
    with to_temp_movie(rolling_mean(movie, 8)) as temp_movie:
        reads = movie.reads
        temp_movie.read(0, 75)
        assert movie.reads == reads == 5  # blocks of 16 frames


def test_a_failed_copy_leaves_no_file_open() -> None:
    class Broken:
        shape = (40, 1, 4, 4)

        def read(self, t0: int, t1: int) -> np.ndarray:
            raise FileError("page 3", expected="a page", todo="look")

    with pytest.raises(FileError, match="page 3"):
        to_temp_movie(Broken())


def test_the_error_names_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    with TempMovie((1000, 1, 512, 512)) as temp_movie:

        class Full:
            def write(self, _: bytes) -> int:
                raise OSError(28, "No space left on device")

            def close(self) -> None:
                pass

        temp_movie.close()
        monkeypatch.setattr(temp_movie, "_file", Full())
        with pytest.raises(FileError) as info:
            temp_movie.append(np.zeros((1, 1, 512, 512)))
    assert str(info.value) == (
        f"a temporary movie in {tempfile.gettempdir()} cannot be written (No space left on device); expected 1000 MiB "
        "free; free some space, or name another folder in the environment variable TMPDIR."
    )
