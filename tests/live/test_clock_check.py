"""Whether the sender's clock can be used for latencies."""

from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.frame import Frame
from deepbid_rt.live.clock_check import FRAMES, LARGEST_TRANSPORT_NS, ClockCheck

NOW = 1_800_000_000_000_000_000
STEP = 33_000_000
MS = 1_000_000
HOUR = 3_600_000 * MS
NO_PIXELS = np.zeros((1, 1, 1), np.int16)


def frame(index: int, transport_ns: int, lag_ns: int = 0) -> Frame:
    """A frame sent every 33 ms by a clock that differs by `transport_ns`, and delayed by `lag_ns` on its way."""
    sent = NOW + index * STEP
    return Frame(index, NO_PIXELS, t_ns=sent, arrived_ns=sent + transport_ns + lag_ns)


def after(*frames: Frame) -> ClockCheck:
    check = ClockCheck()
    for each in frames:
        check.push(each)
    return check


def test_equal_clocks_are_used_from_the_first_frame_on() -> None:
    first = frame(0, 2 * MS)
    check = after(first)
    assert check.usable
    assert check.begins_ns(first) == first.t_ns
    assert check.transport_ns(first) == 2 * MS


@pytest.mark.parametrize(
    ("transport_ns", "words"),
    [
        (3 * HOUR, "the sender's clock is behind this computer's by about 3.0 h"),
        (-3 * HOUR, "the sender's clock is ahead of this computer's by at least 3.0 h"),
        (-300 * MS, "the sender's clock is ahead of this computer's by at least 300 ms"),
        (LARGEST_TRANSPORT_NS + MS, "the sender's clock is behind this computer's by about 2.0 s"),
    ],
)
@pytest.mark.parametrize("count", [1, FRAMES, 5 * FRAMES])
def test_clocks_that_differ_give_no_latency(transport_ns: int, words: str, count: int) -> None:
    check = after(*(frame(n, transport_ns) for n in range(count)))
    assert check.problem == words
    assert check.worth_an_alarm
    last = frame(count, transport_ns)
    assert check.begins_ns(last) == last.arrived_ns
    assert check.transport_ns(last) is None


def test_a_clock_that_is_a_little_ahead_is_not_used_and_raises_no_alarm() -> None:
    check = after(*(frame(n, -2 * MS) for n in range(FRAMES)))
    assert not check.usable
    assert not check.worth_an_alarm


def test_one_late_frame_changes_nothing() -> None:
    check = after(*(frame(n, 2 * MS, lag_ns=3 * HOUR * (n == 20)) for n in range(25)))
    assert check.usable


def test_a_network_that_falls_behind_is_a_real_delay() -> None:
    """Ten seconds behind after ten seconds in which nothing got through faster than real time."""
    late = [frame(n, 2 * MS, lag_ns=n * STEP) for n in range(600)]
    check = after(*late)
    assert check.usable
    assert check.transport_ns(late[-1]) == 2 * MS + 599 * STEP


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_clock_that_is_set_during_the_series_is_noticed_and_forgiven(jump: int) -> None:
    check = after(*(frame(n, 2 * MS) for n in range(40)))
    for n in range(40, 40 + FRAMES):
        check.push(frame(n, 2 * MS + jump) if jump < 0 else Frame(n, NO_PIXELS, NOW + n * STEP - jump, NOW + n * STEP))
    assert not check.usable
    for n in range(100, 100 + FRAMES):
        check.push(frame(n, 2 * MS))
    assert check.usable


def test_time_stamps_that_stand_still_are_not_used() -> None:
    check = after(*(Frame(n, NO_PIXELS, t_ns=NOW, arrived_ns=NOW + MS + n * STEP) for n in range(12)))
    assert check.problem == "the sender's time stamps stand still"
    assert check.worth_an_alarm


@pytest.mark.parametrize(("t_ns", "arrived_ns", "begins"), [(0, NOW, NOW), (NOW, 0, None), (0, 0, None)])
def test_a_frame_without_a_stamp_has_no_transport_time(t_ns: int, arrived_ns: int, begins: int | None) -> None:
    one = Frame(0, NO_PIXELS, t_ns=t_ns, arrived_ns=arrived_ns)
    check = after(one)
    assert check.usable
    assert check.begins_ns(one) == begins
    assert check.transport_ns(one) is None


def test_a_single_frame_from_the_future_has_no_transport_time() -> None:
    check = after(*(frame(n, 2 * MS) for n in range(FRAMES)))
    odd = frame(FRAMES, -HOUR)
    check.push(odd)
    assert check.usable
    assert check.transport_ns(odd) is None
    assert check.begins_ns(odd) == odd.arrived_ns


def test_frames_of_an_earlier_series_are_not_believed_blindly() -> None:
    late, usual = frame(0, 3 * HOUR), frame(1, 2 * MS)
    check = ClockCheck()
    assert check.begins_ns(late) == late.arrived_ns
    assert check.transport_ns(late) is None
    assert check.transport_ns(usual) == 2 * MS
