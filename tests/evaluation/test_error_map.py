from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.error_map import error_map

SHARP = np.random.default_rng(9).uniform(0, 1000, (48, 40))


@pytest.mark.parametrize(("alpha", "beta", "sigma"), [(1, 0, 0), (0.5, 100, 1.3), (3, -50, 2.7)])
def test_gain_offset_and_blur_are_recovered(alpha: float, beta: float, sigma: float) -> None:
    reference = alpha * gaussian_filter(SHARP, sigma, mode="nearest") + beta if sigma else alpha * SHARP + beta
    found = error_map(SHARP, reference)
    assert found.sigma == pytest.approx(sigma, abs=0.02)
    assert found.alpha == pytest.approx(alpha, rel=0.02)
    assert found.beta == pytest.approx(beta, abs=15)
    assert found.rsp > 0.999
    assert found.rse < 0.01 * reference.std() + 1


def test_the_error_map_is_bright_at_an_invented_spot() -> None:
    reference = gaussian_filter(SHARP, 2, mode="nearest")
    invented = SHARP.copy()
    invented[20:24, 10:14] += 300
    found = error_map(invented, reference)
    assert found.error[18:26, 8:16].mean() > 3 * np.delete(found.error, np.s_[14:30], 0).mean()
    assert found.rse == pytest.approx(np.sqrt((found.error**2).mean()))
    assert found.rsp < 0.98 < error_map(SHARP, reference).rsp


def test_a_constant_image_has_rsp_0() -> None:
    found = error_map(np.ones(SHARP.shape), SHARP)
    assert (found.rsp, found.alpha) == (0.0, 0.0)
    assert found.rse == pytest.approx(SHARP.std())
    with pytest.raises(StreamError, match="two finite images"):
        error_map(SHARP, SHARP[:4])
