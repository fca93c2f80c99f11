"""Heartbeat: of the requested size, without folds, periodic, fast in contraction and slow in relaxation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.simulator.heartbeat import Heartbeat

ROWS = np.arange(64)
PHASE = ROWS / 64


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), index=st.integers(0, 10**5), peak=st.floats(0.5, 3.0))
def test_displacements_stay_below_the_peak_and_do_not_fold(seed: int, index: int, peak: float) -> None:
    moved = Heartbeat(peak, 30.0, (64, 72), seed).displacement(index, PHASE, ROWS)
    assert moved.shape == (2, 64, 72)
    assert np.abs(moved).max() <= peak
    assert np.abs(np.diff(moved[1], axis=1)).max() < 1  # neighbouring pixels keep their order
    assert np.abs(np.diff(moved[0], axis=0)).max() < 1


def test_the_peak_is_reached() -> None:
    beat = Heartbeat(3.0, 240.0, (64, 64), 5)
    reached = max(np.abs(beat.displacement(index, PHASE, ROWS)).max() for index in range(240))
    assert reached == pytest.approx(3.0, rel=0.06)


def test_the_displacement_differs_from_place_to_place() -> None:
    moved = Heartbeat(3.0, 30.0, (64, 64), 2).displacement(3, np.zeros(64), ROWS)
    assert (moved.std(axis=(1, 2)) > 3 * np.abs(moved.mean(axis=(1, 2)))).any()


def test_the_displacement_repeats_after_each_beat() -> None:
    beat = Heartbeat(3.0, 1000.0, (64, 64), 7)
    period = round(1000.0 / beat.beats_hz)
    here, there, half = (beat.displacement(i, np.zeros(64), ROWS) for i in (50, 50 + period, 50 + period // 2))
    assert np.abs(here - there).max() < 0.2
    assert np.abs(here - half).max() > 0.6


def test_contraction_is_faster_than_relaxation() -> None:
    beat = Heartbeat(3.0, 500.0, (64, 64), 1)
    levels = beat._levels(np.arange(1000) / 500)[0]
    rising = np.diff(levels) > 0
    assert rising.mean() == pytest.approx(0.35, abs=0.05)


def test_heart_rates_are_2_to_8_per_second() -> None:
    rates = [Heartbeat(1.0, 30.0, (16, 16), seed).beats_hz for seed in range(60)]
    assert 2 <= min(rates) < 2.6
    assert 6 < max(rates) <= 8


def test_frames_do_not_depend_on_earlier_calls() -> None:
    one = Heartbeat(2.0, 30.0, (64, 64), 3)
    one.displacement(1, PHASE, ROWS)
    again = Heartbeat(2.0, 30.0, (64, 64), 3).displacement(9, PHASE, ROWS)
    np.testing.assert_array_equal(one.displacement(9, PHASE, ROWS), again)
