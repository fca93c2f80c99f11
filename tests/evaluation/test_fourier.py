from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter1d

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.baselines import exponential_average
from deepbid_rt.evaluation.fourier import compare_rings, next_frame_cutoff, sharpness, split_half_cutoff


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return np.random.default_rng(2).normal(500, 100, (6, 1, 64, 48))


def blurred(movie: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(movie, (0, 0, sigma, sigma), mode="wrap")


def test_curves_follow_the_formulas(truth: np.ndarray) -> None:
    other = truth + np.random.default_rng(3).normal(0, 80, truth.shape)
    curves = compare_rings(other, truth)
    window = np.outer(np.hanning(66)[1:-1], np.hanning(50)[1:-1])
    fx, fy = (np.fft.fft2((m - m.mean((2, 3), keepdims=True))[:, 0] * window) for m in (other, truth))
    radius = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(48)[None]) * 48
    for i in (0, 7, 20):
        ring = np.abs(radius - (i + 1)) < 0.5
        a, b = fx[:, ring], fy[:, ring]
        expected = (a * b.conj()).sum().real / np.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum())
        assert curves.correlation[i] == pytest.approx(expected, abs=0.02)  # rfft2 counts its border once
    np.testing.assert_allclose(curves.frequency, np.arange(1, 25) / 48)


def test_sharpness_of_the_truth_is_0_5_and_of_unrelated_movies_0(truth: np.ndarray) -> None:
    assert sharpness(truth, truth) == {"sharpness": 0.5, "frc_cutoff": 0.5, "transfer_cutoff": 0.5}
    assert sharpness(-truth, truth)["sharpness"] == 0.0
    assert sharpness(np.zeros(truth.shape), truth)["sharpness"] == 0.0


@pytest.mark.parametrize("sigma", [0.8, 1.5, 2.5])
def test_sharpness_detects_a_blur_that_the_ring_correlation_does_not(truth: np.ndarray, sigma: float) -> None:
    scores = sharpness(blurred(truth, sigma), truth)
    half = np.sqrt(np.log(2) / 2) / (np.pi * sigma)  # exp(-2 (pi sigma f)^2) = 1/2
    assert scores["transfer_cutoff"] == pytest.approx(half, abs=0.02)
    assert scores["sharpness"] == scores["transfer_cutoff"]
    assert scores["frc_cutoff"] > 1.5 * half


def test_noise_lowers_the_frc_cutoff_as_theory_predicts() -> None:
    """The ring correlation with the truth is 1 / sqrt(1 + noise power / signal power)."""
    rng = np.random.default_rng(4)
    signal = blurred(rng.normal(0, 1, (40, 1, 64, 64)), 2.0)
    noise = 0.1
    frequency = np.arange(1, 33) / 64
    power = np.exp(-4 * (np.pi * 2.0 * frequency) ** 2)
    expected = frequency[1 / np.sqrt(1 + noise**2 / power) < 1 / 7][0]
    scores = sharpness(signal + rng.normal(0, noise, signal.shape), signal)
    assert scores["frc_cutoff"] == pytest.approx(expected, abs=0.03)
    assert scores["transfer_cutoff"] > scores["frc_cutoff"]


def test_split_half_cutoff_rises_with_the_number_of_frames() -> None:
    rng = np.random.default_rng(5)
    still = blurred(rng.normal(0, 1, (1, 1, 64, 64)), 2.0)
    few, many = (still + rng.normal(0, 0.3, (n, 1, 64, 64)) for n in (4, 400))
    assert 0 < split_half_cutoff(few) < split_half_cutoff(many) < 0.5
    assert split_half_cutoff(rng.normal(0, 1, (4, 1, 64, 64))) < 0.1


@pytest.mark.parametrize("noise", [0.3, 0.8])
def test_the_estimate_from_the_next_raw_frame_equals_that_from_the_truth_in_a_still_scene(noise: float) -> None:
    rng = np.random.default_rng(6)
    truth = np.repeat(gaussian_filter(rng.normal(0, 3.5, (96, 96)), 1.0)[None, None], 120, axis=0)
    raw = truth + rng.normal(0, noise, truth.shape)
    average, cutoffs = exponential_average(raw, 4.0), []
    for movie in (raw, average, blurred(raw, 1.0), raw + rng.normal(0, 2 * noise, raw.shape)):
        cutoffs.append(next_frame_cutoff(movie, raw))
        assert cutoffs[-1] == pytest.approx(sharpness(movie, truth)["frc_cutoff"], abs=0.05)
    plain, averaged, blur, noisier = cutoffs
    assert noisier < plain < averaged
    assert blur == pytest.approx(plain, abs=0.02)  # a ring correlation does not detect blur
    assert next_frame_cutoff(truth - truth + rng.normal(0, 1, raw.shape), raw) < 0.05


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_the_estimate_is_too_high_for_a_filter_that_used_the_next_raw_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.repeat(gaussian_filter(rng.normal(0, 3.5, (96, 96)), 1.0)[None, None], 120, axis=0)
    raw = truth + rng.normal(0, 1.3, truth.shape)
    centred = uniform_filter1d(raw, 5, axis=0)
    causal = np.concatenate([centred[:1]] * 3 + [centred[:-3]])  # the same mean, of earlier frames only
    assert next_frame_cutoff(centred, raw) > next_frame_cutoff(causal, raw)


def test_motion_between_frames_lowers_the_estimate() -> None:
    rng = np.random.default_rng(7)
    scene = gaussian_filter(rng.normal(0, 3.5, (104, 104)), 1.0)
    shifts = rng.integers(-1, 2, (120, 2)) + 4
    truth = np.stack([scene[dy : dy + 96, dx : dx + 96] for dy, dx in shifts])[:, None]
    raw = truth + rng.normal(0, 0.8, truth.shape)
    assert next_frame_cutoff(raw, raw) < sharpness(raw, truth)["frc_cutoff"] - 0.03


def test_only_some_frames_of_a_long_movie_are_read() -> None:
    frames = np.random.default_rng(8).normal(0, 1, (3, 1, 16, 16))

    class LongMovie:
        shape = (5_000, 1, 16, 16)
        read_from: ClassVar[set[int]] = set()

        def read(self, t0: int, t1: int) -> np.ndarray:
            self.read_from.add(t0)
            return frames[[t % 3 for t in range(t0, t1)]]

    next_frame_cutoff(LongMovie(), LongMovie())
    assert len(LongMovie.read_from) <= 200
    assert {0, 4999} <= LongMovie.read_from


def test_refuses_frames_that_are_too_small() -> None:
    with pytest.raises(StreamError) as info:
        compare_rings(np.zeros((2, 1, 7, 20)), np.zeros((2, 1, 7, 20)))
    assert str(info.value) == (
        "frames of 7 x 20 pixels; expected at least 8 x 8 for a ring correlation; evaluate larger frames."
    )
    one = np.zeros((1, 1, 16, 16))
    for needs_two in (split_half_cutoff, lambda movie: next_frame_cutoff(movie, movie)):
        with pytest.raises(StreamError, match="a movie of 1 frame"):
            needs_two(one)
