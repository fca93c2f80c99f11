"""Movies that several threads read: one reader at a time, and nobody reads on when all was called off."""

from __future__ import annotations

from concurrent.futures import CancelledError, ThreadPoolExecutor
from threading import Lock

import numpy as np
import pytest
from numpy.typing import NDArray

from deepbid_rt.evaluation.shared_reader import SharedReader


class OnePosition:
    """A file with one position, which two readers at a time would tear."""

    shape = (4, 1, 512, 512)

    def __init__(self) -> None:
        self.frames = np.arange(4.0)[:, None, None, None] * np.ones(self.shape)
        self._free = Lock()

    def read(self, t0: int, t1: int) -> NDArray[np.float64]:
        assert self._free.acquire(blocking=False), "a second reader"
        try:
            return self.frames[t0:t1].copy()
        finally:
            self._free.release()


def test_movies_of_one_desk_are_read_one_at_a_time() -> None:
    desk, file = SharedReader(), OnePosition()
    movies = [desk.share(file) for _ in range(4)]
    assert movies[0].shape == file.shape
    with ThreadPoolExecutor(4) as pool:
        for t, frames in enumerate(pool.map(lambda n: movies[n % 4].read(n % 4, n % 4 + 1), range(200))):
            assert (frames == t % 4).all()


def test_who_reads_after_the_desk_has_closed_is_called_off() -> None:
    desk = SharedReader()
    movie = desk.share(OnePosition())
    movie.read(0, 1)
    desk.close()
    with pytest.raises(CancelledError):
        movie.read(0, 1)
