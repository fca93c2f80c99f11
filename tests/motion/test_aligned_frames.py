"""Weighted averages of several frames, compared with explicit sums."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.motion.aligned_frames import AlignedFrames
from deepbid_rt.motion.temporal_averages import TemporalAverages
from tests.motion.test_temporal_averages import GAINS, SIZE, image, recall, shifts_at, whole_shift


@given(st.lists(st.tuples(whole_shift, whole_shift), min_size=1, max_size=6), st.tuples(whole_shift, whole_shift))
@settings(max_examples=40, deadline=None)
def test_frames_are_averaged_as_if_they_had_been_pushed_one_after_the_other(shifts, frame_shift):
    """The earlier content of the averages is lost, and each place has the frames that showed it."""
    averages, aligned = TemporalAverages(GAINS, SIZE), AlignedFrames(len(shifts), SIZE)
    singles = [TemporalAverages((0.5,), SIZE) for _ in shifts]
    averages.update(image(99), shifts_at(0, 0))
    for n, (single, shift) in enumerate(zip(singles, shifts, strict=True)):
        single.update(image(n), shifts_at(*shift))
        aligned.put(n, image(n), shifts_at(*shift))
    ages = np.arange(len(shifts))[::-1]
    gains = np.array(GAINS)[:, None]
    aligned.average_into(averages, gains * (1 - gains) ** ages)
    got = recall(averages, shifts_at(*frame_shift))
    recalled = [recall(single, shifts_at(*frame_shift)) for single in singles]
    frames = [(picture, weight > 0) for picture, weight in recalled]
    for mean, gain in zip(got, GAINS, strict=False):
        weights = [gain * (1 - gain) ** age * shown for age, (_, shown) in zip(ages, frames, strict=True)]
        total = np.sum(weights, axis=0)
        expected = sum(w * picture for w, (picture, _) in zip(weights, frames, strict=True)) / np.where(total, total, 1)
        assert np.allclose(mean, expected, atol=1e-5)
    assert np.allclose(got[-1], total, atol=1e-6)
