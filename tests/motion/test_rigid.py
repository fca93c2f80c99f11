"""`RigidMotionEstimator` measures shifts, and reports frames on which it cannot."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.motion.rigid import RigidMotionEstimator, _fast_length
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings

SIDE = 96


def scene(seed=0, side=SIDE, room=40):
    """Bright blobs on a dark background, `room` pixels wider than the field of view on each side."""
    rng = np.random.default_rng(seed)
    spots = np.zeros((side + 2 * room,) * 2)
    for y, x in rng.integers(0, side + 2 * room, (120, 2)):
        spots[y, x] += rng.uniform(20, 80)
    return scipy.ndimage.gaussian_filter(spots, 2.5)


def at(tissue, dy=0.0, dx=0.0, room=40):
    """The field of view when the tissue has moved by (dy, dx)."""
    moved = scipy.ndimage.shift(tissue, (dy, dx), order=3).clip(min=0)
    return moved[room:-room, room:-room].astype(np.float32)


def noisy(image, seed, photons=0.4):
    """The image with photon noise, in standard deviations of that noise."""
    rng = np.random.default_rng(seed)
    return ((rng.poisson(image / image.mean() * photons) - photons) / np.sqrt(photons)).astype(np.float32)


@given(st.floats(-5, 5), st.floats(-5, 5))
@settings(max_examples=25, deadline=None)
def test_a_shift_without_noise_is_measured_to_a_fifth_of_a_pixel(dy, dx):
    tissue = scene()
    rigid_estimator = RigidMotionEstimator((SIDE, SIDE))
    assert rigid_estimator.push(at(tissue) / 10).status == "restarted"
    motion = rigid_estimator.push(at(tissue, dy, dx) / 10)
    if motion.status == "tracked":  # a large shift shows much new tissue, so the frame may be foreign
        assert motion.dy == pytest.approx(dy, abs=0.2)
        assert motion.dx == pytest.approx(dx, abs=0.2)
    else:
        assert max(abs(dy), abs(dx)) > 3


def test_shifts_at_0_4_photons_per_pixel_are_measured_to_a_fifth_of_a_pixel():
    tissue, rng = scene(1), np.random.default_rng(5)
    rigid_estimator = RigidMotionEstimator((SIDE, SIDE))
    true = rng.normal(0, 2, (60, 2))
    found = [rigid_estimator.push(noisy(at(tissue, *shift), n)) for n, shift in enumerate(true)]
    assert [motion.status for motion in found[1:]] == ["tracked"] * 59
    error = np.array([(motion.dy, motion.dx) for motion in found])[10:] - true[10:]
    error -= error.mean(axis=0)  # the reference is the first frame, which moved too
    assert np.sqrt(np.mean(error**2)) < 0.2


@pytest.mark.parametrize("strength", [0.1, 0.3, 1.0])
def test_stripes_that_drift_over_still_tissue_do_not_move_it(strength):
    """Interference of a power supply, up to several times as bright as most of the tissue."""
    y, x = np.mgrid[:SIDE, :SIDE]
    tissue = at(scene(seed=2))
    estimator, shifts = RigidMotionEstimator((SIDE, SIDE)), []
    rng = np.random.default_rng(4)
    for t in range(60):
        stripes = strength * (1 + np.sin(2 * np.pi * (0.06 * x + 0.02 * y) + 0.9 * t))
        counts = rng.poisson(tissue + stripes).astype(np.float32)
        motion = estimator.push((counts - counts.mean()) / np.float32(np.sqrt(tissue.mean() + strength)))
        shifts.append((motion.dy, motion.dx))
    assert np.std(shifts[20:], axis=0).max() < 0.35


def test_the_reference_follows_slow_drift():
    tissue = scene(2)
    rigid_estimator = RigidMotionEstimator((SIDE, SIDE))
    drift = np.linspace(0, 20, 200)
    found = [rigid_estimator.push(noisy(at(tissue, d, -d / 2), n)) for n, d in enumerate(drift)]
    assert found[-1].dy == pytest.approx(20, abs=1.0)
    assert found[-1].dx == pytest.approx(-10, abs=1.0)


def test_rebasing_moves_the_origin():
    tissue = scene(2)
    rigid_estimator = RigidMotionEstimator((SIDE, SIDE))
    for n in range(10):
        rigid_estimator.push(noisy(at(tissue, 3, -2), n))
    rigid_estimator.rebase(-2, 1)
    motion = rigid_estimator.push(noisy(at(tissue, 3, -2), 99))
    assert (motion.dy, motion.dx) == pytest.approx((2, -1), abs=0.3)


DARK = np.random.default_rng(0).normal(-0.6, 0.2, (SIDE, SIDE)).astype(np.float32)
FOREIGN = {
    "dark": DARK,
    "saturated": np.full((SIDE, SIDE), 30, np.float32),
    "empty": np.zeros((SIDE, SIDE), np.float32),
    "nan": np.full((SIDE, SIDE), np.nan, np.float32),
    "one infinite pixel": np.where(np.arange(SIDE * SIDE).reshape(SIDE, SIDE) == 5, np.inf, 0).astype(np.float32),
    "flash": noisy(at(scene(1)), 7) + 5,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_frame_is_reported_and_changes_no_later_shift(name):
    tissue = scene(1)
    disturbed, undisturbed = RigidMotionEstimator((SIDE, SIDE)), RigidMotionEstimator((SIDE, SIDE))
    for n in range(30):
        shift = (n % 3, -(n % 2))
        frame = noisy(at(tissue, *shift), n)
        if n in (12, 13, 20):
            motion = disturbed.push(FOREIGN[name])
            assert (motion.status, motion.measured) == ("foreign", False)
        assert disturbed.push(frame) == undisturbed.push(frame)


def test_the_shift_is_held_over_a_foreign_frame():
    rigid_estimator = RigidMotionEstimator((SIDE, SIDE))
    for n in range(10):
        last = rigid_estimator.push(noisy(at(scene(1), 3, 1), n))
    motion = rigid_estimator.push(FOREIGN["dark"])
    assert (motion.dy, motion.dx) == (last.dy, last.dx)


def test_the_reference_restarts_after_ten_frames_of_another_place():
    rigid_estimator = RigidMotionEstimator((SIDE, SIDE))
    for n in range(20):
        rigid_estimator.push(noisy(at(scene(1)), n))
    statuses = [rigid_estimator.push(noisy(at(scene(3)), 100 + n)).status for n in range(14)]
    assert statuses == ["foreign"] * 9 + ["restarted"] + ["tracked"] * 4


def test_tissue_is_tracked_again_after_a_long_dark_period():
    rigid_estimator = RigidMotionEstimator((SIDE, SIDE))
    for n in range(20):
        rigid_estimator.push(noisy(at(scene(1)), n))
    for n in range(40):
        rigid_estimator.push(DARK + np.random.default_rng(n).normal(0, 0.2, DARK.shape).astype(np.float32))
    statuses = [rigid_estimator.push(noisy(at(scene(1)), 200 + n)).status for n in range(20)]
    assert set(statuses[10:]) == {"tracked"}


def test_pure_noise_is_held_at_shift_0():
    rigid_estimator = RigidMotionEstimator((SIDE, SIDE))
    rng = np.random.default_rng(0)
    motions = [rigid_estimator.push(rng.standard_normal((SIDE, SIDE), np.float32)) for _ in range(60)]
    assert {m.status for m in motions[1:]} == {"held"}
    assert all((m.dy, m.dx) == (0, 0) for m in motions)


@pytest.mark.parametrize("size", [(1, 1), (31, 400), (5, 3)])
def test_small_images_are_held_at_shift_0(size):
    rigid_estimator = RigidMotionEstimator(size)
    for n in range(3):
        motion = rigid_estimator.push(np.full(size, n, np.float32))
        assert (motion.dy, motion.dx, motion.status) == (0, 0, "held")


@pytest.mark.parametrize("size", [(33, 47), (64, 700), (32, 32)])
def test_images_of_any_other_size_are_accepted(size):
    rigid_estimator = RigidMotionEstimator(size)
    rng = np.random.default_rng(0)
    for _ in range(3):
        assert np.isfinite(rigid_estimator.push(rng.standard_normal(size, np.float32)).dy)


def test_the_motion_of_the_simulated_microscope_is_measured():
    source = SyntheticSource(SceneSettings(seed=4, motion_px=1.0), ScanSettings(size=(128, 128), seed=4), 50)
    frames = np.stack([source.render(n)[0][0] for n in range(50)]).astype(np.float32)
    image = (frames[:, 0::2] + frames[:, 1::2]) / 2
    image = (image - image.mean()) / np.std(frames[:, 0::2] - frames[:, 1::2]) * np.sqrt(2)
    rigid_estimator = RigidMotionEstimator((128, 128))
    found = np.array([(m.dy, m.dx) for m in map(rigid_estimator.push, image)])
    lines = np.arange(256) / 256
    true = -np.array([source.tissue.motion.displacement(n, lines).mean(axis=1) for n in range(50)])
    error = (found - true)[8:]
    assert np.sqrt(np.mean((error - error.mean(axis=0)) ** 2)) < 0.35 < 0.5 * np.sqrt(np.mean(true**2))


@given(st.integers(32, 600))
def test_fft_lengths_are_even_and_fast(side):
    length = _fast_length(side)
    assert length <= side
    assert length % 2 == 0
    assert length > 0.8 * side
    for factor in (2, 3, 5):
        while length % factor == 0:
            length //= factor
    assert length == 1
