"""Values between samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.interpolation import blend, cubic


@given(st.floats(0, 1))
def test_cubics_weights_add_up_to_one(part):
    weights = cubic(np.full((1, 1), part, np.float32))
    if weights is None:
        assert np.float32(part) == 0
    else:
        assert weights.sum() == pytest.approx(1, abs=1e-6)


@given(st.floats(0.01, 1), st.floats(-3, 3), st.floats(-3, 3))
def test_a_straight_line_is_met_exactly(part, slope, start):
    samples = [np.full((1, 2), start + slope * place, np.float32) for place in (-1, 0, 1, 2)]
    value = blend(samples, cubic(np.full((1, 1), part, np.float32)))
    assert value == pytest.approx(start + slope * part, abs=1e-4)


def test_every_line_has_a_place_of_its_own():
    samples = [np.array([[a], [b]], np.float32) for a, b in ((1, 5), (2, 6), (3, 7), (4, 8))]
    assert blend(samples, cubic(np.array([[0.5], [0.0]], np.float32)))[:, 0].tolist() == [2.5, 6]


def test_without_weights_the_sample_itself_is_the_value():
    samples = [np.full((1, 1), n, np.float32) for n in range(4)]
    assert blend(samples, None) is samples[1]
