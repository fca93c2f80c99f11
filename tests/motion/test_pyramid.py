"""Halving and smoothing of images."""

import numpy as np
import pytest

from deepbid_rt.motion.pyramid import halve, smooth


@pytest.mark.parametrize(("size", "halved"), [((4, 6), (2, 3)), ((5, 7), (2, 3)), ((1, 1), (0, 0))])
def test_blocks_of_2x2_are_averaged_and_odd_ends_left_out(size, halved):
    image = np.arange(size[0] * size[1], dtype=np.float32).reshape(size)
    got = halve(image)
    assert got.shape == halved
    assert all(got[y, x] == image[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean() for y, x in np.ndindex(*halved))


def test_halving_n_times_repeats_the_halving():
    image = np.random.default_rng(0).standard_normal((13, 22), np.float32)
    assert np.array_equal(halve(image, 2), halve(halve(image)))
    assert halve(image, 0) is image


def test_a_point_is_smoothed_with_weights_1_2_1():
    point = np.zeros((5, 5), np.float32)
    point[2, 2] = 16
    assert smooth(point)[1:4, 1:4].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


def test_a_constant_image_is_not_changed():
    assert np.array_equal(smooth(np.full((3, 1), 7, np.float32)), np.full((3, 1), 7, np.float32))
