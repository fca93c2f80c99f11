"""Movies shared by several threads: one read at a time, and no read after the reader is closed."""

from __future__ import annotations

from concurrent.futures import CancelledError, ThreadPoolExecutor
from threading import Lock

import numpy as np
import pytest
from numpy.typing import NDArray

from deepbid_rt.evaluation.shared_reader import SharedReader


class OnePosition:
    """A file with one position: two reads at the same time would disturb each other."""

    shape = (4, 1, 512, 512)

    def __init__(self) -> None:
        self.frames = np.arange(4.0)[:, None, None, None] * np.ones(self.shape)
        self._free = Lock()

    def read(self, t0: int, t1: int) -> NDArray[np.float64]:
        assert self._free.acquire(blocking=False), "two reads at the same time"
        try:
            return self.frames[t0:t1].copy()
        finally:
            self._free.release()


def test_movies_of_one_reader_are_read_one_at_a_time() -> None:
    reader, file = SharedReader(), OnePosition()
    movies = [reader.share(file) for _ in range(4)]
    assert movies[0].shape == file.shape
    with ThreadPoolExecutor(4) as pool:
        for t, frames in enumerate(pool.map(lambda n: movies[n % 4].read(n % 4, n % 4 + 1), range(200))):
            assert (frames == t % 4).all()


def test_reading_after_close_raises_cancelled_error() -> None:
    reader = SharedReader()
    movie = reader.share(OnePosition())
    movie.read(0, 1)
    reader.close()
    with pytest.raises(CancelledError):
        movie.read(0, 1)
