"""`TemporalAverages` compared with a slow model: a list of frames and explicit weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.motion.temporal_averages import MARGIN, TemporalAverages

GAINS = (0.4, 0.15, 0.05)
SIZE = (20, 24)
whole_shift = st.integers(-MARGIN + 2, MARGIN - 2)


def shifts_at(dy, dx, lines=SIZE[0]):
    """Shifts of a frame whose lines all lie at (dy, dx)."""
    return np.repeat([[float(dy)], [float(dx)]], lines, axis=1)


def recall(averages, shifts, count=None, size=SIZE):
    """Recall `count` averages, or all, into an array with other content."""
    out = np.full(((count or averages.depth) + 1, *size), 99, np.float32)
    averages.recall(shifts, out)
    return out


def image(n, size=SIZE):
    return np.random.default_rng(n).standard_normal(size, np.float32)


@given(st.lists(st.sampled_from(["frame", "frame", "skip"]), min_size=1, max_size=40))
@settings(deadline=None)
def test_weights_are_exact_from_the_first_frame_on(events):
    averages = TemporalAverages(GAINS, SIZE)
    frames = []  # (age, image)
    for n, event in enumerate(events):
        frames = [(age + 1, frame) for age, frame in frames]
        if event == "skip":
            averages.skip(1)
        else:
            frames.append((0, image(n)))
            averages.update(image(n), shifts_at(0, 0))
    got = recall(averages, shifts_at(0, 0))
    for mean, gain in zip(got, GAINS, strict=False):
        weights = np.array([gain * (1 - gain) ** age for age, _ in frames])
        if not frames:
            assert not got.any()
            return
        expected = sum(w * frame for w, (_, frame) in zip(weights / weights.sum(), frames, strict=True))
        assert np.allclose(mean, expected, atol=1e-4)
    assert np.allclose(got[-1], weights.sum(), atol=1e-5)


@given(st.lists(st.tuples(whole_shift, whole_shift), min_size=1, max_size=6), st.tuples(whole_shift, whole_shift))
@settings(max_examples=40, deadline=None)
def test_whole_shifts_are_exact(shifts, frame_shift):
    """Each place has the average of the frames that showed it."""
    averages = TemporalAverages((0.3,), SIZE)
    room = 2 * MARGIN
    means = np.zeros((SIZE[0] + 2 * room, SIZE[1] + 2 * room))
    weights = np.zeros_like(means)
    for n, (dy, dx) in enumerate(shifts):
        averages.update(image(n), shifts_at(dy, dx))
        at = np.s_[room - dy : room - dy + SIZE[0], room - dx : room - dx + SIZE[1]]
        weights[at] = 0.3 + 0.7 * weights[at]
        means[at] += 0.3 / weights[at] * (image(n) - means[at])
    dy, dx = frame_shift
    at = np.s_[room - dy : room - dy + SIZE[0], room - dx : room - dx + SIZE[1]]
    got = recall(averages, shifts_at(dy, dx))
    shown = got[1] > 0
    assert np.allclose(got[0][shown], means[at][shown], atol=1e-4)
    assert np.allclose(got[1][shown], weights[at][shown], atol=1e-5)
    assert np.array_equal(shown, weights[at] > 0)
    assert not got[:, ~shown].any()


@given(st.lists(st.tuples(whole_shift, whole_shift), min_size=SIZE[0], max_size=SIZE[0]))
@settings(max_examples=40, deadline=None)
def test_every_line_is_averaged_in_at_its_own_place(places):
    """Overlapping lines are both averaged in; places between lines that move apart stay unchanged."""
    averages = TemporalAverages((0.3,), SIZE)
    shifts = np.array(places, float).T
    averages.update(image(0), shifts)
    room = 2 * MARGIN
    means, weights = np.zeros((2, SIZE[0] + 2 * room, SIZE[1] + 2 * room))
    for y, (dy, dx) in enumerate(places):
        at = room + y - dy, slice(room - dx, room - dx + SIZE[1])
        weights[at] = 0.3 + 0.7 * weights[at]
        means[at] += 0.3 / weights[at] * (image(0)[y] - means[at])
    got = recall(averages, shifts_at(0, 0))
    at = np.s_[room:-room, room:-room]
    assert np.allclose(got[0], means[at], atol=1e-5)
    assert np.allclose(got[1], weights[at], atol=1e-5)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=SIZE[0], max_size=SIZE[0]))
@settings(max_examples=40, deadline=None)
def test_every_line_is_recalled_at_its_own_place(places):
    """Each line equals that of a frame which moved by this shift as a whole."""
    averages = TemporalAverages((0.3,), SIZE)
    averages.update(image(0), shifts_at(0, 0))
    got = recall(averages, np.array(places).T)
    for y, place in enumerate(places):
        assert np.allclose(got[:, y], recall(averages, shifts_at(*place))[:, y], atol=1e-5)


def test_the_slowest_average_can_be_recalled_by_itself():
    averages = TemporalAverages(GAINS, SIZE)
    for n in range(3):
        averages.update(image(n), shifts_at(0, 0))
    assert np.array_equal(recall(averages, shifts_at(0.5, 1), 1), recall(averages, shifts_at(0.5, 1))[2:])


def test_a_recall_between_pixels_is_accurate_on_a_smooth_scene():
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)

    def at(dy, dx):
        return np.sin((y - dy) / 3) + np.cos((x - dx) / 4)

    averages = TemporalAverages(GAINS, SIZE)
    averages.update(at(0, 0).astype(np.float32), shifts_at(0, 0))
    got = recall(averages, shifts_at(0.4, -1.3))
    inner = np.s_[3:-3, 3:-4]
    assert (got[-1][inner] > 0).all()
    assert np.abs(got[0] - at(0.4, -1.3))[inner].max() < 0.01


@pytest.mark.parametrize("dy", [-0.75, -0.25, 0.25, 0.75])
@pytest.mark.parametrize("dx", [0, 0.25, -0.75])
def test_at_the_border_of_the_shown_area_the_nearest_pixel_is_recalled(dy, dx):
    """Estimated shifts of still tissue are never exactly 0; its outermost lines must be recalled all the same."""
    averages = TemporalAverages((0.3,), SIZE)
    averages.update(image(0), shifts_at(0, 0))
    means, weights = recall(averages, shifts_at(dy, dx))
    y, x = np.rint(np.arange(SIZE[0]) - dy).astype(int), np.rint(np.arange(SIZE[1]) - dx).astype(int)
    shown = ((y >= 0) & (y < SIZE[0]))[:, None] & ((x >= 0) & (x < SIZE[1]))
    assert np.array_equal(weights > 0, shown)
    assert not means[~shown].any()
    border = shown.copy()
    border[2:-2, 2:-2] = False
    inside = np.zeros_like(shown)
    top, left = np.floor(-dy).astype(int), np.floor(-dx).astype(int)
    for line in range(SIZE[0]):
        for pixel in range(SIZE[1]):
            rows = range(line + top - 1, line + top + 3) if dy else [line]
            columns = range(pixel + left - 1, pixel + left + 3) if dx else [pixel]
            inside[line, pixel] = all(0 <= n < SIZE[0] for n in rows) and all(0 <= n < SIZE[1] for n in columns)
    border &= ~inside
    assert border.any()
    nearest = image(0)[np.clip(y, 0, SIZE[0] - 1)[:, None], np.clip(x, 0, SIZE[1] - 1)]
    assert np.array_equal(means[border], nearest[border])
    assert not np.array_equal(means[inside], nearest[inside])


def test_an_average_whose_weight_has_decayed_to_0_is_not_recalled():
    averages = TemporalAverages((0.3,), SIZE)
    averages.update(image(0), shifts_at(0, 0))
    averages.skip(1000)
    assert not recall(averages, shifts_at(0.25, 0)).any()
    assert not recall(averages, shifts_at(0, 0)).any()


def test_the_last_line_of_the_margin_is_recalled_and_none_beyond_it():
    averages = TemporalAverages((0.3,), SIZE)
    far = 2 - MARGIN
    averages.update(image(0), shifts_at(far, 0))
    assert np.array_equal(recall(averages, shifts_at(far, 0))[0], image(0))
    beyond = recall(averages, shifts_at(far - 1, 0))
    assert not beyond[:, -1].any()
    assert np.array_equal(beyond[0, :-1], image(0)[1:])


@pytest.mark.parametrize("gains", [(0.4, 0.05), (0.05, 0.4)])
def test_each_average_saturates_at_its_own_rate(gains):
    """The first frame has full weight at first and less with each later frame, whatever the other gain is."""
    averages = TemporalAverages(gains, SIZE)
    for n in range(60):
        averages.update(np.full(SIZE, n == 0, np.float32), shifts_at(0, 0))
    got = recall(averages, shifts_at(0, 0))
    assert np.allclose(got[gains.index(0.05)], 0.05 * 0.95**59 / (1 - 0.95**60), rtol=1e-3)
    assert np.allclose(got[-1], 1 - (1 - gains[-1]) ** 60, atol=1e-5)


def test_averages_do_not_blur_with_time():
    """A point stays a point after a thousand frames with changing shifts."""
    averages = TemporalAverages((0.05,), SIZE)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        dy, dx = (int(d) for d in rng.integers(-4, 5, 2))
        point = np.zeros(SIZE, np.float32)
        point[10 + dy, 12 + dx] = 1
        averages.update(point, shifts_at(dy, dx))
    got = recall(averages, shifts_at(0, 0))[0]
    assert got[10, 12] == pytest.approx(1)
    assert np.abs(got).sum() == pytest.approx(1, abs=1e-3)


def test_averages_are_empty_before_the_first_frame_and_after_a_reset():
    averages = TemporalAverages(GAINS, SIZE)
    assert not recall(averages, shifts_at(0.5, 0.5)).any()
    averages.update(image(0), shifts_at(0, 0))
    assert recall(averages, shifts_at(0.5, 0.5)).any()
    averages.reset()
    assert not recall(averages, shifts_at(0.5, 0.5)).any()


@given(whole_shift, whole_shift)
@settings(max_examples=20, deadline=None)
def test_a_rebase_moves_the_origin_only(dy, dx):
    averages = TemporalAverages(GAINS, SIZE)
    averages.update(image(0), shifts_at(0, 0))
    before = recall(averages, shifts_at(0, 0))
    averages.rebase(-dy, -dx)
    after = recall(averages, shifts_at(dy, dx))
    shown = after[-1] > 0
    assert np.array_equal(after[:, shown], before[:, shown])


@pytest.mark.parametrize("shift", [(500, 0), (-500.5, 3), (0, 1e6), (1e4, -1e4)])
def test_a_frame_shifted_beyond_the_margin_recalls_and_changes_nothing(shift):
    averages = TemporalAverages(GAINS, SIZE)
    averages.update(image(0), shifts_at(0, 0))
    before = recall(averages, shifts_at(0, 0))
    assert not recall(averages, shifts_at(*shift)).any()
    averages.update(image(1), shifts_at(*shift))
    assert np.array_equal(recall(averages, shifts_at(0, 0)), before)


def test_the_array_of_a_frame_is_not_kept():
    averages, frame = TemporalAverages(GAINS, SIZE), image(0)
    averages.update(frame, shifts_at(0, 0))
    got = recall(averages, shifts_at(0, 0))
    frame[:] = 99
    assert np.array_equal(recall(averages, shifts_at(0, 0)), got)


@pytest.mark.parametrize("size", [(1, 1), (3, 2)])
def test_tiny_frames_are_averaged(size):
    averages = TemporalAverages(GAINS, size)
    averages.update(image(0, size), shifts_at(0, 0, size[0]))
    averages.update(image(1, size), shifts_at(1, -1, size[0]))
    assert np.isfinite(recall(averages, shifts_at(0, 0, size[0]), size=size)).all()
