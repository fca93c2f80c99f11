from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.frame import Frame
from deepbid_rt.live.frame_pairing import FramePair, FramePairing

MAX_DENOISED = 8


def a_frame(index: int, value: int = 0, **more: Any) -> Frame:
    return Frame(index, np.full((1, 4, 6), value, np.int16), **{"t_ns": 1000 + index, **more})


def numbers(pairs: list[FramePair]) -> list[tuple[int, bool, bool]]:
    """Frame number of each pair, whether it has a raw frame, and whether it has a denoised frame."""
    return [((p.denoised or p.raw).index, p.raw is not None, p.denoised is not None) for p in pairs]


def test_a_raw_frame_waits_for_its_denoised_frame() -> None:
    pairing = FramePairing()
    raws = [a_frame(index, index) for index in range(4)]
    for raw in raws:
        assert pairing.push_raw(raw) == []
    denoised = a_frame(2, 99)
    (pair,) = pairing.push_denoised(denoised)
    assert pair.raw is raws[2]
    assert pair.denoised is denoised
    assert pairing.waiting == (1, 0)


def test_a_denoised_frame_waits_for_its_raw_frame() -> None:
    pairing = FramePairing()
    assert pairing.push_denoised(a_frame(0)) == []
    assert pairing.waiting == (0, 1)
    assert numbers(pairing.push_raw(a_frame(0))) == [(0, True, True)]
    assert pairing.waiting == (0, 0)


def test_a_lost_raw_frame_is_neither_waited_for_nor_replaced() -> None:
    pairing = FramePairing()
    pairing.push_raw(a_frame(0))
    pairing.push_raw(a_frame(2))
    assert numbers(pairing.push_denoised(a_frame(1))) == [(1, False, True)]


def test_frames_of_the_same_number_but_different_times_are_not_joined() -> None:
    pairing = FramePairing()
    pairing.push_raw(a_frame(5, t_ns=7))
    assert numbers(pairing.push_denoised(a_frame(5, t_ns=8))) == [(5, False, True)]


def test_a_denoised_frame_without_a_time_is_joined_by_number_alone() -> None:
    pairing = FramePairing()
    pairing.push_raw(a_frame(5, t_ns=7))
    assert numbers(pairing.push_denoised(a_frame(5, t_ns=0))) == [(5, True, True)]


def test_a_single_stream_comes_out_at_once() -> None:
    pairing = FramePairing()
    assert numbers(pairing.push_raw(a_frame(3), denoised_live=False)) == [(3, True, False)]
    assert numbers(pairing.push_denoised(a_frame(9), raw_live=False)) == [(9, False, True)]


def test_denoised_frames_wait_no_longer_when_the_raw_stream_ends() -> None:
    pairing = FramePairing()
    for index in range(3):
        pairing.push_denoised(a_frame(index))
    pairs = pairing.push_denoised(a_frame(3), raw_live=False)
    assert numbers(pairs) == [(index, False, True) for index in range(4)]


def test_a_new_series_forgets_the_frames_that_wait() -> None:
    pairing = FramePairing()
    pairing.push_raw(a_frame(90))
    pairing.push_denoised(a_frame(95))
    pairing.reset_raw()
    pairing.reset_denoised()
    assert pairing.waiting == (0, 0)
    assert pairing.push_denoised(a_frame(0)) == []
    assert numbers(pairing.push_raw(a_frame(0))) == [(0, True, True)]


def test_denoised_frames_beyond_the_limit_come_out_without_a_raw_frame() -> None:
    pairing = FramePairing(max_denoised=MAX_DENOISED)
    pairs = [pair for n in range(100) for pair in pairing.push_denoised(a_frame(n))]
    assert numbers(pairs) == [(n, False, True) for n in range(100 - MAX_DENOISED)]
    assert pairing.waiting == (0, MAX_DENOISED)


def test_raw_frames_beyond_the_limit_are_dropped_oldest_first() -> None:
    for pairing in (FramePairing(max_raw=3), FramePairing(max_bytes=3 * a_frame(0).pixels.nbytes)):
        for n in range(10):
            pairing.push_raw(a_frame(n))
        assert pairing.waiting == (3, 0)
        assert numbers(pairing.push_denoised(a_frame(6))) == [(6, False, True)]
        assert numbers(pairing.push_denoised(a_frame(8))) == [(8, True, True)]


def test_two_frames_may_wait_however_large_they_are() -> None:
    pairing = FramePairing(max_bytes=1)
    for n in range(5):
        pairing.push_raw(a_frame(n))
        pairing.push_denoised(a_frame(100 + n))
    assert pairing.waiting == (2, 2)


@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.lists(st.booleans(), min_size=40, max_size=40),
    st.integers(0, 6),
)
def test_every_denoised_frame_comes_out_once_in_order_with_its_own_raw_frame(
    lost: list[bool], raw_lost: list[bool], delay: int
) -> None:
    pairing, pairs = FramePairing(), []
    for step in range(len(lost) + delay):
        if step < len(lost) and not raw_lost[step]:
            pairs += pairing.push_raw(a_frame(step, step))
        if 0 <= step - delay < len(lost) and not lost[step - delay]:
            pairs += pairing.push_denoised(a_frame(step - delay, step - delay))
    pairs += pairing.push_denoised(a_frame(1000), raw_live=False)
    received = [n for n, gone in enumerate(lost) if not gone]
    assert [pair.denoised.index for pair in pairs] == [*received, 1000]
    for pair in pairs[:-1]:
        assert pair.raw is None or pair.raw.index == pair.denoised.index
        assert (pair.raw is None) == raw_lost[pair.denoised.index]
