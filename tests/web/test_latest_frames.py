"""The newest pair and nothing older; raw and denoised frames that belong together, in whatever order they come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.frame import Gap, StreamEnd
from deepbid_rt.web.latest_frames import MOST_PLANES, LatestFrames
from tests.pages import DENOISED, RAW, board_of, denoised, raw


def test_a_pair_is_one_frame_raw_and_denoised():
    board = board_of(7)
    pair = board.pair(0)
    assert pair is not None
    assert (pair.raw.index, pair.denoised.index, pair.info) == (6, 6, RAW)
    assert board.pair(1) is None
    assert board.info is DENOISED


@given(st.integers(0, 12), st.data())
@settings(deadline=None)
def test_pairs_belong_together_and_never_go_back(delay, data):
    """Two threads hand frames over: each in order, one ahead of the other as it happens; some raw frames are lost."""
    board = board_of()
    lost = data.draw(st.sets(st.integers(0, 29)))
    ahead = data.draw(st.integers(-3, 3))
    shown = []
    for n in range(-5, 45):
        if 0 <= n + ahead < 30 and n + ahead not in lost:
            board.raw.put(raw(n + ahead))
        if 0 <= n - delay < 30:
            board.denoised.put(denoised(n - delay))
        if (pair := board.pair(0)) is not None:
            assert pair.raw.index == pair.denoised.index
            shown.append((pair.serial, pair.raw.index))
    assert shown == sorted(shown)
    kept = [n for n in range(30) if n not in lost]
    assert (shown[-1][1] if shown else None) == (kept[-1] if kept else None)


def test_frames_that_wait_are_few_however_long_nothing_answers():
    board = board_of()
    for n in range(1000):
        board.raw.put(raw(n))
        board.denoised.put(denoised(5000 + n))
    assert len(board._waiting) + len(board._answers) <= 2 * 64


def test_large_frames_wait_in_smaller_numbers():
    board, large = board_of(), np.broadcast_to(np.int16(0), (1, 8192, 8192))
    for n in range(20):
        board.raw.put(replace(raw(n), pixels=large))
    assert len(board._waiting) == 2


def test_a_new_series_shows_nothing_of_the_old():
    board = board_of(3)
    board.denoised.end(StreamEnd("done"))
    board.raw.skip(Gap(1, 1, "ring"))
    assert board.pair(0) is not None  # what was seen last stays on the screen
    board.raw.start(replace(RAW, series="next"))
    assert board.pair(0) is None
    board.raw.put(raw(0))
    board.denoised.put(denoised(0))  # still of the old series
    assert board.pair(0) is None
    board.denoised.start(replace(DENOISED, parent="next"))
    board.denoised.put(denoised(0))
    board.raw.put(raw(0))
    assert board.pair(0) is not None


def test_every_plane_has_its_newest_pair_up_to_a_limit():
    planes = MOST_PLANES + 4
    board = LatestFrames()
    board.raw.start(replace(RAW, planes=planes))
    board.denoised.start(replace(DENOISED, planes=planes))
    for n in range(2 * planes):
        board.raw.put(replace(raw(n), plane=n % planes))
        board.denoised.put(replace(denoised(n), plane=n % planes))
    assert [board.pair(p).raw.index for p in range(MOST_PLANES)] == list(range(planes, planes + MOST_PLANES))
    assert board.pair(MOST_PLANES) is None


def test_points_tell_latency_from_the_send_and_motion():
    board = board_of()
    board.denoised.put(denoised(0, t_ns=10**18 - 25_000_000))
    [point] = board.points(0)
    assert (point.t_s, point.latency_ms) == (1e9, 25.0)
    assert point.motion.dy == 1.5
    board = board_of()
    board.denoised.put(denoised(0))
    assert board.points(0)[0].latency_ms is None
