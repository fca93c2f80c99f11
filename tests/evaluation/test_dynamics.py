from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.dynamics import AFFINE_LIMIT_DB, affine_snr_db, dynamics
from deepbid_rt.evaluation.paper import agreement


@pytest.fixture(scope="module")
def movies() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    truth = 50 * rng.gamma(2, 1, (13, 2, 6, 9)) + rng.uniform(100, 900, (2, 6, 9))
    return truth + rng.normal(0, 60, truth.shape), truth


def r(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_metrics_follow_the_formulas(movies: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = movies
    scores = dynamics(x, y)
    assert scores["snr_affine_db"] == pytest.approx(-10 * np.log10(1 - r(x, y) ** 2), abs=1e-9)
    assert scores["correlation_dynamic"] == pytest.approx(r(x - x.mean(0), y - y.mean(0)), abs=1e-9)
    xt = [r(x[:, c, line], y[:, c, line]) for c in range(2) for line in range(6)]
    yt = [r(x[:, c, :, column], y[:, c, :, column]) for c in range(2) for column in range(9)]
    assert scores["correlation_xt"] == pytest.approx(np.mean(xt), abs=1e-9)
    assert scores["correlation_yt"] == pytest.approx(np.mean(yt), abs=1e-9)


def test_affine_snr_is_the_snr_after_the_best_gain_and_offset(movies: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = movies
    gain, offset = np.polyfit(x.ravel(), y.ravel(), 1)
    left = y - gain * x - offset
    assert dynamics(x, y)["snr_affine_db"] == pytest.approx(10 * np.log10(y.var() / left.var()), abs=1e-9)
    assert dynamics(3 * x - 70, y)["snr_affine_db"] == pytest.approx(dynamics(x, y)["snr_affine_db"], abs=1e-9)
    assert affine_snr_db(0.0) == 0.0
    assert affine_snr_db(1.0) == affine_snr_db(-1.0) == AFFINE_LIMIT_DB


@pytest.mark.parametrize("level", [0.0, 0.1, 33_000.3])
def test_a_frozen_picture_has_no_dynamics(movies: tuple[np.ndarray, np.ndarray], level: float) -> None:
    _, y = movies
    frozen = np.broadcast_to(y.mean(0) + level, y.shape)
    assert dynamics(frozen, y)["correlation_dynamic"] == 0.0
    assert dynamics(np.full(y.shape, level), y)["correlation_xt"] == 0.0
    assert dynamics(y, y)["correlation_dynamic"] == pytest.approx(1)


def test_a_frozen_picture_raises_the_papers_snr() -> None:
    """The mean frame, repeated, gains as much SNR by the paper's formula as denoising, and shows no event."""
    rng = np.random.default_rng(0)
    still = rng.uniform(1, 3, (24, 24))
    events = rng.random((60, 24, 24)) < 0.02
    truth = (still + 3 * events)[:, None]
    raw = rng.poisson(truth).astype(np.float64)
    frozen = np.broadcast_to(raw.mean(0), raw.shape)
    assert agreement(frozen, truth)["snr_db"] > agreement(raw, truth)["snr_db"] + 5
    assert agreement(frozen, truth)["correlation_xyt"] > agreement(raw, truth)["correlation_xyt"]
    assert dynamics(frozen, truth)["correlation_dynamic"] == 0.0
    assert dynamics(raw, truth)["correlation_dynamic"] > 0.2


def test_refuses_different_shapes() -> None:
    with pytest.raises(StreamError, match="to compare with one of"):
        dynamics(np.zeros((3, 1, 4, 4)), np.zeros((4, 1, 4, 4)))
