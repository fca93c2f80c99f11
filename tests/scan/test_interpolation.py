"""Values between samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.scan.interpolation import blend, cubic, lines_between


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


def test_an_answer_can_be_written_where_it_belongs():
    samples = [np.full((1, 2), n, np.float32) for n in range(4)]
    out = np.full((1, 4), 9, np.float32)[:, 1:3]
    for weights in (None, cubic(np.full((1, 1), 0.25, np.float32))):
        assert blend(samples, weights, out) is out
        assert np.array_equal(out, blend(samples, weights))


@given(st.lists(st.tuples(st.integers(1, 27), st.floats(0, 1, width=32)), min_size=1, max_size=30), st.booleans())
def test_lines_are_what_blending_the_four_around_each_gives(places, whole):
    """However far apart they lie, and wherever in the images."""
    images = np.random.default_rng(0).standard_normal((2, 30, 5), np.float32)
    top = np.array([line for line, _ in places])
    part = np.array([[0 if whole else beyond] for _, beyond in places], np.float32)
    expected = blend([images[:, top + k] for k in range(-1, 3)], cubic(part))
    assert np.allclose(lines_between(images, top, part), expected, atol=1e-5)
