"""What came after a frame, in its place: when it is known, and where it is not."""

from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.denoising.network_inputs import network_inputs
from deepbid_rt.frame import Motion
from deepbid_rt.motion.frame_context import FrameContext, FrameContextBuilder, align_to, noncausal_averages
from deepbid_rt.motion.history import MotionCompensatedHistory
from deepbid_rt.motion.nonrigid import shifts_of
from deepbid_rt.motion.temporal_averages import MARGIN
from tests.motion.test_rigid import DARK, SIDE, at, noisy, scene

GAINS = (0.4, 0.1)
SMALL = (12, 10)  # too small to be moved


def frames_of(count, size=SMALL, channels=1):
    return np.random.default_rng(0).standard_normal((count, channels, 2, *size), np.float32)


def seen(frames, look_ahead, plane_frames=None, size=SMALL):
    context = FrameContextBuilder(GAINS, look_ahead, frames.shape[1], size)
    walked = [context.push(t, f) for t, f in zip(plane_frames or range(len(frames)), frames, strict=True)]
    return walked, context.flush()


def known(dy=0.0, dx=0.0, value=0.0, status="tracked", size=(40, 40), **bend):
    """A frame that lies at (dy, dx) of a ramp; `value` is added to it."""
    ramp = np.add.outer(np.arange(size[0]) - dy, 0.1 * (np.arange(size[1]) - dx)) + value
    motion = Motion(dy, dx, 9.0, status, **bend)
    return FrameContext(0, ramp[None, None].astype(np.float32), motion, np.empty(0), np.empty(0))


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_a_frame_waits_for_those_it_is_seen_with(look_ahead):
    walked, rest = seen(frames_of(6), look_ahead)
    assert [[one.plane_frame for one in known] for known in walked] == [
        [plane_frame - look_ahead] if plane_frame >= look_ahead else [] for plane_frame in range(6)
    ]
    assert [one.plane_frame for one in rest] == list(range(6 - look_ahead, 6))


@pytest.mark.parametrize("look_ahead", [0, 2])
def test_the_past_is_that_of_the_frame_itself(look_ahead):
    frames, history = frames_of(6, channels=2), MotionCompensatedHistory(GAINS, 2, SMALL)
    walked, rest = seen(frames, look_ahead)
    for one, frame in zip([one for known in walked for one in known] + rest, frames, strict=True):
        assert np.array_equal(one.frame, frame)
        assert np.array_equal(one.averages, history.push(frame)[1])
        assert one.later_frames.shape == (2, look_ahead, *SMALL)


def test_frames_ahead_are_the_next_ones_in_order_and_none_after_the_last():
    frames = frames_of(5, channels=2)
    walked, rest = seen(frames, 2)
    means = frames.mean(axis=2)
    for one in [one for known in walked for one in known]:
        assert np.allclose(one.later_frames[:, 0], means[one.plane_frame + 1], atol=1e-6)
        assert np.allclose(one.later_frames[:, 1], means[one.plane_frame + 2], atol=1e-6)
    assert np.allclose(rest[0].later_frames[:, 0], means[4], atol=1e-6)
    assert np.isnan(rest[0].later_frames[:, 1]).all()
    assert np.isnan(rest[1].later_frames).all()


def test_what_lies_beyond_a_gap_did_not_come_next_and_the_gap_sets_free_what_waits():
    plane_frames = [0, 1, 4, 5]
    walked, rest = seen(frames_of(4), 2, plane_frames)
    assert [[one.plane_frame for one in known] for known in walked] == [[], [], plane_frames[:2], []]
    first, second = walked[2]
    assert np.isfinite(first.later_frames[:, 0]).all()
    assert np.isnan(first.later_frames[:, 1]).all()
    assert np.isnan(second.later_frames).all()
    assert rest[0].averages[0, -1].max() == pytest.approx((1 - 0.9**2) * 0.9**2, abs=1e-6)


def test_after_a_reset_nothing_of_before_is_left():
    context = FrameContextBuilder(GAINS, 1, 1, SMALL)
    for plane_frame, frame in enumerate(frames_of(3)):
        context.push(plane_frame, frame)
    context.reset()
    assert context.flush() == []
    assert context.push(9, frames_of(1)[0]) == []
    [one] = context.flush()
    assert not one.averages.any()


@pytest.mark.parametrize(("dy", "dx"), [(0.0, 0.0), (2.0, -3.0), (0.5, 0.25), (-1.75, 4.5)])
@pytest.mark.parametrize("begun", [(0.0, 0.0), (0.5, -0.5), (300.0, -200.0)])
def test_a_frame_ahead_is_moved_to_where_the_tissue_was(dy, dx, begun):
    """On a ramp an error of one pixel is 1."""
    first, later = known(*begun), known(begun[0] + dy, begun[1] + dx, value=10)
    [[later_frames]] = align_to(first, [later], 1)
    expected = first.frame[0, 0] + 10
    inner = np.s_[8:-8, 8:-8]
    assert np.allclose(later_frames[inner], expected[inner], atol=5e-3)


def test_places_that_a_frame_ahead_does_not_show_are_unknown():
    [[later_frames]] = align_to(known(), [known(3.0, 0.0)], 1)
    assert np.isnan(later_frames[-3:]).all()
    assert np.isfinite(later_frames[:-3]).all()
    far = MARGIN + 41.0
    assert np.isnan(align_to(known(), [known(far, 0.0)], 1)).all()


def test_lines_are_moved_each_by_its_own_shift():
    bent = {"strip_dy": (0.0,) * 4, "strip_dx": (-4.0, -4.0, 4.0, 4.0)}
    frame = known()
    moved = np.stack([np.roll(line, -4 if y < 20 else 4) for y, line in enumerate(frame.frame[0, 0])])
    later = replace(known(**bent), frame=moved[None, None])
    [[later_frames]] = align_to(frame, [later], 1)
    for rows in (np.s_[:14], np.s_[26:]):  # between them the shift passes from one to the other
        assert np.allclose(later_frames[rows, 8:-8], frame.frame[0, 0][rows, 8:-8], atol=1e-3)


def test_a_bent_frame_shows_each_place_in_the_line_that_lies_there():
    """Both are bent, and lines far from each other show one place."""
    y, x = np.mgrid[:64, :64].astype(np.float64)
    pictures = []
    for dy, bend in ((-3.0, (0.0, 1.5, 3.0, 4.5)), (4.0, (3.0, 0.0, -3.0, -6.0))):
        empty = known(dy, 0.5 * dy, size=(64, 64), strip_dy=bend, strip_dx=tuple(0.5 * b for b in bend))
        off_y, off_x = shifts_of(empty.motion, 64)
        picture = np.sin((y - off_y[:, None]) / 4) + np.cos((x - off_x[:, None]) / 5)
        pictures.append(replace(empty, frame=picture[None, None].astype(np.float32)))
    first, later = pictures
    [[later_frames]] = align_to(first, [later], 1)
    inner = np.s_[12:-12, 12:-12]
    assert np.abs(later_frames - first.frame[0, 0])[inner].max() < 0.03


@pytest.mark.parametrize(
    ("statuses", "shown"),
    [
        (("tracked", "tracked", "held"), (True, True)),
        (("restarted", "tracked", "tracked"), (True, True)),
        (("foreign", "tracked", "tracked"), (False, False)),
        (("tracked", "foreign", "tracked"), (False, True)),
        (("tracked", "restarted", "tracked"), (False, False)),
        (("tracked", "tracked", "restarted"), (True, False)),
    ],
)
def test_foreign_frames_and_what_comes_after_a_new_start_are_not_shown(statuses, shown):
    first, *later = (known(status=status) for status in statuses)
    later_frames = align_to(first, later, 2)[0]
    assert [bool(np.isfinite(image).all()) for image in later_frames] == list(shown)
    assert [bool(np.isnan(image).all()) for image in later_frames] == [not one for one in shown]


def test_a_closed_shutter_ahead_is_not_shown():
    context, tissue = FrameContextBuilder(GAINS, 1, 1, (SIDE, SIDE)), scene(1)
    found = []
    for n in range(20):
        image = DARK if n == 15 else noisy(at(tissue), n)
        found += context.push(n, np.broadcast_to(image, (1, 2, SIDE, SIDE)).astype(np.float32))
    assert [one.plane_frame for one in found if np.isnan(one.later_frames).all()] == [14, 15]


def series(statuses, plane_frames=None, places=None, size=SMALL):
    """Frames of noise, or of one ramp where `places` say where they lie; they remember nothing yet."""
    frames = frames_of(len(statuses), size, channels=2)
    moved = [known(*place, status=v, size=size) for place, v in zip(places or [(0, 0)] * 99, statuses, strict=False)]
    return [
        replace(one, plane_frame=t, frame=one.frame if places else f, averages=np.zeros((1 if places else 2, 3, *size)))
        for t, f, one in zip(plane_frames or range(len(frames)), frames, moved, strict=False)
    ]


@pytest.mark.parametrize("plane_frames", [(0, 1, 2, 3, 4), (0, 1, 2, 5, 6), (0, 3, 4, 8, 9)])
def test_frames_that_came_together_remember_each_other_and_the_nearest_best(plane_frames):
    """And nothing of their own."""
    frames = series(["tracked"] * 5, plane_frames)
    for k, one in enumerate(noncausal_averages(frames, GAINS)):
        away = {n: abs(plane_frames[n] - plane_frames[k]) for n in range(5) if n != k}
        order = sorted(away, key=lambda n: (away[n], -plane_frames[n]))  # the nearest first
        age, ages, before = 0, {}, 0
        for n in order:
            age += max(away[n] - before, 1)
            ages[n], before = age - 1, away[n]
        for gain, mean in zip(GAINS, one.averages[1], strict=False):
            weights = {n: gain * (1 - gain) ** ages[n] for n in order}
            expected = sum(weight * frames[n].frame[1].mean(axis=0) for n, weight in weights.items())
            assert np.allclose(mean, expected / sum(weights.values()), atol=1e-5)
        assert np.allclose(one.averages[:, 2], sum(weights.values()), atol=1e-6)
        assert np.array_equal(one.frame, frames[k].frame)


def test_frames_that_came_together_remember_no_foreign_one_and_none_of_another_start():
    statuses = ["restarted", "foreign", "tracked", "restarted", "held"]
    shown = [[2], [], [0], [4], [3]]
    frames = series(statuses)
    for one, others in zip(noncausal_averages(frames, GAINS), shown, strict=True):
        mean = sum(frames[n].frame.mean(axis=1) for n in others) if others else 0
        assert np.allclose(one.averages[:, 1], mean, atol=1e-6)
        # A foreign frame makes what lies beyond it older.
        assert one.averages[:, 2] == pytest.approx(0.1 if others else 0.0, abs=0.02)
    assert noncausal_averages([], GAINS) == []


def test_frames_that_came_together_remember_each_other_in_the_right_place():
    """On a ramp an error of one pixel is 1; frames enter at whole pixels."""
    places = [(0.0, 0.0), (1.5, -2.0), (-2.25, 3.5), (300.0, -200.0), (301.25, -202.5)]
    statuses = ["restarted", "tracked", "tracked", "restarted", "tracked"]
    for one in noncausal_averages(series(statuses, places=places, size=(40, 40)), GAINS):
        off = one.averages[0, :2] - one.frame[0].mean(axis=0)
        assert np.abs(off[:, 8:-8, 8:-8]).max() < 0.56


@pytest.mark.parametrize("look_ahead", [0, 2])
def test_the_first_frames_together_are_those_of_the_live_path_but_for_what_they_remember(look_ahead):
    frames = frames_of(8)
    (walked, rest), context = seen(frames, look_ahead), FrameContextBuilder(GAINS, look_ahead, 1, SMALL)
    plain = [one for known in walked for one in known] + rest
    together = context.push_batch(list(enumerate(frames[:5])))
    assert [one.plane_frame for one in together] == list(range(5 - look_ahead))
    together += [
        one for plane_frame in range(5, 8) for one in context.push(plane_frame, frames[plane_frame])
    ] + context.flush()
    around = noncausal_averages(plain[:5], GAINS)
    for one, alone in zip(together, plain, strict=True):
        assert (one.plane_frame, one.motion) == (alone.plane_frame, alone.motion)
        assert np.array_equal(one.later_frames, alone.later_frames, equal_nan=True)
        assert np.array_equal(one.averages, around[one.plane_frame].averages if one.plane_frame < 5 else alone.averages)


def test_an_engine_is_given_the_slowest_memory_where_nothing_came_after():
    view, averages = np.full((2, 2), 1.0, np.float32), np.full((3, 2, 2), 0.5, np.float32)
    averages[1] = [[7, 8], [9, 10]]
    averages[:, 1, 1] = 0
    later_frames = np.array([[[3, np.nan], [np.nan, np.nan]]], np.float32)
    inputs = network_inputs(view, averages, "all", later_frames)
    assert inputs.shape == (6, 2, 2)
    assert inputs[5].tolist() == [[3, 8], [9, 1]]
    assert np.array_equal(inputs[:5], network_inputs(view, averages))
