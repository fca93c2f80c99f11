from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.evaluation.moments import Moments


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 2**32 - 1), st.floats(-1e6, 1e6))
def test_moments_of_pieces_add_up_to_those_of_the_whole(sizes: list[int], seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(level, 3, sum(sizes))
    y = x + rng.normal(0, 2, sum(sizes))
    total = Moments()
    for piece in np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1]):
        total = total + Moments.of(x[piece], y[piece])
    whole = Moments.of(x, y)
    for name in ("n", "x", "y", "xx", "yy", "xy"):
        assert getattr(total, name) == pytest.approx(getattr(whole, name), rel=1e-7, abs=1e-6)


def test_correlation_equals_numpys_also_with_large_offsets() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, 1000)
    y = x + rng.normal(0, 1, 1000)
    expected = np.corrcoef(x, y)[0, 1]
    assert Moments.of(x, y).correlation() == pytest.approx(expected, abs=1e-12)
    assert Moments.of(x + 1e8, y - 1e8).correlation() == pytest.approx(expected, abs=1e-6)
    assert Moments.of(x, -3 * x).correlation() == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize("level", [0.0, 0.1, 33_300.1, -1e-12])
def test_the_correlation_with_a_constant_is_0(level: float) -> None:
    rng = np.random.default_rng(1)
    constant = np.full(4099, level)
    assert Moments.of(constant, rng.normal(0, 1, 4099)).correlation() == 0.0
    assert Moments.of(constant, constant).correlation() == 0.0
    assert Moments().correlation() == 0.0
