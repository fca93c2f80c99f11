import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepbid_rt.scan.normalizer import LARGEST_COUNT, Normalizer, calibrate, to_dtype, without_impossible

RNG = np.random.default_rng(3)


def f32(*values):
    return np.array(values, np.float32)


def test_integers_are_rounded_and_clipped_never_wrapped():
    counts = f32(300.0, -3.7, 254.6, 0.4, 255.4, 256.0)
    assert to_dtype(counts, np.uint8).tolist() == [255, 0, 255, 0, 255, 255]
    counts = f32(40_000.0, -40_000.0, -1.6, 32767.0)
    assert to_dtype(counts, np.int16).tolist() == [32767, -32768, -2, 32767]
    assert to_dtype(f32(70_000.0, 65535.0), np.uint16).tolist() == [65535, 65535]


def test_floats_are_not_rounded():
    counts = f32(1.25, -7.5, 1e30)
    assert to_dtype(counts.copy(), np.float32).tolist() == counts.tolist()


def test_restore_rounds_and_clips():
    assert Normalizer(0.0, 1.0).restore(f32(300.0, -3.7), np.uint8).tolist() == [255, 0]
    assert Normalizer(100.0, 10.0).restore(f32(1.04, -20.0), np.uint8).tolist() == [110, 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_every_count_survives_scale_one_exactly(dtype):
    limits = np.iinfo(dtype)
    counts = np.arange(limits.min, limits.max + 1).astype(dtype)
    same = Normalizer(0.0, 1.0)
    assert same.apply(counts).dtype == np.float32
    assert np.array_equal(same.restore(same.apply(counts), dtype), counts)


@given(st.floats(-3e4, 3e4), st.floats(0.05, 5e3))
def test_every_count_survives_any_calibration(offset, scale):
    counts = np.arange(-32768, 32768, 7).astype(np.int16)
    normalizer = Normalizer(offset, scale)
    assert np.array_equal(normalizer.restore(normalizer.apply(counts), np.int16), counts)


def test_apply_is_the_linear_map_and_does_not_write_to_its_input():
    counts = np.array([[90, 110], [100, 130]], np.int16)
    units = Normalizer(100.0, 10.0).apply(counts)
    assert np.allclose(units, [[-1, 1], [0, 3]])
    assert counts.tolist() == [[90, 110], [100, 130]]


def test_unsigned_counts_below_the_offset_do_not_wrap():
    assert Normalizer(200.0, 1.0).apply(np.array([5], np.uint8)).tolist() == [-195.0]


def test_values_that_are_not_finite_become_0():
    counts = f32(np.nan, np.inf, -np.inf, 12.0)
    assert Normalizer(10.0, 2.0).apply(counts).tolist() == [0.0, 0.0, 0.0, 1.0]
    assert np.isnan(counts[0])


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32])
@pytest.mark.parametrize("noise", [3.0, 40.0])
def test_calibration_finds_the_noise_and_the_mean_of_a_structured_scene(dtype, noise):
    scene = 2000 + 800 * np.sin(np.arange(48)[:, None] / 5) * np.cos(np.arange(64) / 7)
    frames = (scene + RNG.normal(0, noise, (16, 1, 48, 64))).astype(dtype)
    normalizer = calibrate(frames)
    assert normalizer.scale == pytest.approx(noise, rel=0.03)
    assert normalizer.offset == pytest.approx(float(frames.mean(dtype=np.float64)), rel=1e-6)


@pytest.mark.parametrize(("moving", "line_phase"), [(0, 0), (0, 3), (3, 0)])
def test_neither_motion_nor_a_line_phase_counts_as_noise(moving, line_phase):
    scene = 2000 + 800 * np.sin(np.arange(48)[:, None] / 5) * np.cos(np.arange(64) / 3)
    frames = np.stack([[np.roll(scene, moving * t + line_phase * v, -1) for v in range(2)] for t in range(16)])
    frames += RNG.normal(0, 20.0, frames.shape)
    frames[4, 1, :9] = np.nan
    assert calibrate(frames).scale == pytest.approx(20.0, rel=0.03)


def test_two_identical_views_are_not_used_to_measure_the_noise():
    frames = RNG.normal(0, 20.0, (16, 1, 48, 64)).repeat(2, axis=1)
    assert calibrate(frames).scale == pytest.approx(20.0, rel=0.03)


def test_a_still_scene_has_scale_one():
    frames = np.broadcast_to(RNG.integers(0, 99, (4, 5)), (16, 4, 5)).astype(np.int16)
    assert calibrate(frames) == Normalizer(float(frames.mean()), 1.0)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("noise", [3.0, 40.0])
def test_the_noise_of_a_single_frame_is_measured_between_its_lines(views, noise):
    scene = 2000 + 800 * np.sin(np.arange(48)[:, None] / 30) * np.cos(np.arange(64) / 7)
    scene[20:23] += 3000  # lines of another brightness
    frame = scene + RNG.normal(0, noise, (1, views, 48, 64))
    frame[0, 0, :2, :5] = np.nan
    assert calibrate(frame).scale == pytest.approx(noise, rel=0.15)


@pytest.mark.parametrize("shape", [(1,), (1, 9), (1, 2, 9), (1, 3, 3)])
def test_a_single_constant_frame_or_one_of_too_few_lines_has_scale_one(shape):
    assert calibrate(np.full(shape, 7, np.int16)) == Normalizer(7.0, 1.0)
    assert shape == (1, 3, 3) or calibrate(RNG.normal(0, 5, shape)).scale == 1.0


def test_frames_without_a_finite_value_have_offset_0_and_scale_1():
    assert calibrate(np.full((4, 3, 3), np.nan, np.float32)) == Normalizer(0.0, 1.0)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_missing_pixels_do_not_count_as_noise(missing):
    scene = 1000 + 500 * np.sin(np.arange(64) / 7)
    frames = (scene + RNG.normal(0, 5.0, (16, 48, 64))).astype(np.float32)
    frames[3] = missing  # a whole frame
    frames[:, :4] = missing  # the same lines in all frames
    normalizer = calibrate(frames)
    assert normalizer.scale == pytest.approx(5.0, rel=0.05)
    assert normalizer.offset == pytest.approx(float(np.mean(scene)), rel=0.01)


def test_a_single_frame_among_missing_ones_has_scale_one():
    frames = np.full((3, 2, 2), np.nan, np.float32)
    frames[1] = 5
    assert calibrate(frames) == Normalizer(5.0, 1.0)


@given(st.floats(-(2.0**120), 2.0**120, width=32), st.floats(-(2.0**120), 2.0**120, width=32))
@example(0.0, 7e-42)
def test_calibration_on_any_floats_gives_finite_units(a, b):
    normalizer = calibrate(f32(a, b)[:, None, None])
    assert np.isfinite(normalizer.offset)
    assert 0 < normalizer.scale < np.inf
    assert np.isfinite(normalizer.apply(f32(a, b))).all()


@pytest.mark.parametrize("value", [3e38, -3e38, 1e25, -1e12, np.nan, np.inf])
def test_one_impossible_pixel_does_not_set_the_scale_of_a_series(value):
    frames = RNG.normal(300, 50, (16, 1, 64, 64)).astype(np.float32)
    broken = frames.copy()
    broken[5, 0, 10, 12] = value
    expected, found = calibrate(frames), calibrate(broken)
    assert found.offset == pytest.approx(expected.offset, rel=1e-3)
    assert found.scale == pytest.approx(expected.scale, rel=1e-3)


def test_the_brightest_pixel_of_a_16_bit_converter_is_possible():
    frames = RNG.normal(0, 0.4, (16, 1, 64, 64)).astype(np.float32)
    frames[:, 0, 10, 12] = 65535
    assert calibrate(frames) == calibrate(frames.astype(np.float64))
    assert calibrate(frames).offset == pytest.approx(16, rel=0.01)


def test_mostly_equal_float_frames_are_calibrated_on_all_pixels():
    frames = np.zeros((8, 1, 64, 64), np.float32)
    frames[3, 0, 5, 5] = 7
    assert calibrate(frames).offset == pytest.approx(7 / frames.size)


def test_impossible_pixels_become_nan_in_a_copy():
    counts = f32(1.0, LARGEST_COUNT, 2e30, -np.inf, np.nan)
    found = without_impossible(counts)
    assert np.isnan(found).tolist() == [False, False, True, True, True]
    assert counts[2] == f32(2e30)
    assert found.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_possible_pixels_are_not_copied(dtype):
    counts = np.arange(6).astype(dtype)
    assert without_impossible(counts) is counts
    assert without_impossible(counts[:0]).size == 0
