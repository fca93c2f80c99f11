from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.frame import Frame
from deepbid_rt.recording.frame_clock import FrameClock

PIXELS = np.zeros((1, 2, 2), np.int16)


def times(frames: list[tuple[int, int, float | None]]) -> tuple[list[float], str | None]:
    """Times of frames, each given as number, time of sending in ns, and time of acquisition."""
    clock = FrameClock(10.0)
    return [clock.time_s(Frame(n, PIXELS, t_ns=t_ns, acquired_s=s)) for n, t_ns, s in frames], clock.clock


def test_the_acquisition_says_it() -> None:
    assert times([(4, 10**18, 7.25), (5, 10**18 + 10**8, 7.36)]) == ([7.25, 7.36], "acquisition")


def test_a_time_of_zero_is_a_time() -> None:
    assert times([(0, 0, 0.0), (1, 0, 0.2)]) == ([0.0, 0.2], "acquisition")


def test_the_sender_says_it() -> None:
    assert times([(4, 10**18, None), (5, 10**18 + 10**8, None)]) == ([0.0, 0.1], "sender")


def test_only_the_number_says_it() -> None:
    assert times([(4, 0, None), (5, 0, None)]) == ([0.4, 0.5], "frame number")


def test_two_clocks_are_not_mixed() -> None:
    with_one_lost = [(0, 10**9, 100.0), (1, 2 * 10**9, None), (2, 3 * 10**9, 102.5), (3, 4 * 10**9, None)]
    assert times(with_one_lost)[0] == pytest.approx([100.0, 101.0, 102.5, 103.5])
    assert times([(0, 10**9, None), (1, 2 * 10**9, 500.0)]) == ([0.0, 1.0], "sender")


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e13, -1e300])
def test_a_time_that_no_page_can_state_is_none(odd: float) -> None:
    assert times([(0, 10**9, odd), (1, 2 * 10**9, odd)]) == ([0.0, 1.0], "sender")
