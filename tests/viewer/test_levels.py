from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from deepbid_rt.viewer.levels import SMOOTHING_S, Levels, percentile_limits, subsample

rng = np.random.default_rng(0)


def test_a_subsample_is_small_and_has_nearly_the_limits_of_the_image() -> None:
    image = rng.normal(100, 30, (512, 512)).astype(np.float32)
    pixels = subsample(image)
    assert pixels.size == 128 * 128
    whole, part = percentile_limits(image.ravel()), percentile_limits(pixels)
    assert part == pytest.approx(whole, abs=3)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=80)))
def test_limits_are_always_usable(image: np.ndarray) -> None:
    limits = percentile_limits(subsample(image))
    if limits is None:
        assert not np.isfinite(image).any()
    else:
        assert np.isfinite(limits[0])
        assert np.isfinite(1 / (limits[1] - limits[0]))


@pytest.mark.parametrize(
    "image",
    [
        np.full((1, 1), 7, np.int16),
        np.full((64, 64), 65535, np.uint16),
        np.full((64, 64), -16384, np.int16),
        np.full((8, 8), np.nan, np.float32),
    ],
    ids=["one pixel", "saturated", "sentinel", "nan"],
)
def test_images_without_contrast_still_have_usable_limits(image: np.ndarray) -> None:
    levels = Levels()
    levels.update({"raw": {0: subsample(image)}}, 0.0)
    black, white = levels.of("raw", 0)
    assert white > black


def update(levels: Levels, raw: float, denoised: float, now_s: float) -> None:
    ramp = np.linspace(0, 1, 1001, dtype=np.float32)
    levels.update({"raw": {0: ramp * raw}, "denoised": {0: ramp * denoised}}, now_s)


def test_all_pictures_share_the_limits_of_the_denoised_one_by_default() -> None:
    levels = Levels()
    update(levels, 1000, 100, 0.0)
    assert levels.of("raw", 0) == levels.of("denoised", 0) == pytest.approx((1, 99.7), abs=0.1)
    levels.independent = True
    assert levels.of("raw", 0) == pytest.approx((10, 997), abs=1)
    assert levels.of("denoised", 0) == pytest.approx((1, 99.7), abs=0.1)


def test_limits_follow_slowly() -> None:
    levels = Levels()
    update(levels, 100, 100, 0.0)
    update(levels, 200, 200, SMOOTHING_S)
    assert levels.of("raw", 0)[1] == pytest.approx(99.7 * (1 + 1 - np.exp(-1)), rel=1e-3)
    for n in range(1, 60):
        update(levels, 200, 200, SMOOTHING_S + n)
    assert levels.of("raw", 0)[1] == pytest.approx(199.4, rel=1e-3)


def test_locked_limits_stay_even_through_a_new_series() -> None:
    levels = Levels()
    update(levels, 100, 100, 0.0)
    levels.locked = True
    kept = levels.of("raw", 0)
    update(levels, 900, 900, 10.0)
    levels.reset()
    update(levels, 900, 900, 20.0)
    assert levels.of("raw", 0) == kept
    assert "locked" in levels.describe(0)
    levels.automatic()
    update(levels, 900, 900, 40.0)
    assert levels.of("raw", 0) != kept


def test_manual_limits_apply_to_all_pictures_until_automatic() -> None:
    levels = Levels()
    update(levels, 100, 50, 0.0)
    levels.set_manual(0, 5, 5)
    update(levels, 100, 50, 1.0)
    assert levels.of("raw", 0) == levels.of("denoised", 0)
    assert levels.of("raw", 0)[0] == 5 < levels.of("raw", 0)[1]
    assert "manual" in levels.describe(0)
    levels.automatic()
    assert levels.of("raw", 0)[1] > 40


def test_a_new_series_does_not_use_the_limits_of_the_last() -> None:
    levels = Levels()
    update(levels, 100, 100, 0.0)
    levels.reset()
    update(levels, 900, 900, 0.01)
    assert levels.of("raw", 0)[1] == pytest.approx(897.3, abs=1)
