"""Contexts of frames: when they are complete, and what their averages and later frames contain."""

from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.denoising.network_inputs import network_inputs
from deepbid_rt.frame import Motion
from deepbid_rt.motion.frame_context import FrameContext, FrameContextBuilder, align_to, noncausal_averages
from deepbid_rt.motion.history import MotionCompensatedHistory
from deepbid_rt.motion.nonrigid import line_shifts
from deepbid_rt.motion.temporal_averages import MARGIN
from tests.motion.test_rigid import DARK, SIDE, at, noisy, scene

GAINS = (0.4, 0.1)
SMALL = (12, 10)  # too small for motion


def frames_of(count, size=SMALL, channels=1):
    return np.random.default_rng(0).standard_normal((count, channels, 2, *size), np.float32)


def push_all(frames, look_ahead, plane_frames=None, size=SMALL):
    """Return the contexts that each push and the final flush return."""
    builder = FrameContextBuilder(GAINS, look_ahead, frames.shape[1], size)
    pushed = [builder.push(n, views) for n, views in zip(plane_frames or range(len(frames)), frames, strict=True)]
    return pushed, builder.flush()


def flat(lists):
    return [context for contexts in lists for context in contexts]


def numbers(contexts):
    return [context.plane_frame for context in contexts]


def ramp_context(dy=0.0, dx=0.0, value=0.0, status="tracked", size=(40, 40), **strips):
    """A context that shows a ramp moved by (dy, dx), plus `value`."""
    ramp = np.add.outer(np.arange(size[0]) - dy, 0.1 * (np.arange(size[1]) - dx)) + value
    motion = Motion(dy, dx, 9.0, status, **strips)
    return FrameContext(0, ramp[None, None].astype(np.float32), motion, np.empty(0), np.empty(0))


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_a_frame_waits_for_its_later_frames(look_ahead):
    pushed, flushed = push_all(frames_of(6), look_ahead)
    assert [numbers(contexts) for contexts in pushed] == [
        [plane_frame - look_ahead] if plane_frame >= look_ahead else [] for plane_frame in range(6)
    ]
    assert numbers(flushed) == list(range(6 - look_ahead, 6))


@pytest.mark.parametrize("look_ahead", [0, 2])
def test_the_averages_are_those_of_the_history_at_that_frame(look_ahead):
    frames, history = frames_of(6, channels=2), MotionCompensatedHistory(GAINS, 2, SMALL)
    pushed, flushed = push_all(frames, look_ahead)
    for context, views in zip(flat(pushed) + flushed, frames, strict=True):
        assert np.array_equal(context.views, views)
        assert np.array_equal(context.averages, history.push(views)[1])
        assert context.later_frames.shape == (2, look_ahead, *SMALL)


def test_later_frames_are_the_next_ones_in_order_and_nan_after_the_last():
    frames = frames_of(5, channels=2)
    pushed, flushed = push_all(frames, 2)
    means = frames.mean(axis=2)
    for context in flat(pushed):
        assert np.allclose(context.later_frames[:, 0], means[context.plane_frame + 1], atol=1e-6)
        assert np.allclose(context.later_frames[:, 1], means[context.plane_frame + 2], atol=1e-6)
    assert np.allclose(flushed[0].later_frames[:, 0], means[4], atol=1e-6)
    assert np.isnan(flushed[0].later_frames[:, 1]).all()
    assert np.isnan(flushed[1].later_frames).all()


def test_a_gap_releases_the_waiting_frames_without_later_frames_from_beyond_it():
    plane_frames = [0, 1, 4, 5]
    pushed, flushed = push_all(frames_of(4), 2, plane_frames)
    assert [numbers(contexts) for contexts in pushed] == [[], [], plane_frames[:2], []]
    first, second = pushed[2]
    assert np.isfinite(first.later_frames[:, 0]).all()
    assert np.isnan(first.later_frames[:, 1]).all()
    assert np.isnan(second.later_frames).all()
    assert flushed[0].averages[0, -1].max() == pytest.approx((1 - 0.9**2) * 0.9**2, abs=1e-6)


def test_a_reset_forgets_waiting_frames_and_averages():
    builder = FrameContextBuilder(GAINS, 1, 1, SMALL)
    for plane_frame, views in enumerate(frames_of(3)):
        builder.push(plane_frame, views)
    builder.reset()
    assert builder.flush() == []
    assert builder.push(9, frames_of(1)[0]) == []
    [context] = builder.flush()
    assert not context.averages.any()


@pytest.mark.parametrize(("dy", "dx"), [(0.0, 0.0), (2.0, -3.0), (0.5, 0.25), (-1.75, 4.5)])
@pytest.mark.parametrize("start", [(0.0, 0.0), (0.5, -0.5), (300.0, -200.0)])
def test_a_later_frame_is_aligned_to_the_frame(dy, dx, start):
    """On a ramp an error of one pixel is 1."""
    first, later = ramp_context(*start), ramp_context(start[0] + dy, start[1] + dx, value=10)
    [[aligned]] = align_to(first, [later], 1)
    expected = first.views[0, 0] + 10
    inner = np.s_[8:-8, 8:-8]
    assert np.allclose(aligned[inner], expected[inner], atol=5e-3)


def test_pixels_that_a_later_frame_does_not_show_are_nan():
    [[aligned]] = align_to(ramp_context(), [ramp_context(3.0, 0.0)], 1)
    assert np.isnan(aligned[-3:]).all()
    assert np.isfinite(aligned[:-3]).all()
    far = MARGIN + 41.0
    assert np.isnan(align_to(ramp_context(), [ramp_context(far, 0.0)], 1)).all()


def test_each_line_is_aligned_with_its_own_shift():
    strips = {"strip_dy": (0.0,) * 4, "strip_dx": (-4.0, -4.0, 4.0, 4.0)}
    first = ramp_context()
    moved = np.stack([np.roll(line, -4 if y < 20 else 4) for y, line in enumerate(first.views[0, 0])])
    later = replace(ramp_context(**strips), views=moved[None, None])
    [[aligned]] = align_to(first, [later], 1)
    for rows in (np.s_[:14], np.s_[26:]):  # between them the shift changes from one value to the other
        assert np.allclose(aligned[rows, 8:-8], first.views[0, 0][rows, 8:-8], atol=1e-3)


def test_frames_with_motion_within_them_are_aligned_to_each_other():
    """The same tissue is in lines far from each other, so the shift must be taken from the right line."""
    y, x = np.mgrid[:64, :64].astype(np.float64)
    contexts = []
    for dy, strips in ((-3.0, (0.0, 1.5, 3.0, 4.5)), (4.0, (3.0, 0.0, -3.0, -6.0))):
        empty = ramp_context(dy, 0.5 * dy, size=(64, 64), strip_dy=strips, strip_dx=tuple(0.5 * s for s in strips))
        shift_y, shift_x = line_shifts(empty.motion, 64)
        picture = np.sin((y - shift_y[:, None]) / 4) + np.cos((x - shift_x[:, None]) / 5)
        contexts.append(replace(empty, views=picture[None, None].astype(np.float32)))
    first, later = contexts
    [[aligned]] = align_to(first, [later], 1)
    inner = np.s_[12:-12, 12:-12]
    assert np.abs(aligned - first.views[0, 0])[inner].max() < 0.03


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
def test_later_frames_are_nan_when_they_are_foreign_or_after_a_restart(statuses, shown):
    first, *later = (ramp_context(status=status) for status in statuses)
    aligned = align_to(first, later, 2)[0]
    assert [bool(np.isfinite(image).all()) for image in aligned] == list(shown)
    assert [bool(np.isnan(image).all()) for image in aligned] == [not finite for finite in shown]


def test_a_later_frame_with_a_closed_shutter_is_nan():
    builder, tissue = FrameContextBuilder(GAINS, 1, 1, (SIDE, SIDE)), scene(1)
    contexts = []
    for n in range(20):
        image = DARK if n == 15 else noisy(at(tissue), n)
        contexts += builder.push(n, np.broadcast_to(image, (1, 2, SIDE, SIDE)).astype(np.float32))
    assert [context.plane_frame for context in contexts if np.isnan(context.later_frames).all()] == [14, 15]


def series(statuses, plane_frames=None, places=None, size=SMALL):
    """Contexts without averages yet: frames of noise, or with `places` a ramp that lies there in each frame."""
    frames = frames_of(len(statuses), size, channels=2)
    places_or_still = places or [(0, 0)] * len(statuses)
    ramps = [ramp_context(*place, status=s, size=size) for place, s in zip(places_or_still, statuses, strict=True)]
    channels = 1 if places else 2
    return [
        replace(ramp, plane_frame=n, views=ramp.views if places else views, averages=np.zeros((channels, 3, *size)))
        for n, views, ramp in zip(plane_frames or range(len(frames)), frames, ramps, strict=True)
    ]


@pytest.mark.parametrize("plane_frames", [(0, 1, 2, 3, 4), (0, 1, 2, 5, 6), (0, 3, 4, 8, 9)])
def test_noncausal_averages_contain_all_other_frames_and_the_nearest_with_the_largest_weight(plane_frames):
    contexts = series(["tracked"] * 5, plane_frames)
    for k, context in enumerate(noncausal_averages(contexts, GAINS)):
        distance = {n: abs(plane_frames[n] - plane_frames[k]) for n in range(5) if n != k}
        order = sorted(distance, key=lambda n: (distance[n], -plane_frames[n]))  # the nearest first
        age, ages, previous = 0, {}, 0
        for n in order:
            age += max(distance[n] - previous, 1)
            ages[n], previous = age - 1, distance[n]
        for gain, mean in zip(GAINS, context.averages[1], strict=False):
            weights = {n: gain * (1 - gain) ** ages[n] for n in order}
            expected = sum(weight * contexts[n].views[1].mean(axis=0) for n, weight in weights.items())
            assert np.allclose(mean, expected / sum(weights.values()), atol=1e-5)
        assert np.allclose(context.averages[:, 2], sum(weights.values()), atol=1e-6)
        assert np.array_equal(context.views, contexts[k].views)


def test_noncausal_averages_contain_no_foreign_frame_and_none_from_before_or_after_a_restart():
    statuses = ["restarted", "foreign", "tracked", "restarted", "held"]
    averaged = [[2], [], [0], [4], [3]]
    contexts = series(statuses)
    for context, others in zip(noncausal_averages(contexts, GAINS), averaged, strict=True):
        mean = sum(contexts[n].views.mean(axis=1) for n in others) if others else 0
        assert np.allclose(context.averages[:, 1], mean, atol=1e-6)
        # A foreign frame in between makes a frame older.
        assert context.averages[:, 2] == pytest.approx(0.1 if others else 0.0, abs=0.02)
    assert noncausal_averages([], GAINS) == []


def test_noncausal_averages_are_aligned_to_their_frame():
    """On a ramp an error of one pixel is 1; frames are averaged in at whole pixels."""
    places = [(0.0, 0.0), (1.5, -2.0), (-2.25, 3.5), (300.0, -200.0), (301.25, -202.5)]
    statuses = ["restarted", "tracked", "tracked", "restarted", "tracked"]
    for context in noncausal_averages(series(statuses, places=places, size=(40, 40)), GAINS):
        difference = context.averages[0, :2] - context.views[0].mean(axis=0)
        assert np.abs(difference[:, 8:-8, 8:-8]).max() < 0.56


@pytest.mark.parametrize("look_ahead", [0, 2])
def test_a_batch_differs_from_single_pushes_in_the_averages_only(look_ahead):
    frames = frames_of(8)
    (pushed, flushed), builder = push_all(frames, look_ahead), FrameContextBuilder(GAINS, look_ahead, 1, SMALL)
    singly = flat(pushed) + flushed
    batch = builder.push_batch(list(enumerate(frames[:5])))
    assert numbers(batch) == list(range(5 - look_ahead))
    batch += flat(builder.push(plane_frame, frames[plane_frame]) for plane_frame in range(5, 8)) + builder.flush()
    noncausal = noncausal_averages(singly[:5], GAINS)
    for context, single in zip(batch, singly, strict=True):
        assert (context.plane_frame, context.motion) == (single.plane_frame, single.motion)
        assert np.array_equal(context.later_frames, single.later_frames, equal_nan=True)
        expected = noncausal[context.plane_frame] if context.plane_frame < 5 else single
        assert np.array_equal(context.averages, expected.averages)


def test_network_inputs_replace_later_frames_by_the_slowest_average_where_they_are_nan():
    view, averages = np.full((2, 2), 1.0, np.float32), np.full((3, 2, 2), 0.5, np.float32)
    averages[1] = [[7, 8], [9, 10]]
    averages[:, 1, 1] = 0
    later_frames = np.array([[[3, np.nan], [np.nan, np.nan]]], np.float32)
    inputs = network_inputs(view, averages, "all", later_frames)
    assert inputs.shape == (6, 2, 2)
    assert inputs[5].tolist() == [[3, 8], [9, 1]]
    assert np.array_equal(inputs[:5], network_inputs(view, averages))
