"""The memory against a slow model of it: a list of frames and the weights written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.motion.temporal_averages import MARGIN, AlignedFrames, TemporalAverages

GAINS = (0.4, 0.15, 0.05)
SIZE = (20, 24)
whole = st.integers(-MARGIN + 2, MARGIN - 2)


def lie(dy, dx, lines=SIZE[0]):
    """Every line of a frame lies at (dy, dx)."""
    return np.repeat([[float(dy)], [float(dx)]], lines, axis=1)


def recall(memory, shifts, count=None, size=SIZE):
    """What is remembered, in an array that held something else before."""
    out = np.full(((count or memory.depth) + 1, *size), 99, np.float32)
    memory.recall(shifts, out)
    return out


def image(n, size=SIZE):
    return np.random.default_rng(n).standard_normal(size, np.float32)


@given(st.lists(st.sampled_from(["frame", "frame", "skip"]), min_size=1, max_size=40))
@settings(deadline=None)
def test_weights_are_exact_from_the_first_frame_on(events):
    memory = TemporalAverages(GAINS, SIZE)
    frames = []  # (age, image)
    for n, event in enumerate(events):
        frames = [(age + 1, frame) for age, frame in frames]
        if event == "skip":
            memory.skip(1)
        else:
            frames.append((0, image(n)))
            memory.update(image(n), lie(0, 0))
    got = recall(memory, lie(0, 0))
    for mean, gain in zip(got, GAINS, strict=False):
        weights = np.array([gain * (1 - gain) ** age for age, _ in frames])
        if not frames:
            assert not got.any()
            return
        expected = sum(w * frame for w, (_, frame) in zip(weights / weights.sum(), frames, strict=True))
        assert np.allclose(mean, expected, atol=1e-4)
    assert np.allclose(got[-1], weights.sum(), atol=1e-5)


@given(st.lists(st.tuples(whole, whole), min_size=1, max_size=6), st.tuples(whole, whole))
@settings(max_examples=40, deadline=None)
def test_frames_side_by_side_are_averaged_as_if_they_had_come_one_after_the_other(shifts, here):
    """Whatever was there before, and each place by the frames that saw it."""
    memory, parts = TemporalAverages(GAINS, SIZE), AlignedFrames(len(shifts), SIZE)
    alone = [TemporalAverages((0.5,), SIZE) for _ in shifts]
    memory.update(image(99), lie(0, 0))
    for n, (one, shift) in enumerate(zip(alone, shifts, strict=True)):
        one.update(image(n), lie(*shift))
        parts.put(n, image(n), lie(*shift))
    ages = np.arange(len(shifts))[::-1]
    gains = np.array(GAINS)[:, None]
    memory.fill(parts, gains * (1 - gains) ** ages)
    got = recall(memory, lie(*here))
    seen = [(picture, weight > 0) for picture, weight in (recall(one, lie(*here)) for one in alone)]
    for mean, gain in zip(got, GAINS, strict=False):
        weights = [gain * (1 - gain) ** age * shown for age, (_, shown) in zip(ages, seen, strict=True)]
        total = np.sum(weights, axis=0)
        expected = sum(w * picture for w, (picture, _) in zip(weights, seen, strict=True)) / np.where(total, total, 1)
        assert np.allclose(mean, expected, atol=1e-5)
    assert np.allclose(got[-1], total, atol=1e-6)


@given(st.lists(st.tuples(whole, whole), min_size=1, max_size=6), st.tuples(whole, whole))
@settings(max_examples=40, deadline=None)
def test_whole_shifts_put_every_pixel_where_it_belongs(shifts, here):
    """Each place keeps what the frames that saw it showed there, whichever frames those were."""
    memory = TemporalAverages((0.3,), SIZE)
    room = 2 * MARGIN
    means = np.zeros((SIZE[0] + 2 * room, SIZE[1] + 2 * room))
    weights = np.zeros_like(means)
    for n, (dy, dx) in enumerate(shifts):
        memory.update(image(n), lie(dy, dx))
        at = np.s_[room - dy : room - dy + SIZE[0], room - dx : room - dx + SIZE[1]]
        weights[at] = 0.3 + 0.7 * weights[at]
        means[at] += 0.3 / weights[at] * (image(n) - means[at])
    dy, dx = here
    at = np.s_[room - dy : room - dy + SIZE[0], room - dx : room - dx + SIZE[1]]
    got = recall(memory, lie(dy, dx))
    known = got[1] > 0
    assert np.allclose(got[0][known], means[at][known], atol=1e-4)
    assert np.allclose(got[1][known], weights[at][known], atol=1e-5)
    assert np.array_equal(known, weights[at] > 0)
    assert not got[:, ~known].any()


@given(st.lists(st.tuples(whole, whole), min_size=SIZE[0], max_size=SIZE[0]))
@settings(max_examples=40, deadline=None)
def test_every_line_enters_where_it_lies(places):
    """Lines that overlap are both averaged; places between lines that move apart stay as they were."""
    memory = TemporalAverages((0.3,), SIZE)
    shifts = np.array(places, float).T
    memory.update(image(0), shifts)
    room = 2 * MARGIN
    means, weights = np.zeros((2, SIZE[0] + 2 * room, SIZE[1] + 2 * room))
    for y, (dy, dx) in enumerate(places):
        at = room + y - dy, slice(room - dx, room - dx + SIZE[1])
        weights[at] = 0.3 + 0.7 * weights[at]
        means[at] += 0.3 / weights[at] * (image(0)[y] - means[at])
    got = recall(memory, lie(0, 0))
    at = np.s_[room:-room, room:-room]
    assert np.allclose(got[0], means[at], atol=1e-5)
    assert np.allclose(got[1], weights[at], atol=1e-5)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=SIZE[0], max_size=SIZE[0]))
@settings(max_examples=40, deadline=None)
def test_a_bent_frame_is_recalled_line_by_line(places):
    """Each line is what a frame that lies there as a whole would be shown."""
    memory = TemporalAverages((0.3,), SIZE)
    memory.update(image(0), lie(0, 0))
    got = recall(memory, np.array(places).T)
    for y, place in enumerate(places):
        assert np.allclose(got[:, y], recall(memory, lie(*place))[:, y], atol=1e-5)


def test_the_slowest_can_be_recalled_alone():
    memory = TemporalAverages(GAINS, SIZE)
    for n in range(3):
        memory.update(image(n), lie(0, 0))
    assert np.array_equal(recall(memory, lie(0.5, 1), 1), recall(memory, lie(0.5, 1))[2:])


def test_a_smooth_scene_is_recalled_between_pixels():
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)

    def at(dy, dx):
        return np.sin((y - dy) / 3) + np.cos((x - dx) / 4)

    memory = TemporalAverages(GAINS, SIZE)
    memory.update(at(0, 0).astype(np.float32), lie(0, 0))
    got = recall(memory, lie(0.4, -1.3))
    inner = np.s_[3:-3, 3:-4]
    assert (got[-1][inner] > 0).all()
    assert np.abs(got[0] - at(0.4, -1.3))[inner].max() < 0.01


@pytest.mark.parametrize("dy", [-0.75, -0.25, 0.25, 0.75])
@pytest.mark.parametrize("dx", [0, 0.25, -0.75])
def test_at_the_edge_of_what_was_seen_the_nearest_pixel_is_recalled(dy, dx):
    """Still tissue lies a hundredth of a pixel off: its outermost lines are remembered all the same."""
    memory = TemporalAverages((0.3,), SIZE)
    memory.update(image(0), lie(0, 0))
    means, weights = recall(memory, lie(dy, dx))
    y, x = np.rint(np.arange(SIZE[0]) - dy).astype(int), np.rint(np.arange(SIZE[1]) - dx).astype(int)
    seen = ((y >= 0) & (y < SIZE[0]))[:, None] & ((x >= 0) & (x < SIZE[1]))
    assert np.array_equal(weights > 0, seen)
    assert not means[~seen].any()
    lacking = seen.copy()
    lacking[2:-2, 2:-2] = False
    inside = np.zeros_like(seen)
    top, left = np.floor(-dy).astype(int), np.floor(-dx).astype(int)
    for line in range(SIZE[0]):
        for pixel in range(SIZE[1]):
            rows = range(line + top - 1, line + top + 3) if dy else [line]
            columns = range(pixel + left - 1, pixel + left + 3) if dx else [pixel]
            inside[line, pixel] = all(0 <= n < SIZE[0] for n in rows) and all(0 <= n < SIZE[1] for n in columns)
    lacking &= ~inside
    assert lacking.any()
    nearest = image(0)[np.clip(y, 0, SIZE[0] - 1)[:, None], np.clip(x, 0, SIZE[1] - 1)]
    assert np.array_equal(means[lacking], nearest[lacking])
    assert not np.array_equal(means[inside], nearest[inside])


def test_what_is_too_old_to_count_is_not_recalled():
    memory = TemporalAverages((0.3,), SIZE)
    memory.update(image(0), lie(0, 0))
    memory.skip(1000)
    assert not recall(memory, lie(0.25, 0)).any()
    assert not recall(memory, lie(0, 0)).any()


def test_the_last_line_of_the_state_is_recalled_and_none_beyond_it():
    memory = TemporalAverages((0.3,), SIZE)
    far = 2 - MARGIN
    memory.update(image(0), lie(far, 0))
    assert np.array_equal(recall(memory, lie(far, 0))[0], image(0))
    beyond = recall(memory, lie(far - 1, 0))
    assert not beyond[:, -1].any()
    assert np.array_equal(beyond[0, :-1], image(0)[1:])


@pytest.mark.parametrize("gains", [(0.4, 0.05), (0.05, 0.4)])
def test_a_slow_memory_grows_old_in_its_own_time(gains):
    """The first frame counts fully in it, and less with each that follows, however old a quick one is."""
    memory = TemporalAverages(gains, SIZE)
    for n in range(60):
        memory.update(np.full(SIZE, n == 0, np.float32), lie(0, 0))
    got = recall(memory, lie(0, 0))
    assert np.allclose(got[gains.index(0.05)], 0.05 * 0.95**59 / (1 - 0.95**60), rtol=1e-3)
    assert np.allclose(got[-1], 1 - (1 - gains[-1]) ** 60, atol=1e-5)


def test_the_state_does_not_blur_with_time():
    """A thousand frames of a still point seen from wandering places stay a point."""
    memory = TemporalAverages((0.05,), SIZE)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        dy, dx = (int(d) for d in rng.integers(-4, 5, 2))
        point = np.zeros(SIZE, np.float32)
        point[10 + dy, 12 + dx] = 1
        memory.update(point, lie(dy, dx))
    got = recall(memory, lie(0, 0))[0]
    assert got[10, 12] == pytest.approx(1)
    assert np.abs(got).sum() == pytest.approx(1, abs=1e-3)


def test_nothing_is_known_before_the_first_frame_and_after_a_reset():
    memory = TemporalAverages(GAINS, SIZE)
    assert not recall(memory, lie(0.5, 0.5)).any()
    memory.update(image(0), lie(0, 0))
    assert recall(memory, lie(0.5, 0.5)).any()
    memory.reset()
    assert not recall(memory, lie(0.5, 0.5)).any()


@given(whole, whole)
@settings(max_examples=20, deadline=None)
def test_rebasing_moves_the_origin_and_nothing_else(dy, dx):
    memory = TemporalAverages(GAINS, SIZE)
    memory.update(image(0), lie(0, 0))
    before = recall(memory, lie(0, 0))
    memory.rebase(-dy, -dx)
    after = recall(memory, lie(dy, dx))
    known = after[-1] > 0
    assert np.array_equal(after[:, known], before[:, known])


@pytest.mark.parametrize("shift", [(500, 0), (-500.5, 3), (0, 1e6), (1e4, -1e4)])
def test_a_shift_out_of_sight_finds_and_leaves_nothing(shift):
    memory = TemporalAverages(GAINS, SIZE)
    memory.update(image(0), lie(0, 0))
    before = recall(memory, lie(0, 0))
    assert not recall(memory, lie(*shift)).any()
    memory.update(image(1), lie(*shift))
    assert np.array_equal(recall(memory, lie(0, 0)), before)


def test_a_frame_is_not_kept():
    memory, frame = TemporalAverages(GAINS, SIZE), image(0)
    memory.update(frame, lie(0, 0))
    got = recall(memory, lie(0, 0))
    frame[:] = 99
    assert np.array_equal(recall(memory, lie(0, 0)), got)


@pytest.mark.parametrize("size", [(1, 1), (3, 2)])
def test_tiny_frames_are_remembered(size):
    memory = TemporalAverages(GAINS, size)
    memory.update(image(0, size), lie(0, 0, size[0]))
    memory.update(image(1, size), lie(1, -1, size[0]))
    assert np.isfinite(recall(memory, lie(0, 0, size[0]), size=size)).all()
