"""The newest pair of each plane, in whatever order the raw and the denoised frames arrive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.frame import FrameFlag, Gap, StreamEnd
from deepbid_rt.web.latest_frames import MAX_PLANES, LatestFrames
from tests.pages import DENOISED, RAW, denoised, latest_frames_of, raw


def test_a_pair_is_one_frame_raw_and_denoised():
    frames = latest_frames_of(7)
    pair = frames.pair(0)
    assert pair is not None
    assert (pair.raw.index, pair.denoised.index, pair.info) == (6, 6, RAW)
    assert frames.pair(1) is None
    assert frames.info is DENOISED


@given(st.integers(0, 12), st.data())
@settings(deadline=None)
def test_pairs_belong_together_and_never_go_back(delay, data):
    """Two threads push frames, each in order; one may be ahead of the other, and some raw frames are lost."""
    frames = latest_frames_of()
    lost = data.draw(st.sets(st.integers(0, 29)))
    ahead = data.draw(st.integers(-3, 3))
    shown = []
    for n in range(-5, 45):
        if 0 <= n + ahead < 30 and n + ahead not in lost:
            frames.raw.put(raw(n + ahead))
        if 0 <= n - delay < 30:
            frames.denoised.put(denoised(n - delay))
        if (pair := frames.pair(0)) is not None:
            assert pair.raw.index == pair.denoised.index
            shown.append((pair.serial, pair.raw.index))
    assert shown == sorted(shown)
    kept = [n for n in range(30) if n not in lost]
    assert (shown[-1][1] if shown else None) == (kept[-1] if kept else None)


def test_few_frames_wait_if_their_counterparts_never_arrive():
    frames = latest_frames_of()
    for n in range(1000):
        frames.raw.put(raw(n))
        frames.denoised.put(denoised(5000 + n))
    assert sum(frames.waiting) <= 2 * 64


def test_fewer_frames_wait_if_they_are_large():
    frames, large = latest_frames_of(), np.broadcast_to(np.int16(0), (1, 8192, 8192))
    for n in range(20):
        frames.raw.put(replace(raw(n), pixels=large))
    assert frames.waiting == (2, 0)


def test_a_new_series_shows_no_frame_of_the_last():
    frames = latest_frames_of(3)
    frames.denoised.end(StreamEnd("done"))
    frames.raw.skip(Gap(1, 1, "ring"))
    assert frames.pair(0) is not None  # the last frame stays on the page
    frames.raw.start(replace(RAW, series="next"))
    assert frames.pair(0) is None
    frames.raw.put(raw(0))
    frames.denoised.put(denoised(0))  # still of the old series
    assert frames.pair(0) is None
    frames.denoised.start(replace(DENOISED, parent="next"))
    frames.denoised.put(denoised(0))
    frames.raw.put(raw(0))
    assert frames.pair(0) is not None


def test_every_plane_has_its_newest_pair_up_to_a_limit():
    planes = MAX_PLANES + 4
    frames = LatestFrames()
    frames.raw.start(replace(RAW, planes=planes))
    frames.denoised.start(replace(DENOISED, planes=planes))
    for n in range(2 * planes):
        frames.raw.put(replace(raw(n), plane=n % planes))
        frames.denoised.put(replace(denoised(n), plane=n % planes))
    assert [frames.pair(p).raw.index for p in range(MAX_PLANES)] == list(range(planes, planes + MAX_PLANES))
    assert frames.pair(MAX_PLANES) is None


def test_points_have_motion_and_the_latency_from_sending():
    frames = latest_frames_of()
    frames.denoised.put(denoised(0, t_ns=10**18 - 25_000_000))
    [point] = frames.points(0)
    assert (point.t_s, point.latency_ms) == (1e9, 25.0)
    assert point.motion.dy == 1.5
    frames = latest_frames_of()
    frames.denoised.put(denoised(0))
    assert frames.points(0)[0].latency_ms is None


def test_a_latency_is_unknown_while_the_clocks_differ():
    """The sender's clock is three hours behind, then three hours ahead, then right."""
    now_ns, hours = 10**18, 3 * 3600 * 10**9
    for offset_ns, known in ((-hours, False), (hours, False), (0, True)):
        frames = latest_frames_of(clock_ns=now_ns)
        for n in range(20):
            stamps = {"t_ns": now_ns + offset_ns - 5_000_000 + n, "arrived_ns": now_ns - 4_000_000}
            frames.raw.put(raw(n, **stamps))
            frames.denoised.put(denoised(n, **stamps))
        assert (frames.points(0)[-1].latency_ms is not None) == known


def test_a_pair_ages_from_the_arrival_of_its_raw_frame():
    clock = {"ns": 10**18, "s": 50.0}
    frames = LatestFrames(clock_ns=lambda: clock["ns"], clock=lambda: clock["s"])
    frames.raw.start(RAW)
    frames.denoised.start(DENOISED)
    arrived = {"arrived_ns": clock["ns"] - 300_000_000}
    frames.raw.put(raw(0, **arrived))
    frames.denoised.put(denoised(0, **arrived))
    pair = frames.pair(0)
    assert frames.age_ms(pair) == pytest.approx(300)
    clock["s"] += 2
    clock["ns"] -= 10**15  # somebody sets the clock
    assert frames.age_ms(pair) == pytest.approx(2300)
    frames.raw.put(raw(1))
    frames.denoised.put(denoised(1))
    assert frames.age_ms(frames.pair(0)) == 0  # a frame from a file


def test_a_pair_tells_whether_its_frame_was_denoised():
    frames = latest_frames_of()
    for n, flag in enumerate((FrameFlag.NONE, FrameFlag.NOT_DENOISED | FrameFlag.SATURATED, FrameFlag.SATURATED)):
        frames.raw.put(raw(n))
        frames.denoised.put(denoised(n, flags=flag))
        assert frames.pair(0).not_denoised == (n == 1)
