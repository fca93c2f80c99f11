"""Catmull-Rom interpolation between samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.scan.interpolation import cubic_weights, interpolate, interpolate_lines


@given(st.floats(0, 1))
def test_weights_add_up_to_one(fraction):
    weights = cubic_weights(np.full((1, 1), fraction, np.float32))
    if weights is None:
        assert np.float32(fraction) == 0
    else:
        assert weights.sum() == pytest.approx(1, abs=1e-6)


@given(st.floats(0.01, 1), st.floats(-3, 3), st.floats(-3, 3))
def test_a_straight_line_is_reproduced_exactly(fraction, slope, start):
    samples = [np.full((1, 2), start + slope * position, np.float32) for position in (-1, 0, 1, 2)]
    value = interpolate(samples, cubic_weights(np.full((1, 1), fraction, np.float32)))
    assert value == pytest.approx(start + slope * fraction, abs=1e-4)


def test_every_line_has_its_own_fraction():
    samples = [np.array([[a], [b]], np.float32) for a, b in ((1, 5), (2, 6), (3, 7), (4, 8))]
    assert interpolate(samples, cubic_weights(np.array([[0.5], [0.0]], np.float32)))[:, 0].tolist() == [2.5, 6]


def test_without_weights_the_result_is_the_sample_itself():
    samples = [np.full((1, 1), n, np.float32) for n in range(4)]
    assert interpolate(samples, None) is samples[1]


def test_the_result_can_be_written_to_a_given_array():
    samples = [np.full((1, 2), n, np.float32) for n in range(4)]
    out = np.full((1, 4), 9, np.float32)[:, 1:3]
    for weights in (None, cubic_weights(np.full((1, 1), 0.25, np.float32))):
        assert interpolate(samples, weights, out) is out
        assert np.array_equal(out, interpolate(samples, weights))


@given(st.lists(st.tuples(st.integers(1, 27), st.floats(0, 1, width=32)), min_size=1, max_size=30), st.booleans())
def test_interpolated_lines_equal_the_weighted_sum_of_their_four_samples(positions, whole):
    """However far apart the lines lie, and wherever in the images."""
    images = np.random.default_rng(0).standard_normal((2, 30, 5), np.float32)
    first = np.array([line for line, _ in positions])
    fraction = np.array([[0 if whole else beyond] for _, beyond in positions], np.float32)
    expected = interpolate([images[:, first + k] for k in range(-1, 3)], cubic_weights(fraction))
    assert np.allclose(interpolate_lines(images, first, fraction), expected, atol=1e-5)
