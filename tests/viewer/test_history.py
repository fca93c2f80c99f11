from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.viewer.history import History, running_average
from tests.viewer.stand_ins import a_pair


def test_history_is_bounded_in_time() -> None:
    history = History(seconds=1.0)
    for n in range(50):
        history.add(a_pair(n, 1, 1), now_s=n * 0.1)
    assert [p.index for p in history.pairs(0)] == list(range(39, 50))


@given(st.integers(1, 20), st.integers(1, 40))
def test_history_is_bounded_in_memory_and_never_empty(fits: int, count: int) -> None:
    size = a_pair(0, 1, 1).nbytes
    history = History(seconds=1e9, max_bytes=fits * size)
    for n in range(count):
        history.add(a_pair(n, 1, 1), now_s=n)
    assert [p.index for p in history.pairs(0)] == list(range(max(0, count - fits), count))


def test_planes_are_looked_at_one_by_one() -> None:
    history = History()
    for n in range(6):
        history.add(a_pair(n, 1, plane=n % 3), now_s=0.0)
    assert [p.index for p in history.pairs(1)] == [1, 4]
    history.clear()
    assert history.pairs(1) == []


def test_the_average_is_that_of_the_last_raw_frames_there_are() -> None:
    pairs = [a_pair(n, None if n == 3 else n, 77) for n in range(6)]
    np.testing.assert_allclose(running_average(pairs, 4), np.full((1, 4, 6), (2 + 4 + 5) / 3))
    np.testing.assert_allclose(running_average(pairs, 1), 5)
    assert running_average([a_pair(0, None, 1)], 4) is None
    assert running_average([], 4) is None


def test_the_average_does_not_overflow_and_lets_go_of_nan() -> None:
    full = np.full((1, 4, 6), 65535, np.uint16)
    np.testing.assert_allclose(running_average([a_pair(n, full) for n in range(64)], 64), 65535)
    odd = np.full((1, 4, 6), np.nan, np.float32)
    pairs = [a_pair(0, odd), a_pair(1, 3), a_pair(2, 5)]
    np.testing.assert_allclose(running_average(pairs, 2), 4)
