from __future__ import annotations

import tempfile

import numpy as np
import pytest

from deepbid_rt.errors import FileError
from deepbid_rt.evaluation.baselines import rolling_mean
from deepbid_rt.evaluation.movie import as_movie
from deepbid_rt.evaluation.temp_movie import TempMovie, to_temp_movie

RAW = np.random.default_rng(6).normal(1000, 30, (75, 2, 9, 7))


def test_a_movie_is_kept_as_it_was() -> None:
    with to_temp_movie(as_movie(RAW)) as spool:
        assert spool.shape == RAW.shape
        np.testing.assert_array_equal(spool.read(0, 75), RAW.astype(np.float32))
        np.testing.assert_array_equal(spool.read(31, 34), RAW[31:34].astype(np.float32))
        assert spool.read(5, 5).shape == (0, 2, 9, 7)


def test_a_filtered_movie_is_filtered_once() -> None:
    class Counted:
        shape = RAW.shape
        reads = 0

        def read(self, t0: int, t1: int) -> np.ndarray:
            self.reads += 1
            return RAW[t0:t1]

    movie = Counted()
    with to_temp_movie(rolling_mean(movie, 8)) as spool:
        made = movie.reads
        spool.read(0, 75)
        assert movie.reads == made == 5  # blocks of 16 frames


def test_a_movie_that_fails_leaves_no_file_open() -> None:
    class Broken:
        shape = (40, 1, 4, 4)

        def read(self, t0: int, t1: int) -> np.ndarray:
            raise FileError("page 3", expected="a page", todo="look")

    with pytest.raises(FileError, match="page 3"):
        to_temp_movie(Broken())


def test_names_a_disk_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    with TempMovie((1000, 1, 512, 512)) as spool:

        class Full:
            def write(self, _: bytes) -> int:
                raise OSError(28, "No space left on device")

            def close(self) -> None:
                pass

        spool.close()
        monkeypatch.setattr(spool, "_file", Full())
        with pytest.raises(FileError) as info:
            spool.append(np.zeros((1, 1, 512, 512)))
    assert str(info.value) == (
        f"a temporary movie in {tempfile.gettempdir()} cannot be written (No space left on device); expected 1000 MiB "
        "free; free some space, or name another folder in the environment variable TMPDIR."
    )
