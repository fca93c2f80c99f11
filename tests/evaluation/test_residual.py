from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.residual import ResidualCorrelation, residual_correlation

RNG = np.random.default_rng(8)
NOISE = RNG.normal(0, 5, (200, 1, 12, 14))
TRUTH = np.broadcast_to(RNG.uniform(100, 900, (1, 1, 12, 14)), NOISE.shape)


def test_removed_white_noise_has_no_correlation() -> None:
    found = residual_correlation(TRUTH + NOISE, TRUTH)
    assert np.abs([*found.t, found.y, found.x]).max() < 0.03


def test_removed_signal_is_correlated() -> None:
    slow = np.sin(np.arange(200) / 8)[:, None, None, None] * 20
    found = residual_correlation(TRUTH + NOISE + slow, TRUTH)
    whole = NOISE + slow - (NOISE + slow).mean(0)
    assert found.t[1] == pytest.approx((whole[2:] * whole[:-2]).mean() / (whole**2).mean(), abs=1e-9)
    assert found.y == pytest.approx((whole[:, :, 1:] * whole[:, :, :-1]).mean() / (whole**2).mean(), abs=1e-9)
    assert min(found.t) > 0.7
    assert residual_correlation(TRUTH, TRUTH) == ResidualCorrelation([0.0] * 4, 0.0, 0.0)


def test_refuses_movies_with_fewer_frames_than_lags() -> None:
    with pytest.raises(StreamError, match="movies of 4 frames for lags up to 4"):
        residual_correlation(TRUTH[:4], TRUTH[:4])
