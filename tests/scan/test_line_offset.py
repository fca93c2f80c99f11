"""`LineOffset` moves lines by the given offset, along the whole line and for any pixel values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.line_offset import LineOffset

SCAN = ScanGeometry("collinear")
DEWARPED = ScanGeometry("collinear", extra={"dewarped": True, "ff_t": 0.9})


def wave(pixels, px=0.0, period=23.0):
    return np.sin((np.arange(pixels) - px) * 2 * np.pi / period)


@given(st.integers(-5, 5), st.integers(1, 40))
def test_a_whole_offset_copies_pixels_unchanged(px, pixels):
    line = np.arange(10, 10 + pixels, dtype=np.int16)
    moved = LineOffset(SCAN, pixels, float(px)).apply(line[None])
    assert moved.dtype == np.float32
    assert moved[0].tolist() == [line[min(max(x + px, 0), pixels - 1)] for x in range(pixels)]


@given(st.floats(-6, 6))
def test_a_fractional_offset_is_interpolated(px):
    lines = wave(200, px)[None, None]
    moved = LineOffset(SCAN, 200, px).apply(lines)
    assert moved.shape == (1, 1, 200)
    assert np.abs(moved[0, 0, 8:-8] - wave(200)[8:-8]).max() < 2e-3


@given(st.floats(-6, 6))
def test_weights_add_up_to_one_and_keep_brightness(px):
    line_offset = LineOffset(SCAN, 31, px)
    assert line_offset.weights.shape == line_offset.columns.shape == (4, 31)
    assert line_offset.weights.sum(axis=0) == pytest.approx(np.ones(31), abs=1e-6)
    assert np.allclose(line_offset.apply(np.full((2, 3, 31), 40000, np.uint16)), 40000)


def test_the_offset_of_dewarped_lines_is_proportional_to_the_speed_of_the_mirror():
    pixels, px = 512, 2.57
    across = ((2 * np.arange(pixels) + 1) / pixels - 1) * np.sin(0.45 * np.pi)
    offset = px * np.sqrt(1 - across**2)
    assert offset[0] == pytest.approx(0.40, abs=0.04)  # 100 ns at 7.91 kHz are 2.57 px in the middle, 0.40 at the end
    lines = np.sin((np.arange(pixels) - offset) * 2 * np.pi / 23)[None]
    # The offset is evaluated at the result pixel. At the source pixel, 2.57 px away, it differs by less than 0.01 px.
    varying, constant = (LineOffset(scan, pixels, px).apply(lines) for scan in (DEWARPED, SCAN))
    assert np.abs(varying - wave(pixels))[0, 8:-8].max() < 0.01
    assert np.abs(constant - wave(pixels))[0, 8:-8].max() > 0.3


@pytest.mark.parametrize("extra", [{}, {"dewarped": True}, {"dewarped": 1, "ff_t": 0.9}, {"ff_t": 0.9}])
@pytest.mark.parametrize("share", [None, 0, -1, 1.5, "0.9", float("nan")])
def test_without_the_scan_facts_the_offset_is_constant(extra, share):
    scan = ScanGeometry("collinear", extra=extra if share is None else {"dewarped": True, "ff_t": share})
    assert np.array_equal(LineOffset(scan, 64, 1.3).weights, LineOffset(SCAN, 64, 1.3).weights)


def test_pixels_that_are_not_finite_affect_only_their_neighbours():
    line = np.ones((1, 20), np.float32)
    line[0, 10] = np.nan
    assert np.isnan(LineOffset(SCAN, 20, 3.0).apply(line)).nonzero()[1].tolist() == [7]
    assert np.isnan(LineOffset(SCAN, 20, 0.5).apply(line)).nonzero()[1].tolist() == [8, 9, 10, 11]
