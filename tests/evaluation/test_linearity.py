from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.evaluation.linearity import linearity

RAMP = np.linspace(100, 1100, 40 * 20 * 20).reshape(40, 1, 20, 20)


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (0.8, 30), (1.3, -200), (0, 7)])
def test_gain_and_offset_are_recovered(gain: float, offset: float) -> None:
    noise = np.random.default_rng(1).normal(0, 5, RAMP.shape)
    found = linearity(gain * RAMP + offset + noise, RAMP)
    assert found["slope"] == pytest.approx(gain, abs=0.005)
    assert found["intercept"] == pytest.approx(offset, abs=3)
    assert found["deviation"] < 0.005


def test_compression_of_bright_pixels_is_detected() -> None:
    found = linearity(np.minimum(RAMP, 600), RAMP)
    assert found["slope"] < 0.75
    assert found["deviation"] > 0.1


def test_rare_bright_pixels_weigh_as_much_as_the_background() -> None:
    truth = np.full((1, 1, 100, 100), 100.0)
    truth[0, 0, :4, :10], truth[0, 0, 4:8, :10] = 1000, 500
    assert linearity(np.where(truth > 900, 500, truth), truth)["slope"] == pytest.approx(0.44, abs=0.05)


def test_a_truth_with_one_bin_gives_zeros() -> None:
    assert linearity(RAMP, np.ones(RAMP.shape)) == {"slope": 0.0, "intercept": 0.0, "deviation": 0.0}
    two = np.ones((1, 1, 10, 10))
    two[0, 0, 0, 0] = 5  # one pixel is too few for a bin
    assert linearity(two, two)["slope"] == 0.0
