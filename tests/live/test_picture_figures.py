"""Figures of pictures: limits, constant and broken pixels, noise, structure, flicker."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deepbid_rt.live.picture_figures import MOST_PIXELS, PictureSample, look_at
from tests.live.pictures import scene, shots


@pytest.mark.parametrize(
    ("dtype", "limit"), [("<u2", 4095), ("<u2", 8191), ("<i2", 16383), ("<f4", 4095), ("<i2", 3847)]
)
def test_pixels_at_an_upper_limit_are_saturated_wherever_it_is(dtype: str, limit: int) -> None:
    bright = limit / 40.5 * shots(scene() * 20)[0, 0]
    image = np.minimum(bright, limit).astype(dtype)
    look = look_at(image)
    assert look.highest == limit
    assert look.saturated == np.mean(bright >= limit) > 0.01
    assert look_at(bright.astype("<f4")).saturated == 0


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2"])
def test_the_largest_value_of_the_type_is_a_limit_for_a_single_pixel(dtype: str) -> None:
    image = shots(scene())[0, 0].astype(dtype)
    image[3, 4] = np.iinfo(dtype).max
    assert look_at(image).saturated == 1 / image.size


def test_counted_photons_are_not_cut_off_and_have_no_upper_limit() -> None:
    image = np.random.default_rng(0).poisson(0.05, (128, 128)).astype("<u2")
    assert (look_at(image).saturated, look_at(image).cut_off) == (0, 0)
    gained = 244 * np.random.default_rng(0).poisson(0.3, (128, 128)).astype("<u2")
    assert (look_at(gained).saturated, look_at(gained).cut_off) == (0, 0)


def test_an_offset_below_0_is_cut_off() -> None:
    image = np.maximum(np.random.default_rng(0).normal(-20, 100, (128, 128)), 0).astype("<u2")
    look = look_at(image)
    assert look.cut_off == np.mean(image == 0) > 0.5
    assert look_at(image.astype(np.int16) - 500).cut_off == look.cut_off


def test_pixels_that_are_not_finite_or_absurdly_large_are_counted_and_left_out() -> None:
    image = shots(scene())[0, 0].astype("<f4")
    image[0, :4] = np.nan, np.inf, -np.inf, 3e38
    look = look_at(image)
    assert look.not_finite == pytest.approx(4 / image.size)
    assert look.highest == image[1:].max()


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_picture_has_no_limits(value: int) -> None:
    look = look_at(np.full((64, 64), value, "<u2"))
    assert look.constant
    assert (look.saturated, look.cut_off) == (0, 0)
    assert look_at(np.full((64, 64), np.nan, "<f4")).constant


def test_a_large_picture_is_looked_at_in_part() -> None:
    image = np.zeros((4096, 1024), "<u2")
    image[::2] = 65535  # every line of one scan direction
    assert image.size > MOST_PIXELS
    look = look_at(image)
    assert look.highest == 65535
    assert look.saturated == pytest.approx(0.5, abs=0.01)


def block_of(movie: NDArray[np.float64], dtype: str = "<f4"):
    sample = PictureSample(movie.shape[1:])
    for image in movie:
        sample.push(image.astype(dtype))
    return sample.take()


@pytest.mark.parametrize("size", [(128, 96), (512, 512), (10, 7), (1, 200), (1, 1)])
def test_noise_and_mean_are_measured_at_any_size(size: tuple[int, int]) -> None:
    block = block_of(np.random.default_rng(1).normal(100, 10, (200, *size)))
    assert block.mean == pytest.approx(100, abs=3)
    assert block.noise == pytest.approx(10, rel=0.15)
    if min(size) > 1:
        assert block.structure < 2
        assert 0.5 < block.flicker_ratio < 2


def test_structure_is_what_stays() -> None:
    still = scene()
    block = block_of(100 * shots(still, 16)[:, 0])
    assert block.structure == pytest.approx(100 * still[::2, ::2].std(), rel=0.1)


def test_a_flickering_laser_shows_and_motion_does_not() -> None:
    still = scene() * 3
    rng = np.random.default_rng(2)
    flickering = np.stack([shots(still * gain)[0, 0] for gain in 1 + 0.05 * rng.standard_normal(40)])
    moving = np.stack(
        [shots(np.roll(still, shift, (0, 1)), seed=n)[0, 0] for n, shift in enumerate(rng.integers(-3, 4, (40, 2)))]
    )
    assert block_of(flickering).flicker_ratio > 4
    assert block_of(flickering).flicker_memory < -0.2
    assert block_of(flickering).relative_flicker == pytest.approx(0.05, rel=0.4)
    assert block_of(moving).flicker_ratio < 4


def test_broken_pixels_do_not_enter_the_sample() -> None:
    movie = np.random.default_rng(1).normal(100, 10, (16, 64, 64))
    movie[::3, 0, :8] = np.nan
    movie[5, 1, 1] = 3e38
    block = block_of(movie)
    assert block.mean == pytest.approx(100, abs=1)
    assert block.noise == pytest.approx(10, rel=0.1)


def test_an_equal_picture_is_told() -> None:
    first, second = shots(scene(), 2)[:, 0]
    sample = PictureSample(first.shape)
    assert [sample.push(image) for image in (first, first, second, second)] == [False, True, False, True]
