"""The past in its place: what a network is given, and what foreign frames, drift and gaps do to it."""

import numpy as np
import pytest

from deepbid_rt.denoising.network_inputs import network_inputs
from deepbid_rt.motion.history import MotionCompensatedHistory, mean_views
from deepbid_rt.motion.temporal_averages import MARGIN
from tests.motion.test_rigid import DARK, SIDE, at, noisy, scene

GAINS = (0.3, 0.1)


def views(image, channels=1, count=2):
    return np.broadcast_to(image, (channels, count, *image.shape)).copy()


def test_nothing_is_remembered_before_the_first_frame():
    motion, averages = MotionCompensatedHistory(GAINS, 2, (SIDE, SIDE)).push(views(noisy(at(scene()), 0), 2))
    assert motion.status == "restarted"
    assert averages.shape == (2, 3, SIDE, SIDE)
    assert not averages.any()


def test_memories_hold_frames_before_the_current_one_only():
    """Two pasts that differ in the current frame alone remember the same, but for where it lies."""
    history, other = (MotionCompensatedHistory(GAINS, 1, (16, 16)) for _ in range(2))  # too small to be moved
    rng = np.random.default_rng(0)
    for _ in range(5):
        frame = rng.standard_normal((1, 2, 16, 16), np.float32)
        history.push(frame)
        other.push(frame)
    assert np.array_equal(history.push(frame)[1], other.push(frame + 1)[1])


def test_what_is_remembered_moves_with_the_tissue():
    history, tissue = MotionCompensatedHistory(GAINS, 1, (SIDE, SIDE)), scene(1)
    rng = np.random.default_rng(0)
    for n in range(60):
        dy, dx = rng.normal(0, 2, 2)
        _, averages = history.push(views(noisy(at(tissue, dy, dx), n)))
    inner = np.s_[12:-12, 12:-12]
    right = np.corrcoef(averages[0, 1][inner].ravel(), at(tissue, dy, dx)[inner].ravel())[0, 1]
    wrong = np.corrcoef(averages[0, 1][inner].ravel(), at(tissue, dy + 4, dx)[inner].ravel())[0, 1]
    assert right > 0.9 > wrong


def test_still_tissue_is_remembered_up_to_the_border():
    """It always seems to lie some hundredths of a pixel off, and lines at the border lack a neighbour there."""
    history, picture = MotionCompensatedHistory((0.05,), 1, (SIDE, SIDE)), at(scene(1))
    for n in range(80):
        motion, averages = history.push(views(noisy(picture, n)))
    assert (motion.dy, motion.dx) != (0, 0)
    mean, weight = averages[0]
    expected = (picture / picture.mean() - 1) * np.sqrt(0.4)
    error = (mean - expected) ** 2
    border = np.ones_like(error, bool)
    border[2:-2, 2:-2] = False
    assert (weight > 0.9).all()
    assert error[border].mean() < 2 * error[~border].mean()


def test_channels_move_together_and_remember_apart():
    history = MotionCompensatedHistory(GAINS, 2, (16, 16))
    frame = np.zeros((2, 1, 16, 16), np.float32)
    frame[1] = 5
    history.push(frame)
    _, averages = history.push(frame)
    assert (averages[0, 0] == 0).all()
    assert (averages[1, 0] == 5).all()


def test_a_foreign_frame_is_neither_given_memories_nor_remembered():
    history, other, tissue = (
        MotionCompensatedHistory(GAINS, 1, (SIDE, SIDE)),
        MotionCompensatedHistory(GAINS, 1, (SIDE, SIDE)),
        scene(1),
    )
    for n in range(15):
        history.push(views(noisy(at(tissue), n)))
        other.push(views(noisy(at(tissue), n)))
    motion, averages = history.push(views(DARK))
    assert motion.status == "foreign"
    assert not averages.any()
    other.skip(1)
    frame = views(noisy(at(tissue), 99))
    assert np.array_equal(history.push(frame)[1], other.push(frame)[1])


def test_another_place_is_remembered_within_a_second_of_its_coming():
    history = MotionCompensatedHistory(GAINS, 1, (SIDE, SIDE))
    for n in range(20):
        history.push(views(noisy(at(scene(1)), n)))
    for n in range(30):
        _, averages = history.push(views(noisy(at(scene(3)), 100 + n)))
    inner = np.s_[8:-8, 8:-8]
    new, old = (np.corrcoef(averages[0, 1][inner].ravel(), at(scene(s))[inner].ravel())[0, 1] for s in (3, 1))
    assert new > 0.8
    assert old < 0.3


def test_drift_beyond_the_margin_loses_nothing():
    history, tissue = MotionCompensatedHistory((0.2,), 1, (SIDE, SIDE)), scene(2, room=60)
    for n in range(130):
        motion, averages = history.push(views(noisy(at(tissue, n / 4, 0, room=60), n)))
    assert motion.dy == pytest.approx(129 / 4, abs=1.5)  # from where the first frame lay, not from the moved origin
    assert motion.dy > MARGIN
    assert (averages[0, -1] > 0)[8:-8, 8:-8].all()
    inner = np.s_[12:-12, 12:-12]
    true = at(tissue, 129 / 4, 0, room=60)[inner]
    assert np.corrcoef(averages[0, 0][inner].ravel(), true.ravel())[0, 1] > 0.7


def test_reset_forgets_all():
    history = MotionCompensatedHistory(GAINS, 1, (SIDE, SIDE))
    frames = [views(noisy(at(scene(1)), n)) for n in range(10)]
    first = [history.push(frame)[1] for frame in frames]
    history.reset()
    assert all(np.array_equal(history.push(frame)[1], before) for frame, before in zip(frames, first, strict=True))


@pytest.mark.parametrize("rows", ["all", "even", "odd", "none"])
def test_the_inputs_stand_in_their_order(rows):
    view = np.full((4, 6), 7, np.float32)
    averages = np.stack([np.full((4, 6), n, np.float32) for n in (1, 2, 0.5)])
    averages[:, 1, 2] = 0
    inputs = network_inputs(view, averages, rows)
    shown = {"all": [1, 1, 1, 1], "even": [1, 0, 1, 0], "odd": [0, 1, 0, 1], "none": [0, 0, 0, 0]}[rows]
    assert inputs[1, :, 0].tolist() == shown
    assert np.array_equal(inputs[0], 7 * inputs[1])
    assert inputs[2:, 0, 0].tolist() == [0.5, 1, 2]
    assert inputs[2:, 1, 2].tolist() == [0, 7 * shown[1], 7 * shown[1]]


def test_lines_that_are_masked_never_show():
    view, averages = np.random.default_rng(0).standard_normal((2, 4, 6), np.float32), np.zeros((3, 4, 6), np.float32)
    other = view[0].copy()
    other[1::2] += 5
    assert np.array_equal(network_inputs(view[0], averages, "even"), network_inputs(other, averages, "even"))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_images_are_averaged(count):
    images = np.random.default_rng(0).standard_normal((2, count, 5, 7), np.float32)
    assert np.allclose(mean_views(images), images.mean(axis=1), atol=1e-6)
