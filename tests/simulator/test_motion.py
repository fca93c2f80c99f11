"""Tissue motion: of the requested strength, reproducible by its seed, continuous in time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.simulator.motion import TissueMotion

PHASE = np.arange(16) / 16


def track(motion: TissueMotion, frames: int) -> np.ndarray:
    return np.concatenate([motion.displacement(index, PHASE) for index in range(frames)], axis=1)


@pytest.mark.parametrize("rms_px", [0.5, 3.0])
def test_the_rms_is_as_requested(rms_px: float) -> None:
    squares = [np.square(track(TissueMotion(rms_px, 30.0, seed), 300)).mean() for seed in range(12)]
    assert np.sqrt(np.mean(squares)) == pytest.approx(rms_px, rel=0.12)


def test_still_tissue_does_not_move() -> None:
    assert not track(TissueMotion(0.0, 30.0, 1), 5).any()


def test_displacements_stay_below_the_limit() -> None:
    motion = TissueMotion(2.0, 30.0, 3)
    assert np.abs(track(motion, 2000)).max() <= motion.limit_px


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), index=st.integers(0, 10**6))
def test_frames_are_independent_of_earlier_calls_and_continuous_in_time(seed: int, index: int) -> None:
    motion = TissueMotion(2.0, 30.0, seed)
    end = motion.displacement(index, np.array([0.0, 1.0]))[:, 1]
    start = motion.displacement(index + 1, np.array([0.0]))[:, 0]
    np.testing.assert_allclose(end, start, atol=1e-6)
    again = TissueMotion(2.0, 30.0, seed).displacement(index + 1, np.array([0.0]))[:, 0]
    np.testing.assert_array_equal(start, again)


def test_tissue_moves_within_a_frame_and_jumps_between_frames() -> None:
    motion = TissueMotion(3.0, 30.0, 5)
    within = np.array([np.ptp(motion.displacement(index, PHASE), axis=1).max() for index in range(100)])
    middle = track(motion, 400)[:, ::16]
    assert np.median(within) > 1.0
    assert np.abs(np.diff(middle, axis=1)).max() > 6.0
