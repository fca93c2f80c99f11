"""Blood: moves as fast as it was told, slower at the walls, never the same twice within a long movie."""

import numpy as np
import pytest

from deepbid_rt.simulator.anatomy import Vessel
from deepbid_rt.simulator.blood import Blood


def straight(length: int = 400, lanes: range = range(5, 12)) -> Vessel:
    along, lane = (a.ravel() for a in np.meshgrid(np.arange(length), np.array(lanes)))
    return Vessel(lane, along, along.astype(np.float32), lane, np.ones(along.size, np.float32))


def shift_of(before: np.ndarray, after: np.ndarray, most: int) -> int:
    """Pixels by which a pattern moved."""
    middle = before[most:-most]
    fits = [np.corrcoef(middle, after[most + k : after.size - most + k])[0, 1] for k in range(-most, most + 1)]
    return int(np.argmax(fits)) - most


@pytest.mark.parametrize("fastest", [300.0, 30_000.0])
def test_the_fastest_vessel_has_the_speed_asked_for_and_the_others_at_least_a_fiftieth(fastest: float) -> None:
    for seed in range(5):
        blood = Blood([straight()] * 6, np.random.default_rng(seed), fastest)
        speeds = np.abs(blood.speed_px_s)
        assert speeds.max() == pytest.approx(fastest)
        assert speeds.min() >= fastest / 50 * 0.999


def test_the_widest_vessel_is_the_fastest() -> None:
    vessels = [straight(lanes=range(8 - half, 9 + half)) for half in (2, 5, 1, 4)]
    for seed in range(5):
        speeds = np.abs(Blood(vessels, np.random.default_rng(seed), 1000.0).speed_px_s)
        assert speeds.argsort().tolist() == [2, 0, 3, 1]


def test_the_pattern_moves_at_that_speed_in_the_middle_and_slower_at_the_wall() -> None:
    vessel = straight()
    blood = Blood([vessel], np.random.default_rng(1), 1000.0, pulse_hz=1e9)
    before, after = (blood.passing(0, np.full(vessel.rows.size, t_s)) for t_s in (2.0, 2.05))
    moved = {lane: shift_of(before[vessel.lane == lane], after[vessel.lane == lane], 80) for lane in (5, 8, 11)}
    assert abs(moved[8]) == pytest.approx(50, abs=1)
    assert abs(moved[5]) < 0.7 * abs(moved[8])
    assert abs(moved[11]) < 0.7 * abs(moved[8])


def test_a_fast_stream_does_not_come_round_again() -> None:
    vessel = straight()
    blood = Blood([vessel], np.random.default_rng(1), 30_000.0, pulse_hz=1e9)
    first = blood.passing(0, np.zeros(vessel.rows.size))
    round_s = 2**17 / 30_000
    again = blood.passing(0, np.full(vessel.rows.size, round_s))
    middle = vessel.lane == 8
    assert np.corrcoef(first[middle], again[middle])[0, 1] < 0.5


def test_a_slow_stream_is_half_dark_and_its_mean_is_known() -> None:
    vessel = straight()
    blood = Blood([vessel], np.random.default_rng(1))
    light = np.stack([blood.passing(0, np.full(vessel.rows.size, t_s)) for t_s in np.linspace(0, 60, 200)])
    assert 0.19 < light.min() < 0.3
    assert 0.9 < light.max() <= 1.0
    assert light.mean() == pytest.approx(blood.mean_light(0), abs=0.03)
