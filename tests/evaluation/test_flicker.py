from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.baselines import rolling_mean
from deepbid_rt.evaluation.flicker import JUMP_LIMIT, flicker

RNG = np.random.default_rng(4)
STILL = np.broadcast_to(RNG.uniform(100, 300, (1, 1, 24, 24)), (96, 1, 24, 24))
RAW = STILL + RNG.normal(0, 20, STILL.shape)


def hopping(raw: np.ndarray, hop: int) -> np.ndarray:
    """Imitate a window engine: every ``hop`` frames share one mean, plus a small part of their own noise."""
    blocks = [np.repeat(raw[t : t + hop].mean(0, keepdims=True), hop, axis=0) for t in range(0, len(raw), hop)]
    return np.concatenate(blocks) + 0.02 * (raw - STILL)


def test_flicker_is_0_for_the_truth_and_1_for_the_raw_movie() -> None:
    assert flicker(STILL, RAW, STILL) == {"flicker": 0.0, "flicker_jump": 1.0}
    raw = flicker(RAW, RAW, STILL)
    assert raw["flicker"] == 1.0
    assert raw["flicker_jump"] < 1.1


@pytest.mark.parametrize("truth", [STILL, None])
def test_a_rolling_mean_changes_by_its_newest_and_oldest_frame(truth: np.ndarray | None) -> None:
    found = flicker(rolling_mean(RAW, 8), RAW, truth)
    assert found["flicker"] == pytest.approx(1 / 8, rel=0.05)
    assert found["flicker_jump"] < 1.2


@pytest.mark.parametrize("hop", [8, 16])
def test_jumps_between_windows_are_detected(hop: int) -> None:
    found = flicker(hopping(RAW, hop), RAW, STILL)
    assert found["flicker_jump"] > 5
    assert found["flicker"] < 0.5
    standing = np.repeat(RNG.normal(0, 1, (12, 1, 24, 24)), 8, axis=0)
    assert flicker(standing, RAW)["flicker_jump"] == JUMP_LIMIT


def test_activity_of_some_pixels_is_not_flicker() -> None:
    alive = STILL.copy()
    alive[:, :, :4] += 200 * RNG.random((96, 1, 1, 1))  # a sixth of the pixels
    found = flicker(alive, alive + RAW - STILL, alive)
    assert found == {"flicker": 0.0, "flicker_jump": 1.0}
    assert flicker(alive, alive + RAW - STILL)["flicker"] == 0.0  # also without a truth


def test_a_change_of_the_whole_truth_is_not_flicker() -> None:
    fading = STILL * np.random.default_rng(2).uniform(0.5, 1, (96, 1, 1, 1))
    raw = fading + RAW - STILL
    assert flicker(fading, raw, fading) == {"flicker": 0.0, "flicker_jump": 1.0}
    assert flicker(raw, raw, fading)["flicker"] == 1.0
    assert flicker(fading, raw)["flicker"] > 0.5  # without a truth it cannot be distinguished


def test_flicker_ignores_an_offset_and_scales_with_a_gain() -> None:
    expected = flicker(rolling_mean(RAW, 8), RAW, STILL)["flicker"]
    shifted = rolling_mean(RAW, 8).read(0, 96)
    assert flicker(shifted + 500, RAW, STILL)["flicker"] == pytest.approx(expected)
    assert flicker(3 * shifted, RAW, STILL)["flicker"] == pytest.approx(3 * expected)


def test_refuses_two_frames() -> None:
    with pytest.raises(StreamError, match="a movie of 2 frames"):
        flicker(RAW[:2], RAW[:2])
