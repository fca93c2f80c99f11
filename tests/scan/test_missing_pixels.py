"""Pixels without a measurement: what is taken for one, and what fills it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_opening

from deepbid_rt.scan.missing_pixels import (
    SENTINEL,
    MissingPixels,
    blank_columns,
    covered,
    masked_region,
    spread,
    stuck_pixels,
    unmeasured,
)

SIDE = 128
Y, X = np.mgrid[:SIDE, :SIDE]
CORNERS = np.hypot(Y - SIDE / 2, X - SIDE / 2) > SIDE / 2


def noise(photons, seed=0, shape=(SIDE, SIDE)):
    """Photon counts with structure, as int16 counts of 100 a photon."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    rate = photons * (1 + 0.8 * np.sin(x / 9) * np.sin(y / 7))
    return (100 * np.random.default_rng(seed).poisson(rate)).astype("<i2")


def nowhere(image):
    return np.zeros(image.shape, bool)


@pytest.mark.parametrize("photons", [0.001, 0.01, 0.1, 0.3, 1, 3, 30])
def test_photon_noise_has_no_masked_region_and_no_stuck_pixel(photons):
    for seed in range(5):
        image = noise(photons, seed)
        assert not masked_region(image, nowhere(image)).any()
        assert not blank_columns(image).any()
        assert not stuck_pixels(image, nowhere(image)).any()
        assert MissingPixels((1, SIDE, SIDE)).push(image[None]).missing is None


@pytest.mark.parametrize("photons", [0.3, 1, 3, 30])
@pytest.mark.parametrize("value", [0, -620, 33])
def test_the_corners_of_a_round_field_are_found(photons, value):
    missing = MissingPixels((1, SIDE, SIDE))
    for seed in range(30):
        image = noise(photons, seed)
        image[CORNERS] = value
        missing.push(image[None])
    found = missing.masked.where[0]
    assert found[CORNERS].mean() > 0.9
    assert found[~CORNERS].mean() < 0.01
    assert not found[40:88, 40:88].any()


def test_frames_come_back_whole_and_the_corners_are_known_to_be_masked():
    missing = MissingPixels((1, SIDE, SIDE))
    for seed in range(8):
        image = noise(3, seed)
        image[CORNERS] = -5
        frame = missing.push(image[None])
        assert np.array_equal(frame.pixels[~frame.missing], image[None][~frame.missing])
        assert (missing.masked.counts[missing.masked.where] == -5).all()
    assert np.array_equal(frame.missing, missing.masked.where)
    # The continuation of the tissue: of its brightness, without the step of 300 counts.
    assert frame.pixels[0][CORNERS].mean() == pytest.approx(300, abs=80)


def test_what_is_measured_later_is_not_masked_any_more():
    missing, images = MissingPixels((1, SIDE, SIDE)), [noise(3, seed)[None] for seed in range(6)]
    images[0][..., :40] = 0  # a shutter that opens within the first frame
    missing.push(images[0])
    assert missing.masked.where[..., :40].all()
    frame = missing.push(images[1])
    assert (frame.pixels == images[1]).mean() > 0.96
    for image in images[2:]:
        frame = missing.push(image)
    assert missing.masked is None
    assert np.array_equal(frame.pixels, images[-1])


def test_uniform_frames_tell_nothing():
    missing, images = MissingPixels((1, SIDE, SIDE)), [noise(3, seed)[None] for seed in range(3)]
    for image in images:
        image[0][CORNERS] = 0
    dark = np.zeros_like(images[0])
    assert missing.push(dark).missing is None
    missing.push(images[0])
    before = missing.masked.where.sum()
    missing.push(dark + 7)
    missing.push(images[1])
    assert missing.masked.where.sum() > 0.98 * before > 0


@pytest.mark.parametrize("parity", [0, 1])
def test_blanked_columns_of_one_scan_direction_are_found(parity):
    image = noise(3)
    image[parity::2, :5] = 8191
    image[parity::2, -3:] = 0
    found = blank_columns(image)
    expected = nowhere(image)
    expected[parity::2, :5] = expected[parity::2, -3:] = True
    assert np.array_equal(found, expected)


def test_a_stuck_pixel_is_replaced_until_its_count_changes():
    missing = MissingPixels((1, SIDE, SIDE))
    for seed in range(3):
        image = noise(1, seed)
        image[50, 70] = 32767
        frame = missing.push(image[None])
        assert frame.pixels[0, 50, 70] < 1000
        assert missing.stuck_pixels == frame.missing.sum() == 1
        assert missing.masked is None
    image = noise(1, 9)
    image[50, 70] = 500
    assert np.array_equal(missing.push(image[None]).pixels[0], image)
    assert missing.stuck_pixels == 0


def test_a_bright_thing_of_several_pixels_is_no_stuck_pixel():
    image = noise(1)
    image[50, 70] = image[51, 71] = 32767
    assert not stuck_pixels(image, nowhere(image)).any()


@pytest.mark.parametrize("photons", [0.05, 0.3])
def test_single_photons_of_a_detector_with_a_high_gain_are_no_stuck_pixels(photons):
    for seed in range(5):
        image = np.clip(noise(photons, seed).astype(float) * 300, 0, 32767).astype("<i2")
        assert not stuck_pixels(image, nowhere(image)).any()


def test_the_sentinel_of_scanimage_is_missing_and_a_count_beside_others_is_not():
    image = noise(3)[None]
    image[0, :, -4:] = SENTINEL
    where = unmeasured(image)
    assert where[0, :, -4:].all()
    assert where.sum() == 4 * SIDE
    assert unmeasured((noise(3) - 16384 + 5)[None]) is None  # counts that reach down to it
    assert unmeasured(image.astype("<f4")) is None  # other programs
    assert unmeasured(noise(3)[None]) is None
    frame = MissingPixels(image.shape).push(image)
    assert frame.pixels.min() >= 0
    assert frame.pixels.dtype == image.dtype


def test_a_missing_pixel_gets_the_mean_of_what_was_measured_there():
    frames = np.stack([noise(3, seed) for seed in range(40)])[:, None].astype("<f4")
    missing = MissingPixels((1, SIDE, SIDE))
    for image in frames:
        image[0, :5] = image[0, 90:95] = np.nan
        missing.push(image)
        image[0, :5] = image[0, 90:95] = np.nan
    missing = MissingPixels((1, SIDE, SIDE))
    truth = np.stack([noise(3, seed) for seed in range(40)]).mean(0)
    for seed, image in enumerate(frames):
        image[0] = noise(3, seed)
        if seed % 2:
            image[0, :5] = np.nan
        frame = missing.push(image)
    assert np.isnan(image[0, :5]).all()  # the frame of the caller is not changed
    error = frame.pixels[0, :5] - truth[:5]
    assert np.sqrt(np.mean(error**2)) < 0.5 * np.sqrt(np.mean((frames[38, 0, :5] - truth[:5]) ** 2))
    assert np.array_equal(frame.pixels[0, 5:], image[0, 5:])


def test_a_frame_without_any_measurement_is_filled():
    missing = MissingPixels((1, 8, 8))
    assert np.isfinite(missing.push(np.full((1, 8, 8), np.nan, "<f4")).pixels).all()
    measured = np.arange(64, dtype="<f4").reshape(1, 8, 8)
    assert np.array_equal(missing.push(measured).pixels, measured)
    assert np.array_equal(missing.push(np.full((1, 8, 8), np.nan, "<f4")).pixels, measured)


@given(seed=st.integers(0, 1000), side=st.sampled_from([1, 2, 3, 6]), shape=st.tuples(*2 * [st.integers(6, 40)]))
@settings(max_examples=30, deadline=None)
def test_covered_is_the_opening_by_a_square(seed, side, shape):
    equal = np.random.default_rng(seed).random(shape) < 0.85
    assert np.array_equal(covered(equal, side), binary_opening(equal, np.ones((side, side))))


@given(seed=st.integers(0, 1000), share=st.floats(0, 1), shape=st.tuples(*2 * [st.integers(1, 33)]))
@settings(max_examples=50, deadline=None)
def test_spread_keeps_what_is_measured_and_stays_within_it(seed, share, shape):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 30, shape).astype(np.float32)
    image[rng.random(shape) < share] = np.nan
    filled = spread(image)
    known = ~np.isnan(image)
    assert np.array_equal(filled[known], image[known])
    assert np.isfinite(filled).all()
    if known.any():
        assert image[known].min() - 1e-3 <= filled.min() <= filled.max() <= image[known].max() + 1e-3
