"""Frames to views and back, odd numbers of lines included."""

import numpy as np
import pytest

from deepbid_rt.frame import Motion, ScanGeometry
from deepbid_rt.registration import Registration
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


def test_views_are_moved_before_they_are_merged():
    """Interleaved lines 2k and 2k+1 show one place: a shift by one line of a view is one by two lines of the frame."""
    info = stream((1, 12, 4), scan=ScanGeometry("collinear"))
    views, pixels = Views(info, "interleave"), pixels_of(info, 1)
    split = views.split(pixels).astype(np.float32)
    motion = Motion(1.0, 0.0, 9.0, "tracked")
    assert np.array_equal(views.join(split, motion, Registration())[:, :-2], pixels[:, 2:])
    assert np.array_equal(views.join(split, motion), pixels)
    assert np.array_equal(views.join(split, None, Registration()), pixels)
