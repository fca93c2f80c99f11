"""Pacing: no drift over thousands of calls, bounded bursts after a stall, delays that do not add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.simulator.pacer import Pacer


class FakeTime:
    """A clock that advances only by `sleep`."""

    def __init__(self, oversleep_s: float = 0.0) -> None:
        self.now_s = 1000.0
        self.oversleep_s = oversleep_s
        self.sleeps = 0

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.sleeps += 1
        self.now_s += seconds + self.oversleep_s


@pytest.mark.parametrize("rate_hz", [29.97, 30.0, 300.0])
@pytest.mark.parametrize("oversleep_s", [0.0, 0.001])
def test_ten_thousand_calls_do_not_drift(rate_hz: float, oversleep_s: float) -> None:
    time = FakeTime(oversleep_s)
    pacer = Pacer(rate_hz, time.clock, time.sleep)
    for call in range(10_000):
        assert pacer.wait() == pytest.approx(1000.0 + call / rate_hz, abs=oversleep_s + 1e-9)
    assert pacer.slipped_s == 0


def test_the_first_call_returns_at_once() -> None:
    time = FakeTime()
    assert Pacer(1.0, time.clock, time.sleep).wait() == 1000.0
    assert time.sleeps == 0


def test_a_small_delay_is_made_up_for() -> None:
    time = FakeTime()
    pacer = Pacer(10.0, time.clock, time.sleep)
    pacer.wait()
    time.now_s += 0.15
    assert [round(pacer.wait() - 1000.0, 6) for _ in range(3)] == [0.15, 0.2, 0.3]
    assert pacer.slipped_s == 0


@given(stall_s=st.floats(0.3, 1e4), slack_periods=st.integers(0, 5))
def test_after_a_long_stall_the_burst_is_bounded(stall_s: float, slack_periods: int) -> None:
    time = FakeTime()
    pacer = Pacer(10.0, time.clock, time.sleep, slack_s=slack_periods / 10)
    pacer.wait()
    time.now_s += stall_s
    resumed_s = time.now_s
    at_once = sum(pacer.wait() < resumed_s + 0.05 for _ in range(50))
    assert at_once <= 2 + slack_periods
    assert pacer.slipped_s == pytest.approx(max(0.0, stall_s - 0.1 - slack_periods / 10), abs=1e-6)
    assert time.now_s == pytest.approx(1000.0 + 50 / 10 + pacer.slipped_s, abs=1e-6)


@given(st.lists(st.floats(0, 0.05), min_size=1, max_size=50))
def test_delays_do_not_add_up(late_s: list[float]) -> None:
    time = FakeTime()
    pacer = Pacer(10.0, time.clock, time.sleep)
    for call, late in enumerate(late_s):
        assert pacer.wait(late) == pytest.approx(1000.0 + call / 10 + late, abs=1e-6)
