"""Cached temporal averages equal those of the live path, and the cache is limited in size."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from deepbid_rt.errors import FileError
from deepbid_rt.motion.history import MotionCompensatedHistory
from deepbid_rt.train import motion_history_cache as module
from deepbid_rt.train.motion_history_cache import MotionHistoryCache, cache_motion_history, kept_frames
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.recording import Recording, open_recording
from tests.train.test_stream_pairs import COLLINEAR, ORDINARY, movie, recipe_of

GAINS = recipe_of().memories


def recording_of(scan, frames: int = 20) -> Recording:
    return open_recording(ArrayMovie(movie(scan, frames)), scan, recipe_of())


@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_temporal_averages_are_those_of_the_live_path(scan) -> None:
    recording = recording_of(scan)
    [averages] = cache_motion_history([recording], GAINS, 0)
    history = MotionCompensatedHistory(GAINS, 1, (24, 24))
    assert averages.frames.tolist() == list(range(20))
    for t, frame in enumerate(recording.normalizers[0].apply(movie(scan))):
        views = np.stack([frame[0::2], frame[1::2]]) if scan == COLLINEAR else frame[None]
        assert np.allclose(history.push(views[None])[1], averages.arrays[t], atol=2e-3)


@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_later_frames_are_those_of_the_live_path(scan) -> None:
    recording = recording_of(scan)
    [plain], [averages] = cache_motion_history([recording], GAINS, 0), cache_motion_history([recording], GAINS, 2)
    assert averages.arrays.shape[2] == len(GAINS) + 3
    assert np.array_equal(averages.arrays[:, :, :-2], plain.arrays)
    for t, frame in enumerate(recording.normalizers[0].apply(movie(scan))):
        mean = (frame[0::2] + frame[1::2]) / 2 if scan == COLLINEAR else frame
        for k in (1, 2):
            if t >= k:
                assert np.allclose(averages.arrays[t - k, 0, len(GAINS) + k], mean, atol=5e-3)
    assert np.isnan(averages.arrays[-1, 0, -2:]).all()
    assert np.isnan(averages.arrays[-2, 0, -1]).all()


def test_a_stretch_has_the_later_frames_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRETCH_FRAMES", 8)
    recording = recording_of(COLLINEAR, 200)
    whole, some = MotionHistoryCache(recording, GAINS, 1, 200), MotionHistoryCache(recording, GAINS, 1, 24)
    for one in (whole, some):
        one.fill()
    later_frames = np.asarray(some.arrays[:, 0, -1])
    assert np.array_equal(later_frames, whole.arrays[some.frames, 0, -1], equal_nan=True)
    assert np.flatnonzero(np.isnan(later_frames).any(axis=(1, 2))).tolist() == [23]


@pytest.mark.parametrize(("frames", "most"), [(1, 0), (20, 20), (256, 0), (1000, 1000)])
def test_a_recording_that_fits_is_kept_whole(frames: int, most: int) -> None:
    assert kept_frames(frames, most).tolist() == list(range(frames))


@pytest.mark.parametrize(("frames", "most"), [(257, 0), (1000, 999), (50_000, 900)])
def test_of_longer_recordings_stretches_from_beginning_to_end_are_kept(frames: int, most: int) -> None:
    kept = kept_frames(frames, most)
    assert kept[0] == 0
    assert kept[-1] == frames - 1
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= max(most, 2 * module.STRETCH_FRAMES)
    gaps = np.diff(np.concatenate([[-1], np.flatnonzero(np.diff(kept) > 1), [len(kept) - 1]]))
    assert gaps.min() >= module.STRETCH_FRAMES


def test_a_stretch_has_the_averages_of_frames_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRETCH_FRAMES", 8)
    recording = recording_of(COLLINEAR, 200)
    whole, some = MotionHistoryCache(recording, GAINS, 0, 200), MotionHistoryCache(recording, GAINS, 0, 24)
    for one in (whole, some):
        one.fill()
    assert some.frames.tolist() == [*range(8), *range(96, 104), *range(192, 200)]
    assert some.kept_between(0, 100) == (0, 12)
    assert some.kept_between(100, 200) == (12, 24)
    expected = np.asarray(whole.arrays[some.frames], np.float32)
    # Three time constants of the slowest average have all but a twentieth of its weight.
    assert np.abs(np.asarray(some.arrays, np.float32) - expected)[8:].max() < 0.2
    assert np.array_equal(some.arrays[:8], whole.arrays[:8])
    history = MotionCompensatedHistory(GAINS, 1, (24, 24))
    alone = [history.push(recording.read_views(t, t + 1)[0])[1] for t in range(96 - 60, 104)]
    assert np.array_equal(some.arrays[8:16], np.stack(alone[60:]).astype(np.float16))
    assert np.abs(expected[8:, 0, :3]).mean() > 0.1  # noise that has been averaged, not zeros


def test_all_recordings_share_the_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRETCH_FRAMES", 8)
    monkeypatch.setattr(module, "MAX_BYTES", 60 * 4 * 24 * 24 * 2)
    monkeypatch.setattr(MotionHistoryCache, "fill", lambda self: None)
    long, short = cache_motion_history([recording_of(COLLINEAR, 200), recording_of(COLLINEAR, 40)], GAINS, 0)
    assert (len(long.frames), len(short.frames)) == (48, 16)


def test_a_full_disk_is_reported_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, begin: int, length: int) -> None:
        requested.append(length)
        if sum(requested) > 400_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    requested: list[int] = []
    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(module, "FrameContextBuilder", lambda *_: pytest.fail("computed"))
    recipe = recipe_of()
    recordings = [open_recording(ArrayMovie(movie(COLLINEAR)), COLLINEAR, recipe)] * 6
    with pytest.raises(FileError, match=r"no space in .* of 20 frames: No space left.* 0.00 GB .* TMPDIR"):
        cache_motion_history(recordings, recipe.memories, 0)
    assert requested == [20 * 4 * 24 * 24 * 2] * 5
