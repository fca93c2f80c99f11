"""Shifts of lines within a frame, on scenes bent by curves that are known."""

import numpy as np
import pytest
import scipy.ndimage

from deepbid_rt.frame import Motion
from deepbid_rt.motion.nonrigid import LEAST_SIDE, NonrigidMotionEstimator, shifts_of
from tests.motion.test_rigid import at, scene

HERE = np.zeros((2, 1))


class Lines:
    """Shifts of lines as a frame's motion gives them."""

    def __init__(self, size):
        self._lines, self._strips = size[0], NonrigidMotionEstimator(size)
        self.rigid, self.reset = self._strips.rigid, self._strips.reset

    def push(self, image, averages, start):
        dy, dx = self._strips.push(image, averages, start)
        return shifts_of(Motion(0.0, 0.0, 9.0, "tracked", tuple(dy), tuple(dx)), self._lines)


def bent(tissue, curve, room=40):
    """Scan a scene of which line y lies at curve[:, y]."""
    side = len(tissue) - 2 * room
    y, x = np.mgrid[:side, :side] + float(room)
    return scipy.ndimage.map_coordinates(tissue, [y - curve[0][:, None], x - curve[1][:, None]], order=3).astype("f4")


def noisy(image, seed, sigma=0.7):
    return image + sigma * np.random.default_rng(seed).standard_normal(image.shape).astype(np.float32)


def sway(side, px, periods=1.0, phase=0.0):
    y = np.arange(side) / side
    return px * np.stack([np.sin(2 * np.pi * periods * y + phase), np.cos(2 * np.pi * periods * y + phase)])


def error(found, true):
    return float(np.sqrt(np.mean((found - true) ** 2)))


@pytest.mark.parametrize("px", [0.5, 2.0, 4.0])
def test_a_curve_is_found_in_noise(px):
    tissue = scene(1)
    side = len(at(tissue))
    shifts = Lines((side, side))
    averages = noisy(at(tissue), 0, 0.1)
    for n in range(10):
        curve = sway(side, px, phase=n)
        found = shifts.push(noisy(bent(tissue, curve), n + 1), averages, HERE)
    assert found.shape == (2, side)
    assert error(found, curve) < 0.15 + 0.1 * px < error(0, curve)


def test_the_search_begins_where_it_is_told():
    """A shift too far for it to find alone is found from nearby."""
    tissue = scene(2)
    side = len(at(tissue))
    image, averages = noisy(at(tissue, 7, -6), 0), noisy(at(tissue), 1, 0.1)
    true = np.array([[7.0], [-6.0]])
    near = Lines((side, side)).push(image, averages, true + 0.5)
    assert error(near, true) < 0.5
    assert error(Lines((side, side)).push(image, averages, HERE), true) > 2


def test_still_tissue_comes_to_rest():
    """The walk's variance is learned: the noise moves the lines less and less."""
    tissue = scene(1)
    side = len(at(tissue))
    shifts = Lines((side, side))
    averages = noisy(at(tissue), 0, 0.1)
    sizes = [error(shifts.push(noisy(at(tissue), n + 1), averages, HERE), 0) for n in range(60)]
    assert np.mean(sizes[-10:]) < 0.8 * np.mean(sizes[:3])
    assert np.mean(sizes[-10:]) < 0.15


def test_moving_tissue_is_followed_again_after_rest():
    tissue = scene(1)
    side = len(at(tissue))
    shifts = Lines((side, side))
    averages = noisy(at(tissue), 0, 0.1)
    for n in range(60):
        shifts.push(noisy(at(tissue), n + 1), averages, HERE)
    for n in range(10):
        curve = sway(side, 2.0, phase=n)
        found = shifts.push(noisy(bent(tissue, curve), 100 + n), averages, HERE)
    assert error(found, curve) < 0.4


def test_restart_forgets_how_much_the_tissue_moves():
    tissue = scene(1)
    side = len(at(tissue))
    image, averages = noisy(bent(tissue, sway(side, 2.0)), 0), noisy(at(tissue), 1, 0.1)
    shifts = Lines((side, side))
    first = shifts.push(image, averages, HERE)
    second = shifts.push(image, averages, HERE)
    shifts.reset()
    assert not np.array_equal(first, second)
    assert np.array_equal(first, shifts.push(image, averages, HERE))


@pytest.mark.parametrize("size", [(LEAST_SIDE - 1, 300), (300, LEAST_SIDE - 1), (1, 1), (2, 900)])
def test_small_images_are_rigid(size):
    image, averages = np.random.default_rng(0).standard_normal((2, *size), np.float32)
    shifts = Lines(size)
    assert shifts.rigid
    assert np.array_equal(shifts.push(image, averages, HERE + 0.25), np.full((2, size[0]), 0.25))


@pytest.mark.parametrize("size", [(64, 64), (65, 71), (67, 640), (300, 257), (513, 530)])
def test_every_size_is_answered(size):
    rng = np.random.default_rng(0)
    image = rng.standard_normal(size, np.float32)
    found = Lines(size).push(image, rng.standard_normal(size, np.float32), HERE)
    assert found.shape == (2, size[0])
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 8


def test_large_images_are_halved_and_the_answer_is_in_their_pixels():
    tissue = scene(3, room=40, side=320)
    curve = sway(320, 3.0)
    found = Lines((320, 320)).push(noisy(bent(tissue, curve), 0), noisy(at(tissue), 1, 0.1), HERE)
    assert error(found, curve) < 0.6


@pytest.mark.parametrize(
    ("image", "averages"), [(0, 0), (3, 3), (0, 5), (1e30, -1e30)], ids=["black", "equal", "apart", "huge"]
)
def test_images_without_content_have_shifts_of_0(image, averages):
    shape = 80, 80
    found = Lines(shape).push(np.full(shape, image, np.float32), np.full(shape, averages, np.float32), HERE)
    assert np.array_equal(found, np.zeros((2, 80)))


def test_black_lines_follow_their_neighbours():
    tissue = scene(1)
    side = len(at(tissue))
    image, averages = bent(tissue, sway(side, 2.0, 0.5)), at(tissue).copy()
    image[side // 2 :] = averages[side // 2 :] = 0
    shifts = Lines((side, side))
    for n in range(5):
        found = shifts.push(noisy(image, n, 0.1), averages, HERE)
    assert error(found[:, side - 1], found[:, side // 2]) < 1.0


def test_a_frame_that_moved_as_a_whole_has_one_shift():
    assert np.array_equal(shifts_of(Motion(1.5, -2.0, 9.0, "tracked"), 3), [[1.5] * 3, [-2.0] * 3])


def test_strips_stand_for_their_middles_and_lines_between_are_interpolated():
    motion = Motion(1.0, 0.0, 9.0, "tracked", (0.0, 4.0), (0.0, 0.0))
    assert shifts_of(motion, 8)[0].tolist() == [1, 1, 1.5, 2.5, 3.5, 4.5, 5, 5]
