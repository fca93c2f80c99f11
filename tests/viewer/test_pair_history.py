from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.viewer.image_pair import ImagePair
from deepbid_rt.viewer.pair_history import PairHistory, RunningAverage
from tests.viewer.stand_ins import a_pair


def test_history_is_bounded_in_time() -> None:
    history = PairHistory(seconds=1.0)
    for n in range(50):
        history.push(a_pair(n, 1, 1), now_s=n * 0.1)
    assert [p.index for p in history.pairs(0)] == list(range(39, 50))


@given(st.integers(1, 20), st.integers(1, 40))
def test_history_is_bounded_in_memory_and_never_empty(fits: int, count: int) -> None:
    size = a_pair(0, 1, 1).nbytes
    history = PairHistory(seconds=1e9, max_bytes=fits * size)
    for n in range(count):
        history.push(a_pair(n, 1, 1), now_s=n)
    assert [p.index for p in history.pairs(0)] == list(range(max(0, count - fits), count))


def test_each_plane_has_its_own_pairs() -> None:
    history = PairHistory()
    for n in range(6):
        history.push(a_pair(n, 1, plane=n % 3), now_s=0.0)
    assert [p.index for p in history.pairs(1)] == [1, 4]
    history.reset()
    assert history.pairs(1) == []


def test_the_average_is_the_mean_of_the_last_raw_images() -> None:
    average = RunningAverage()
    pairs = [a_pair(n, None if n == 3 else n, 77) for n in range(6)]
    np.testing.assert_allclose(average.of(pairs, 4), np.full((1, 4, 6), (2 + 4 + 5) / 3))
    np.testing.assert_allclose(average.of(pairs, 1), 5)
    assert average.of([a_pair(0, None, 1)], 4) is None
    assert average.of([], 4) is None


def test_the_average_does_not_overflow() -> None:
    full = np.full((1, 4, 6), 65535, np.uint16)
    np.testing.assert_allclose(RunningAverage().of([a_pair(n, full) for n in range(64)], 64), 65535)


frames = st.one_of(
    st.none(), st.integers(-32768, 32767), st.sampled_from([0.5, 1e6, np.nan, np.inf, -np.inf]), st.just("wide")
)


def a_raw_pair(index: int, kind: Any) -> ImagePair:
    if kind == "wide":
        return a_pair(index, np.full((1, 4, 9), index, np.int16))
    return a_pair(index, np.full((1, 4, 6), kind, np.float32) if isinstance(kind, float) else kind)


@given(st.lists(frames, min_size=1, max_size=12), st.lists(st.tuples(st.integers(1, 12), st.integers(1, 6))))
def test_the_average_does_not_depend_on_earlier_calls(kinds: list[Any], questions: list[tuple[int, int]]) -> None:
    pairs, average = [a_raw_pair(n, kind) for n, kind in enumerate(kinds)], RunningAverage()
    for end, count in questions:
        images = [pair.raw for pair in pairs[:end][-count:] if pair.raw is not None]
        same = [image.astype(float) for image in images if image.shape == images[-1].shape]
        with np.errstate(invalid="ignore"):
            expected = np.mean(same, axis=0) if same else None
        got = average.of(pairs[:end], count)
        if expected is None or got is None:
            assert got is expected
        else:
            np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_nan_leaves_the_average_with_its_image() -> None:
    pairs, average = [a_raw_pair(n, np.nan if n == 0 else float(n)) for n in range(6)], RunningAverage()
    assert np.isnan(average.of(pairs[:4], 4)).all()
    np.testing.assert_allclose(average.of(pairs[:5], 4), 2.5)
