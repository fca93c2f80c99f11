"""`NonrigidMotionEstimator` on scenes scanned with known shifts of the lines."""

import numpy as np
import pytest
import scipy.ndimage

from deepbid_rt.frame import Motion
from deepbid_rt.motion.nonrigid import LEAST_SIDE, NonrigidMotionEstimator, line_shifts
from tests.motion.test_rigid import at, scene

NO_SHIFT = np.zeros((2, 1))


class LineShiftEstimator:
    """A `NonrigidMotionEstimator` that returns the shift of each line instead of each strip."""

    def __init__(self, size):
        self._lines, self._strips = size[0], NonrigidMotionEstimator(size)
        self.rigid, self.reset = self._strips.rigid, self._strips.reset

    def push(self, image, averages, start):
        dy, dx = self._strips.push(image, averages, start)
        return line_shifts(Motion(0.0, 0.0, 9.0, "tracked", tuple(dy), tuple(dx)), self._lines)


def scanned_with(tissue, curve, room=40):
    """Scan a scene with the shift curve[:, y] at line y."""
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
def test_line_shifts_are_measured_in_noise(px):
    tissue = scene(1)
    side = len(at(tissue))
    shifts = LineShiftEstimator((side, side))
    averages = noisy(at(tissue), 0, 0.1)
    for n in range(10):
        curve = sway(side, px, phase=n)
        found = shifts.push(noisy(scanned_with(tissue, curve), n + 1), averages, NO_SHIFT)
    assert found.shape == (2, side)
    assert error(found, curve) < 0.15 + 0.1 * px < error(0, curve)


def test_the_search_begins_at_the_given_shift():
    """A shift that is too large to be found from 0 is found from nearby."""
    tissue = scene(2)
    side = len(at(tissue))
    image, averages = noisy(at(tissue, 7, -6), 0), noisy(at(tissue), 1, 0.1)
    true = np.array([[7.0], [-6.0]])
    near = LineShiftEstimator((side, side)).push(image, averages, true + 0.5)
    assert error(near, true) < 0.5
    assert error(LineShiftEstimator((side, side)).push(image, averages, NO_SHIFT), true) > 2


def test_shifts_of_still_tissue_decrease_with_time():
    """The variance of the walk is learned, so noise moves the lines less and less."""
    tissue = scene(1)
    side = len(at(tissue))
    shifts = LineShiftEstimator((side, side))
    averages = noisy(at(tissue), 0, 0.1)
    sizes = [error(shifts.push(noisy(at(tissue), n + 1), averages, NO_SHIFT), 0) for n in range(60)]
    assert np.mean(sizes[-10:]) < 0.8 * np.mean(sizes[:3])
    assert np.mean(sizes[-10:]) < 0.15


def test_motion_is_followed_again_after_still_tissue():
    tissue = scene(1)
    side = len(at(tissue))
    shifts = LineShiftEstimator((side, side))
    averages = noisy(at(tissue), 0, 0.1)
    for n in range(60):
        shifts.push(noisy(at(tissue), n + 1), averages, NO_SHIFT)
    for n in range(10):
        curve = sway(side, 2.0, phase=n)
        found = shifts.push(noisy(scanned_with(tissue, curve), 100 + n), averages, NO_SHIFT)
    assert error(found, curve) < 0.4


def test_a_reset_forgets_the_learned_variance():
    tissue = scene(1)
    side = len(at(tissue))
    image, averages = noisy(scanned_with(tissue, sway(side, 2.0)), 0), noisy(at(tissue), 1, 0.1)
    shifts = LineShiftEstimator((side, side))
    first = shifts.push(image, averages, NO_SHIFT)
    second = shifts.push(image, averages, NO_SHIFT)
    shifts.reset()
    assert not np.array_equal(first, second)
    assert np.array_equal(first, shifts.push(image, averages, NO_SHIFT))


@pytest.mark.parametrize("size", [(LEAST_SIDE - 1, 300), (300, LEAST_SIDE - 1), (1, 1), (2, 900)])
def test_small_images_are_rigid(size):
    image, averages = np.random.default_rng(0).standard_normal((2, *size), np.float32)
    shifts = LineShiftEstimator(size)
    assert shifts.rigid
    assert np.array_equal(shifts.push(image, averages, NO_SHIFT + 0.25), np.full((2, size[0]), 0.25))


@pytest.mark.parametrize("size", [(64, 64), (65, 71), (67, 640), (300, 257), (513, 530)])
def test_images_of_any_size_are_accepted(size):
    rng = np.random.default_rng(0)
    image = rng.standard_normal(size, np.float32)
    found = LineShiftEstimator(size).push(image, rng.standard_normal(size, np.float32), NO_SHIFT)
    assert found.shape == (2, size[0])
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 8


def test_large_images_are_halved_and_shifts_are_in_their_full_pixels():
    tissue = scene(3, room=40, side=320)
    curve = sway(320, 3.0)
    found = LineShiftEstimator((320, 320)).push(
        noisy(scanned_with(tissue, curve), 0), noisy(at(tissue), 1, 0.1), NO_SHIFT
    )
    assert error(found, curve) < 0.6


@pytest.mark.parametrize(
    ("image", "averages"), [(0, 0), (3, 3), (0, 5), (1e30, -1e30)], ids=["black", "equal", "apart", "huge"]
)
def test_images_without_content_have_shifts_of_0(image, averages):
    shape = 80, 80
    found = LineShiftEstimator(shape).push(
        np.full(shape, image, np.float32), np.full(shape, averages, np.float32), NO_SHIFT
    )
    assert np.array_equal(found, np.zeros((2, 80)))


def test_black_lines_follow_their_neighbours():
    tissue = scene(1)
    side = len(at(tissue))
    image, averages = scanned_with(tissue, sway(side, 2.0, 0.5)), at(tissue).copy()
    image[side // 2 :] = averages[side // 2 :] = 0
    shifts = LineShiftEstimator((side, side))
    for n in range(5):
        found = shifts.push(noisy(image, n, 0.1), averages, NO_SHIFT)
    assert error(found[:, side - 1], found[:, side // 2]) < 1.0


def test_a_frame_that_moved_as_a_whole_has_one_shift():
    assert np.array_equal(line_shifts(Motion(1.5, -2.0, 9.0, "tracked"), 3), [[1.5] * 3, [-2.0] * 3])


def test_line_shifts_are_interpolated_between_the_middles_of_strips():
    motion = Motion(1.0, 0.0, 9.0, "tracked", (0.0, 4.0), (0.0, 0.0))
    assert line_shifts(motion, 8)[0].tolist() == [1, 1, 1.5, 2.5, 3.5, 4.5, 5, 5]
