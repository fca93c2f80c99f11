from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deepbid_rt.evaluation import baselines as module
from deepbid_rt.evaluation.baselines import best_linear, exponential_average, gaussian, rolling_mean, tune_gaussian
from deepbid_rt.evaluation.dynamics import dynamics
from deepbid_rt.evaluation.movie import MovieReader
from deepbid_rt.evaluation.paper import agreement

RAW = np.random.default_rng(6).poisson(20, (75, 2, 9, 7)).astype(np.uint8)
CLEAN = gaussian_filter(RAW.astype(float), (1, 0, 1, 1))


def whole(movie: MovieReader) -> np.ndarray:
    return movie.read(0, movie.shape[0])


def every_filter() -> list[MovieReader]:
    return [rolling_mean(RAW, 8), exponential_average(RAW, 3), gaussian(RAW, 0, 2), best_linear(RAW, CLEAN)]


def test_rolling_mean_uses_earlier_frames_only() -> None:
    done = whole(rolling_mean(RAW, 8))
    np.testing.assert_allclose(done[40], RAW[33:41].mean(0))
    np.testing.assert_allclose(done[2], (6 * RAW[0].astype(float) + RAW[1] + RAW[2]) / 8)
    np.testing.assert_allclose(whole(rolling_mean(RAW, 1)), RAW)


def test_exponential_average_equals_the_recursion() -> None:
    level = RAW[0].astype(float)
    keep = np.exp(-1 / 4)
    for frame in RAW[1:]:
        level = keep * level + (1 - keep) * frame
    np.testing.assert_allclose(whole(exponential_average(RAW, 4.0))[-1], level, rtol=1e-3)


def test_gaussian_equals_scipys_filter_of_the_whole_movie() -> None:
    np.testing.assert_allclose(
        whole(gaussian(RAW, 1.2, 2.0)), gaussian_filter(RAW.astype(float), (2.0, 0, 1.2, 1.2), mode="nearest")
    )


@pytest.mark.parametrize("block", [1, 7, 200])
def test_the_block_size_does_not_change_the_result(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [whole(movie) for movie in every_filter()]
    monkeypatch.setattr(module, "_BLOCK", block)
    for movie, all_at_once in zip(every_filter(), expected, strict=True):
        np.testing.assert_allclose(movie.read(30, 71), all_at_once[30:71])
        np.testing.assert_allclose(movie.read(3, 4), all_at_once[3:4])


def test_the_best_gaussian_is_about_as_wide_as_the_detail() -> None:
    rng = np.random.default_rng(7)
    truth = 100 * gaussian_filter(rng.normal(0, 1, (60, 1, 32, 32)), (0.7, 0, 2, 2), mode="wrap")
    raw = truth + rng.normal(0, 10, truth.shape)
    tuned = tune_gaussian(raw, truth)
    assert 1.0 <= tuned.sigma_xy <= 2.5
    assert tuned.sigma_t <= 1.0
    filtered = whole(gaussian(raw, tuned.sigma_xy, tuned.sigma_t))
    assert tuned.correlation == pytest.approx(agreement(filtered, truth)["correlation_xyt"], abs=1e-3)
    clean = tune_gaussian(truth, truth)
    assert (clean.sigma_xy, clean.sigma_t) == (0, 0)
    assert clean.correlation == pytest.approx(1)


def r(movie: MovieReader | np.ndarray, truth: np.ndarray) -> float:
    return agreement(movie, truth)["correlation_xyt"]


@pytest.mark.parametrize("noise", [0.5, 2.0, 8.0])
def test_the_best_linear_filter_is_the_best_of_all_filters(noise: float) -> None:
    rng = np.random.default_rng(int(noise))
    truth = 300 + 100 * gaussian_filter(rng.normal(0, 1, (48, 1, 40, 44)), (1.2, 0, 1.5, 1.5), mode="wrap")
    raw = truth + rng.normal(0, noise * truth.std(), truth.shape)
    best = best_linear(raw, truth)
    tuned = tune_gaussian(raw, truth)
    for other in (
        raw,
        rolling_mean(raw, 4),
        exponential_average(raw, 2.0),
        gaussian(raw, tuned.sigma_xy, tuned.sigma_t),
    ):
        assert r(best, truth) > r(other, truth) - 0.005
    done = whole(best)
    assert done.mean() == pytest.approx(truth.mean(), rel=0.01)  # offset and gain are those of the truth
    gain, _ = np.polyfit(done.ravel(), truth.ravel(), 1)
    assert gain == pytest.approx(1, abs=0.05)


def test_the_best_linear_filter_can_have_a_pass_band_that_no_single_gaussian_has() -> None:
    """For weak fine detail on top of strong coarse detail, the best pass band is not bell-shaped."""
    rng = np.random.default_rng(1)
    fine = 20 * rng.normal(0, 1, (48, 1, 48, 48))
    coarse = 400 * gaussian_filter(rng.normal(0, 1, (48, 1, 48, 48)), (0, 0, 5, 5), mode="wrap")
    raw = fine + coarse + rng.normal(0, 20, fine.shape)
    tuned = tune_gaussian(raw, fine + coarse)
    assert r(best_linear(raw, fine + coarse), fine + coarse) > tuned.correlation + 0.01


def test_best_linear_filter_restores_a_noise_free_movie_and_returns_the_mean_for_a_constant_one() -> None:
    movie = RAW[:, :1].astype(float)
    np.testing.assert_allclose(whole(best_linear(movie, movie)), movie, atol=1e-6)
    np.testing.assert_allclose(whole(best_linear(2 * movie + 5, movie)), movie, atol=1e-6)
    assert whole(best_linear(np.full(movie.shape, 7.0), movie)).std() < 1e-9


def test_averaging_in_time_raises_the_papers_snr_but_lowers_the_dynamic_correlation() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.uniform(1, 3, (24, 24)) + 3 * (rng.random((60, 24, 24)) < 0.02))[:, None]
    raw = rng.poisson(truth).astype(np.float64)
    mean = rolling_mean(raw, 8)
    assert agreement(mean, truth)["snr_db"] > agreement(raw, truth)["snr_db"] + 3
    assert dynamics(mean, truth)["correlation_dynamic"] < dynamics(raw, truth)["correlation_dynamic"]
