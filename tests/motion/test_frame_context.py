"""What came after a frame, in its place: when it is known, and where it is not."""

from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.frame import Motion
from deepbid_rt.motion.frame_context import FrameContext, FrameContextBuilder, brought, surrounded
from deepbid_rt.motion.history import MotionCompensatedHistory, inputs_of
from deepbid_rt.motion.nonrigid import shifts_of
from deepbid_rt.motion.temporal_averages import MARGIN
from tests.test_stabilizer import DARK, SIDE, at, noisy, scene

GAINS = (0.4, 0.1)
SMALL = (12, 10)  # too small to be moved


def frames_of(count, size=SMALL, channels=1):
    return np.random.default_rng(0).standard_normal((count, channels, 2, *size), np.float32)


def seen(frames, look_ahead, ticks=None, size=SMALL):
    context = FrameContextBuilder(GAINS, look_ahead, frames.shape[1], size)
    walked = [context.see(t, f) for t, f in zip(ticks or range(len(frames)), frames, strict=True)]
    return walked, context.end()


def known(dy=0.0, dx=0.0, value=0.0, verdict="tracked", size=(40, 40), **bend):
    """A frame that lies at (dy, dx) of a ramp; `value` is added to it."""
    ramp = np.add.outer(np.arange(size[0]) - dy, 0.1 * (np.arange(size[1]) - dx)) + value
    motion = Motion(dy, dx, 9.0, verdict, **bend)
    return FrameContext(0, ramp[None, None].astype(np.float32), motion, np.empty(0), np.empty(0))


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_a_frame_waits_for_those_it_is_seen_with(look_ahead):
    walked, rest = seen(frames_of(6), look_ahead)
    assert [[one.tick for one in known] for known in walked] == [
        [tick - look_ahead] if tick >= look_ahead else [] for tick in range(6)
    ]
    assert [one.tick for one in rest] == list(range(6 - look_ahead, 6))


@pytest.mark.parametrize("look_ahead", [0, 2])
def test_the_past_is_that_of_the_frame_itself(look_ahead):
    frames, past = frames_of(6, channels=2), MotionCompensatedHistory(GAINS, 2, SMALL)
    walked, rest = seen(frames, look_ahead)
    for one, frame in zip([one for known in walked for one in known] + rest, frames, strict=True):
        assert np.array_equal(one.frame, frame)
        assert np.array_equal(one.remembered, past.see(frame)[1])
        assert one.ahead.shape == (2, look_ahead, *SMALL)


def test_frames_ahead_are_the_next_ones_in_order_and_none_after_the_last():
    frames = frames_of(5, channels=2)
    walked, rest = seen(frames, 2)
    means = frames.mean(axis=2)
    for one in [one for known in walked for one in known]:
        assert np.allclose(one.ahead[:, 0], means[one.tick + 1], atol=1e-6)
        assert np.allclose(one.ahead[:, 1], means[one.tick + 2], atol=1e-6)
    assert np.allclose(rest[0].ahead[:, 0], means[4], atol=1e-6)
    assert np.isnan(rest[0].ahead[:, 1]).all()
    assert np.isnan(rest[1].ahead).all()


def test_what_lies_beyond_a_gap_did_not_come_next_and_the_gap_sets_free_what_waits():
    ticks = [0, 1, 4, 5]
    walked, rest = seen(frames_of(4), 2, ticks)
    assert [[one.tick for one in known] for known in walked] == [[], [], ticks[:2], []]
    first, second = walked[2]
    assert np.isfinite(first.ahead[:, 0]).all()
    assert np.isnan(first.ahead[:, 1]).all()
    assert np.isnan(second.ahead).all()
    assert rest[0].remembered[0, -1].max() == pytest.approx((1 - 0.9**2) * 0.9**2, abs=1e-6)


def test_after_a_reset_nothing_of_before_is_left():
    context = FrameContextBuilder(GAINS, 1, 1, SMALL)
    for tick, frame in enumerate(frames_of(3)):
        context.see(tick, frame)
    context.reset()
    assert context.end() == []
    assert context.see(9, frames_of(1)[0]) == []
    [one] = context.end()
    assert not one.remembered.any()


@pytest.mark.parametrize(("dy", "dx"), [(0.0, 0.0), (2.0, -3.0), (0.5, 0.25), (-1.75, 4.5)])
@pytest.mark.parametrize("begun", [(0.0, 0.0), (0.5, -0.5), (300.0, -200.0)])
def test_a_frame_ahead_is_moved_to_where_the_tissue_was(dy, dx, begun):
    """On a ramp an error of one pixel is 1."""
    first, later = known(*begun), known(begun[0] + dy, begun[1] + dx, value=10)
    [[ahead]] = brought(first, [later], 1)
    expected = first.frame[0, 0] + 10
    inner = np.s_[8:-8, 8:-8]
    assert np.allclose(ahead[inner], expected[inner], atol=5e-3)


def test_places_that_a_frame_ahead_does_not_show_are_unknown():
    [[ahead]] = brought(known(), [known(3.0, 0.0)], 1)
    assert np.isnan(ahead[-3:]).all()
    assert np.isfinite(ahead[:-3]).all()
    far = MARGIN + 41.0
    assert np.isnan(brought(known(), [known(far, 0.0)], 1)).all()


def test_lines_are_moved_each_by_its_own_shift():
    bent = {"bend_dy": (0.0,) * 4, "bend_dx": (-4.0, -4.0, 4.0, 4.0)}
    frame = known()
    moved = np.stack([np.roll(line, -4 if y < 20 else 4) for y, line in enumerate(frame.frame[0, 0])])
    later = replace(known(**bent), frame=moved[None, None])
    [[ahead]] = brought(frame, [later], 1)
    for rows in (np.s_[:14], np.s_[26:]):  # between them the shift passes from one to the other
        assert np.allclose(ahead[rows, 8:-8], frame.frame[0, 0][rows, 8:-8], atol=1e-3)


def test_a_bent_frame_shows_each_place_in_the_line_that_lies_there():
    """Both are bent, and lines far from each other show one place."""
    y, x = np.mgrid[:64, :64].astype(np.float64)
    pictures = []
    for dy, bend in ((-3.0, (0.0, 1.5, 3.0, 4.5)), (4.0, (3.0, 0.0, -3.0, -6.0))):
        empty = known(dy, 0.5 * dy, size=(64, 64), bend_dy=bend, bend_dx=tuple(0.5 * b for b in bend))
        off_y, off_x = shifts_of(empty.motion, 64)
        picture = np.sin((y - off_y[:, None]) / 4) + np.cos((x - off_x[:, None]) / 5)
        pictures.append(replace(empty, frame=picture[None, None].astype(np.float32)))
    first, later = pictures
    [[ahead]] = brought(first, [later], 1)
    inner = np.s_[12:-12, 12:-12]
    assert np.abs(ahead - first.frame[0, 0])[inner].max() < 0.03


@pytest.mark.parametrize(
    ("verdicts", "shown"),
    [
        (("tracked", "tracked", "held"), (True, True)),
        (("restarted", "tracked", "tracked"), (True, True)),
        (("foreign", "tracked", "tracked"), (False, False)),
        (("tracked", "foreign", "tracked"), (False, True)),
        (("tracked", "restarted", "tracked"), (False, False)),
        (("tracked", "tracked", "restarted"), (True, False)),
    ],
)
def test_foreign_frames_and_what_comes_after_a_new_start_are_not_shown(verdicts, shown):
    first, *later = (known(verdict=verdict) for verdict in verdicts)
    ahead = brought(first, later, 2)[0]
    assert [bool(np.isfinite(image).all()) for image in ahead] == list(shown)
    assert [bool(np.isnan(image).all()) for image in ahead] == [not one for one in shown]


def test_a_closed_shutter_ahead_is_not_shown():
    context, tissue = FrameContextBuilder(GAINS, 1, 1, (SIDE, SIDE)), scene(1)
    found = []
    for n in range(20):
        image = DARK if n == 15 else noisy(at(tissue), n)
        found += context.see(n, np.broadcast_to(image, (1, 2, SIDE, SIDE)).astype(np.float32))
    assert [one.tick for one in found if np.isnan(one.ahead).all()] == [14, 15]


def series(verdicts, ticks=None, places=None, size=SMALL):
    """Frames of noise, or of one ramp where `places` say where they lie; they remember nothing yet."""
    frames = frames_of(len(verdicts), size, channels=2)
    moved = [known(*place, verdict=v, size=size) for place, v in zip(places or [(0, 0)] * 99, verdicts, strict=False)]
    return [
        replace(one, tick=t, frame=one.frame if places else f, remembered=np.zeros((1 if places else 2, 3, *size)))
        for t, f, one in zip(ticks or range(len(frames)), frames, moved, strict=False)
    ]


@pytest.mark.parametrize("ticks", [(0, 1, 2, 3, 4), (0, 1, 2, 5, 6), (0, 3, 4, 8, 9)])
def test_frames_that_came_together_remember_each_other_and_the_nearest_best(ticks):
    """And nothing of their own."""
    frames = series(["tracked"] * 5, ticks)
    for k, one in enumerate(surrounded(frames, GAINS)):
        away = {n: abs(ticks[n] - ticks[k]) for n in range(5) if n != k}
        order = sorted(away, key=lambda n: (away[n], -ticks[n]))  # the nearest first
        age, ages, before = 0, {}, 0
        for n in order:
            age += max(away[n] - before, 1)
            ages[n], before = age - 1, away[n]
        for gain, mean in zip(GAINS, one.remembered[1], strict=False):
            weights = {n: gain * (1 - gain) ** ages[n] for n in order}
            expected = sum(weight * frames[n].frame[1].mean(axis=0) for n, weight in weights.items())
            assert np.allclose(mean, expected / sum(weights.values()), atol=1e-5)
        assert np.allclose(one.remembered[:, 2], sum(weights.values()), atol=1e-6)
        assert np.array_equal(one.frame, frames[k].frame)


def test_frames_that_came_together_remember_no_foreign_one_and_none_of_another_start():
    verdicts = ["restarted", "foreign", "tracked", "restarted", "held"]
    shown = [[2], [], [0], [4], [3]]
    frames = series(verdicts)
    for one, others in zip(surrounded(frames, GAINS), shown, strict=True):
        mean = sum(frames[n].frame.mean(axis=1) for n in others) if others else 0
        assert np.allclose(one.remembered[:, 1], mean, atol=1e-6)
        # A foreign frame makes what lies beyond it older.
        assert one.remembered[:, 2] == pytest.approx(0.1 if others else 0.0, abs=0.02)
    assert surrounded([], GAINS) == []


def test_frames_that_came_together_remember_each_other_in_the_right_place():
    """On a ramp an error of one pixel is 1; frames enter at whole pixels."""
    places = [(0.0, 0.0), (1.5, -2.0), (-2.25, 3.5), (300.0, -200.0), (301.25, -202.5)]
    verdicts = ["restarted", "tracked", "tracked", "restarted", "tracked"]
    for one in surrounded(series(verdicts, places=places, size=(40, 40)), GAINS):
        off = one.remembered[0, :2] - one.frame[0].mean(axis=0)
        assert np.abs(off[:, 8:-8, 8:-8]).max() < 0.56


@pytest.mark.parametrize("look_ahead", [0, 2])
def test_the_first_frames_together_are_those_of_the_live_path_but_for_what_they_remember(look_ahead):
    frames = frames_of(8)
    (walked, rest), context = seen(frames, look_ahead), FrameContextBuilder(GAINS, look_ahead, 1, SMALL)
    plain = [one for known in walked for one in known] + rest
    together = context.see_together(list(enumerate(frames[:5])))
    assert [one.tick for one in together] == list(range(5 - look_ahead))
    together += [one for tick in range(5, 8) for one in context.see(tick, frames[tick])] + context.end()
    around = surrounded(plain[:5], GAINS)
    for one, alone in zip(together, plain, strict=True):
        assert (one.tick, one.motion) == (alone.tick, alone.motion)
        assert np.array_equal(one.ahead, alone.ahead, equal_nan=True)
        assert np.array_equal(one.remembered, around[one.tick].remembered if one.tick < 5 else alone.remembered)


def test_an_engine_is_given_the_slowest_memory_where_nothing_came_after():
    view, remembered = np.full((2, 2), 1.0, np.float32), np.full((3, 2, 2), 0.5, np.float32)
    remembered[1] = [[7, 8], [9, 10]]
    remembered[:, 1, 1] = 0
    ahead = np.array([[[3, np.nan], [np.nan, np.nan]]], np.float32)
    inputs = inputs_of(view, remembered, "all", ahead)
    assert inputs.shape == (6, 2, 2)
    assert inputs[5].tolist() == [[3, 8], [9, 1]]
    assert np.array_equal(inputs[:5], inputs_of(view, remembered))
