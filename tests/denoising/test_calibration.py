import dataclasses

import numpy as np
import pytest

from deepbid_rt.card import Normalization
from deepbid_rt.denoising.calibration import SMALLEST_BIAS, Calibration, calibration_frames
from deepbid_rt.denoising.network_inputs import pad, padded_size
from deepbid_rt.scan.normalizer import calibrate
from tests.fakes import WINDOW_CARD


def measured(seed: int = 0) -> tuple[Calibration, np.ndarray]:
    """A complete calibration, and the frames (T, C, V, Y, X) it was measured on."""
    frames = np.random.default_rng(seed).normal(100, 30, (WINDOW_CARD.normalization.frames, 1, 2, 8, 8))
    frames = frames.astype(np.float32)
    calibration = Calibration(WINDOW_CARD, 1)
    ready = [done for plane_frame, frame in enumerate(frames) for done in calibration.push(plane_frame, frame)]
    assert [plane_frame for plane_frame, _ in ready] == list(range(len(frames)))
    return calibration, frames


def test_it_measures_once_on_the_number_of_frames_in_the_card():
    calibration, frames = measured()
    assert calibration.normalizers == (calibrate(frames[:, 0]),)
    assert len(calibration.push(99, frames[0] * 1000)) == 1
    assert calibration.normalizers == (calibrate(frames[:, 0]),)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("share", "corrected"), [(0.9, False), (1.1, True)])
def test_only_a_bias_above_the_limit_is_subtracted(sign, share, corrected):
    calibration, frames = measured()
    error = sign * share * SMALLEST_BIAS
    units = calibration.apply(frames[3])[None]
    (normalizer,) = calibration.normalizers
    counts = calibration.restore(units + np.float32(error), np.array([error]), 4)
    left = 0.0 if corrected else error * normalizer.scale
    assert np.allclose(counts[0] - frames[3], left, atol=1e-3)
    # The bias of the first frames holds for the whole series.
    again = calibration.restore(calibration.apply(frames[3])[None], np.array([0.0]), 5)
    assert np.allclose(again[0] - frames[3], -error * normalizer.scale if corrected else 0.0, atol=1e-3)


def test_padding_is_mirrored():
    image = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert padded_size((2, 3), 4) == (4, 4)
    assert np.array_equal(pad(image, 4), np.pad(image, [(0, 2), (0, 1)], mode="symmetric"))
    assert pad(image, 1) is image


@pytest.mark.parametrize(("rule", "offset"), [("mean", np.mean), ("minimum", np.min)])
def test_the_rules_mean_and_minimum_measure_the_offset_only(rule, offset):
    card = dataclasses.replace(WINDOW_CARD, normalization=Normalization(rule=rule, frames=4, scale=2.0))
    calibration = Calibration(card, 2)
    frames = np.random.default_rng(0).normal(100, 30, (4, 2, 1, 8, 8)).astype(np.float32)
    for plane_frame, frame in enumerate(frames):
        calibration.push(plane_frame, frame)
    for channel, normalizer in enumerate(calibration.normalizers):
        assert normalizer.offset == pytest.approx(offset(frames[:, channel]), rel=1e-5)
        assert normalizer.scale == 2.0


@pytest.mark.parametrize(("planes", "frames"), [(1, 16), (2, 8), (3, 6), (4, 4), (100, 4)])
def test_planes_share_the_frames_that_are_waited_for(planes, frames):
    card = dataclasses.replace(WINDOW_CARD, normalization=Normalization(frames=16))
    assert calibration_frames(card, planes) == frames
    calibration = Calibration(card, 1, planes)
    counts = np.random.default_rng(0).normal(100, 30, (1, 1, 8, 8)).astype(np.float32)
    waited = [len(calibration.push(n, counts)) for n in range(frames + 1)]
    assert waited == [0] * (frames - 1) + [frames, 1]


def test_a_card_that_asks_for_fewer_frames_gets_them():
    assert calibration_frames(dataclasses.replace(WINDOW_CARD, normalization=Normalization(frames=2)), 3) == 2


def test_pixels_without_a_measurement_are_not_calibrated_on():
    frames = np.random.default_rng(0).normal(100, 30, (WINDOW_CARD.normalization.frames, 1, 1, 16, 16))
    missing = np.zeros((1, 1, 16, 16), bool)
    missing[..., 4:] = True
    filled = np.where(missing, 7, np.rint(frames)).astype(np.int16)
    calibration = Calibration(WINDOW_CARD, 1)
    for n, frame in enumerate(filled):
        ready = calibration.push(n, frame, missing)
    (normalizer,) = calibration.normalizers
    assert normalizer.offset == pytest.approx(100, abs=4)  # not 30
    assert normalizer.scale == pytest.approx(30, rel=0.1)
    assert np.array_equal(ready[3][1], filled[3])  # the frames themselves keep what fills them
