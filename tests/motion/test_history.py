"""`MotionCompensatedHistory`: averages follow the tissue, also with foreign frames, drift and gaps."""

import numpy as np
import pytest

from deepbid_rt.denoising.network_inputs import network_inputs
from deepbid_rt.motion.history import MotionCompensatedHistory, mean_views
from deepbid_rt.motion.temporal_averages import MARGIN
from tests.motion.test_rigid import DARK, SIDE, at, noisy, scene

GAINS = (0.3, 0.1)


def views(image, channels=1, count=2):
    return np.broadcast_to(image, (channels, count, *image.shape)).copy()


def test_the_first_frame_gets_empty_averages():
    motion, averages = MotionCompensatedHistory(GAINS, 2, (SIDE, SIDE)).push(views(noisy(at(scene()), 0), 2))
    assert motion.status == "restarted"
    assert averages.shape == (2, 3, SIDE, SIDE)
    assert not averages.any()


def test_averages_contain_frames_before_the_current_one_only():
    """The current frame changes its averages only through its motion, and these frames are too small for motion."""
    history, other = (MotionCompensatedHistory(GAINS, 1, (16, 16)) for _ in range(2))
    rng = np.random.default_rng(0)
    for _ in range(5):
        frame = rng.standard_normal((1, 2, 16, 16), np.float32)
        history.push(frame)
        other.push(frame)
    assert np.array_equal(history.push(frame)[1], other.push(frame + 1)[1])


def test_averages_move_with_the_tissue():
    history, tissue = MotionCompensatedHistory(GAINS, 1, (SIDE, SIDE)), scene(1)
    rng = np.random.default_rng(0)
    for n in range(60):
        dy, dx = rng.normal(0, 2, 2)
        _, averages = history.push(views(noisy(at(tissue, dy, dx), n)))
    inner = np.s_[12:-12, 12:-12]
    right = np.corrcoef(averages[0, 1][inner].ravel(), at(tissue, dy, dx)[inner].ravel())[0, 1]
    wrong = np.corrcoef(averages[0, 1][inner].ravel(), at(tissue, dy + 4, dx)[inner].ravel())[0, 1]
    assert right > 0.9 > wrong


def test_still_tissue_is_averaged_up_to_the_border():
    """Its estimated shifts are some hundredths of a pixel, at which lines at the border lack a sample."""
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


def test_channels_share_the_motion_and_have_separate_averages():
    history = MotionCompensatedHistory(GAINS, 2, (16, 16))
    frame = np.zeros((2, 1, 16, 16), np.float32)
    frame[1] = 5
    history.push(frame)
    _, averages = history.push(frame)
    assert (averages[0, 0] == 0).all()
    assert (averages[1, 0] == 5).all()


def test_a_foreign_frame_gets_no_averages_and_is_not_averaged_in():
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


def test_a_new_place_is_in_the_averages_within_a_second():
    history = MotionCompensatedHistory(GAINS, 1, (SIDE, SIDE))
    for n in range(20):
        history.push(views(noisy(at(scene(1)), n)))
    for n in range(30):
        _, averages = history.push(views(noisy(at(scene(3)), 100 + n)))
    inner = np.s_[8:-8, 8:-8]
    new, old = (np.corrcoef(averages[0, 1][inner].ravel(), at(scene(s))[inner].ravel())[0, 1] for s in (3, 1))
    assert new > 0.8
    assert old < 0.3


def test_averages_follow_a_drift_beyond_the_margin():
    history, tissue = MotionCompensatedHistory((0.2,), 1, (SIDE, SIDE)), scene(2, room=60)
    for n in range(130):
        motion, averages = history.push(views(noisy(at(tissue, n / 4, 0, room=60), n)))
    assert motion.dy == pytest.approx(129 / 4, abs=1.5)  # relative to the first frame, not to the moved origin
    assert motion.dy > MARGIN
    assert (averages[0, -1] > 0)[8:-8, 8:-8].all()
    inner = np.s_[12:-12, 12:-12]
    true = at(tissue, 129 / 4, 0, room=60)[inner]
    assert np.corrcoef(averages[0, 0][inner].ravel(), true.ravel())[0, 1] > 0.7


def test_a_reset_forgets_all_frames():
    history = MotionCompensatedHistory(GAINS, 1, (SIDE, SIDE))
    frames = [views(noisy(at(scene(1)), n)) for n in range(10)]
    first = [history.push(frame)[1] for frame in frames]
    history.reset()
    assert all(np.array_equal(history.push(frame)[1], before) for frame, before in zip(frames, first, strict=True))


@pytest.mark.parametrize("visible", ["all", "even", "odd", "none"])
def test_the_input_has_its_images_in_order(visible):
    view = np.full((4, 6), 7, np.float32)
    averages = np.stack([np.full((4, 6), n, np.float32) for n in (1, 2, 0.5)])
    averages[:, 1, 2] = 0
    inputs = network_inputs(view, averages, visible)
    shown = {"all": [1, 1, 1, 1], "even": [1, 0, 1, 0], "odd": [0, 1, 0, 1], "none": [0, 0, 0, 0]}[visible]
    assert inputs[1, :, 0].tolist() == shown
    assert np.array_equal(inputs[0], 7 * inputs[1])
    assert inputs[2:, 0, 0].tolist() == [0.5, 1, 2]
    assert inputs[2:, 1, 2].tolist() == [0, 7 * shown[1], 7 * shown[1]]


def test_masked_lines_are_not_in_the_input():
    view, averages = np.random.default_rng(0).standard_normal((2, 4, 6), np.float32), np.zeros((3, 4, 6), np.float32)
    other = view[0].copy()
    other[1::2] += 5
    assert np.array_equal(network_inputs(view[0], averages, "even"), network_inputs(other, averages, "even"))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_views_are_averaged(count):
    images = np.random.default_rng(0).standard_normal((2, count, 5, 7), np.float32)
    assert np.allclose(mean_views(images), images.mean(axis=1), atol=1e-6)
