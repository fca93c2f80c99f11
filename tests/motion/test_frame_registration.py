"""Registration is exact at whole shifts, accurate between pixels, and fills pixels that a frame does not show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.frame import Motion
from deepbid_rt.motion.frame_registration import Registration
from deepbid_rt.motion.nonrigid import line_shifts
from tests.motion.test_nonrigid import scanned_with
from tests.motion.test_rigid import at, scene

SIZE = (12, 15)
whole = st.integers(-20, 20)


def moved(dy=0.0, dx=0.0, status="tracked"):
    return Motion(float(dy), float(dx), 9.0, status)


def image(seed=0):
    return np.random.default_rng(seed).standard_normal((2, 1, *SIZE)).astype(np.float32)


@given(whole, whole)
@settings(deadline=None)
def test_whole_shifts_are_exact_and_pixels_not_shown_keep_their_last_value(dy, dx):
    registration = Registration()
    first, second = image(0), image(1)
    assert np.array_equal(registration.apply(first, moved()), first)
    registered = registration.apply(second, moved(dy, dx))
    rows, columns = SIZE
    for y in range(rows):
        for x in range(columns):
            shown = 0 <= y + dy < rows and 0 <= x + dx < columns
            expected = second[..., y + dy, x + dx] if shown else first[..., y, x]
            assert np.array_equal(registered[..., y, x], expected)


def test_a_pixel_that_was_never_shown_gets_the_nearest_value():
    frame = image()
    registered = Registration().apply(frame, moved(-2, 3))
    assert np.array_equal(registered[..., :2, : SIZE[1] - 3], np.repeat(frame[..., :1, 3:], 2, axis=-2))
    assert np.array_equal(registered[..., 2:, -3:], np.repeat(frame[..., :-2, -1:], 3, axis=-1))


def test_later_frames_take_no_pixels_from_a_foreign_frame():
    registration, first, flash = Registration(), image(0), image(1)
    registration.apply(first, moved())
    assert np.array_equal(registration.apply(flash, moved(status="foreign")), flash)
    later = registration.apply(image(2), moved(4, 0))
    assert np.array_equal(later[..., -4:, :], first[..., -4:, :])


@pytest.mark.parametrize("shift", [(0.5, 0.5), (-1.3, 2.6), (3.75, -0.2)])
def test_fractional_shifts_are_registered_accurately(shift):
    tissue = scene(2)
    still, frame = at(tissue), at(tissue, *shift)
    registered = Registration().apply(frame, moved(*shift))
    inner = np.s_[5:-5, 5:-5]
    assert np.abs(registered - still)[inner].max() < 0.03 * np.ptp(still)
    assert np.abs(registered - still)[inner].mean() < 0.1 * np.abs(frame - still)[inner].mean()


def test_neither_the_frame_nor_the_result_is_shared():
    registration, first = Registration(), image()
    kept = first.copy()
    registration.apply(first, moved())[:] = np.nan
    assert np.array_equal(first, kept)
    assert np.array_equal(registration.apply(image(1), moved(0, 30)), kept)


def test_a_frame_with_motion_within_it_is_registered_line_by_line():
    tissue = scene(3)
    still = at(tissue)
    side = len(still)
    motion = Motion(1.0, -0.5, 9.0, "tracked", (3.0, -2.0, 1.0, 2.0), (-2.0, 1.0, 3.0, 0.5))
    frame = scanned_with(tissue, line_shifts(motion, side))
    registered = Registration().apply(frame, motion)
    inner = np.s_[6:-6, 6:-6]
    assert np.abs(registered - still)[inner].mean() < 0.1 * np.abs(frame - still)[inner].mean()


def test_after_a_restart_no_pixels_are_taken_from_earlier_frames():
    registration, first = Registration(), image(0)
    registration.apply(first, moved())
    second = image(1)
    registered = registration.apply(second, moved(3, 0, "restarted"))
    assert np.array_equal(registered[..., -3:, :], np.repeat(second[..., -1:, :], 3, axis=-2))
