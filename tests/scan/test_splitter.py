"""Frames are split into views and joined again, also with odd numbers of lines."""

import numpy as np
import pytest

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.splitter import ScanSplitter
from tests.fakes import pixels_of, stream


@pytest.mark.parametrize("first", ["forward", "backward"])
@pytest.mark.parametrize("lines", [1, 2, 5, 8])
def test_interleaved_views_restore_the_frame(lines, first):
    info = stream((2, lines, 3), scan=ScanGeometry("collinear", first=first))
    splitter = ScanSplitter(info, "interleave")
    pixels = pixels_of(info, 1)
    split = splitter.split(pixels)
    assert split.shape == (2, splitter.count, *splitter.size) == (2, 2, -(-lines // 2), 3)
    assert np.array_equal(splitter.join(split.astype(np.float32)), pixels)


def test_an_ordinary_frame_has_one_view():
    info = stream((1, 5, 3))
    splitter, pixels = ScanSplitter(info, "mean"), pixels_of(info, 1)
    assert (splitter.count, splitter.size) == (1, (5, 3))
    assert np.array_equal(splitter.split(pixels)[:, 0], pixels)


@pytest.mark.parametrize("layout", ["collinear", "ordinary"])
def test_moved_lines_are_not_rounded_and_forward_lines_are_unchanged(layout):
    info = stream((1, 6, 5), "<i2", ScanGeometry(layout))
    splitter, pixels = ScanSplitter(info, "interleave"), pixels_of(info, 1)
    pixels[:, 1::2, 2] = 5
    line_offset = LineOffset(info.scan, 5, 0.5)
    split = splitter.split(pixels, line_offset)
    assert split.dtype == np.float32
    lines = split[:, :, 0::2] if layout == "ordinary" else split[:, :1]
    assert np.array_equal(lines.ravel(), pixels[:, 0::2].ravel())
    backward = split[:, 0, 1::2] if layout == "ordinary" else split[:, 1]
    assert np.array_equal(backward, line_offset.apply(pixels[:, 1::2]))
    assert (backward % 1 != 0).any()
