"""Blood: flows at the requested speed, slower at the walls, and does not repeat within a long movie."""

import numpy as np
import pytest

from deepbid_rt.simulator.anatomy import Vessel
from deepbid_rt.simulator.blood import Blood


def straight(length: int = 400, streamlines: range = range(5, 12)) -> Vessel:
    along, streamline = (a.ravel() for a in np.meshgrid(np.arange(length), np.array(streamlines)))
    return Vessel(streamline, along, along.astype(np.float32), streamline, np.ones(along.size, np.float32))


def shift_of(before: np.ndarray, after: np.ndarray, most: int) -> int:
    """Return the pixels by which a pattern moved."""
    middle = before[most:-most]
    fits = [np.corrcoef(middle, after[most + k : after.size - most + k])[0, 1] for k in range(-most, most + 1)]
    return int(np.argmax(fits)) - most


@pytest.mark.parametrize("fastest", [300.0, 30_000.0])
def test_the_fastest_vessel_has_the_requested_speed_and_others_at_least_a_fiftieth(fastest: float) -> None:
    for seed in range(5):
        blood = Blood([straight()] * 6, np.random.default_rng(seed), fastest)
        speeds = np.abs(blood.speed_px_s)
        assert speeds.max() == pytest.approx(fastest)
        assert speeds.min() >= fastest / 50 * 0.999


def test_the_widest_vessel_is_the_fastest() -> None:
    vessels = [straight(streamlines=range(8 - half, 9 + half)) for half in (2, 5, 1, 4)]
    for seed in range(5):
        speeds = np.abs(Blood(vessels, np.random.default_rng(seed), 1000.0).speed_px_s)
        assert speeds.argsort().tolist() == [2, 0, 3, 1]


def test_the_pattern_moves_at_the_requested_speed_in_the_middle_and_slower_at_the_wall() -> None:
    vessel = straight()
    blood = Blood([vessel], np.random.default_rng(1), 1000.0, pulse_hz=1e9)
    before, after = (blood.brightness(0, np.full(vessel.rows.size, t_s)) for t_s in (2.0, 2.05))
    moved = {
        streamline: shift_of(before[vessel.streamline == streamline], after[vessel.streamline == streamline], 80)
        for streamline in (5, 8, 11)
    }
    assert abs(moved[8]) == pytest.approx(50, abs=1)
    assert abs(moved[5]) < 0.7 * abs(moved[8])
    assert abs(moved[11]) < 0.7 * abs(moved[8])


def test_fast_blood_does_not_repeat_after_one_pattern_length() -> None:
    vessel = straight()
    blood = Blood([vessel], np.random.default_rng(1), 30_000.0, pulse_hz=1e9)
    first = blood.brightness(0, np.zeros(vessel.rows.size))
    round_s = 2**17 / 30_000
    again = blood.brightness(0, np.full(vessel.rows.size, round_s))
    middle = vessel.streamline == 8
    assert np.corrcoef(first[middle], again[middle])[0, 1] < 0.5


def test_the_mean_brightness_of_slow_blood_is_as_stated() -> None:
    vessel = straight()
    blood = Blood([vessel], np.random.default_rng(1))
    light = np.stack([blood.brightness(0, np.full(vessel.rows.size, t_s)) for t_s in np.linspace(0, 60, 200)])
    assert 0.19 < light.min() < 0.3
    assert 0.9 < light.max() <= 1.0
    assert light.mean() == pytest.approx(blood.mean_brightness(0), abs=0.03)
