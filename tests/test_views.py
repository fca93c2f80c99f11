"""Frames to views and back, odd numbers of lines included."""

import numpy as np
import pytest

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.views import Views
from tests.fakes import pixels_of, stream


@pytest.mark.parametrize("first", ["forward", "backward"])
@pytest.mark.parametrize("lines", [1, 2, 5, 8])
def test_interleaved_views_are_the_frame_again(lines, first):
    info = stream((2, lines, 3), scan=ScanGeometry("collinear", first=first))
    views = Views(info, "interleave")
    pixels = pixels_of(info, 1)
    split = views.split(pixels)
    assert split.shape == (2, views.count, *views.size) == (2, 2, -(-lines // 2), 3)
    assert np.array_equal(views.join(split.astype(np.float32)), pixels)


def test_an_ordinary_frame_is_one_view():
    info = stream((1, 5, 3))
    views, pixels = Views(info, "mean"), pixels_of(info, 1)
    assert (views.count, views.size) == (1, (5, 3))
    assert np.array_equal(views.split(pixels)[:, 0], pixels)
