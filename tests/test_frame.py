import dataclasses

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import DTYPES, Frame, FrameFlag, ScanGeometry, StreamInfo
from tests.fakes import stream


def test_the_bytes_of_a_frame_are_counted():
    assert stream((2, 3, 5), np.int16).frame_bytes == 60
    assert stream((1, 8192, 8192), np.float32).frame_bytes == 4 * 8192**2


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_four_pixel_types_are_accepted(dtype):
    assert stream(dtype=dtype).dtype.str == dtype


@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 1, 8192), (1, 8192, 1)])
def test_the_smallest_and_largest_shapes_are_accepted(shape):
    assert stream(shape).shape == shape


@pytest.mark.parametrize("shape", [(0, 4, 4), (9, 4, 4), (1, 0, 4), (1, 4, 8193), (1, -4, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(StreamError) as refused:
        stream(shape)
    assert str(refused.value) == (
        f"frames of shape (C, Y, X) = {shape}; expected 1..8 channels and 1..8192 lines and pixels; "
        "check the sender's shape."
    )


@pytest.mark.parametrize("dtype", [">i2", "<i4", "<f8", "|b1", "|i1", "|O"])
def test_other_pixel_types_are_refused(dtype):
    with pytest.raises(StreamError) as refused:
        stream(dtype=dtype)
    assert str(refused.value) == (
        f"pixels of type {np.dtype(dtype).str}; expected one of |u1, <u2, <i2, <f4; "
        "convert the movie to int16 before sending or opening it."
    )


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(StreamError, match="a frame rate of"):
        StreamInfo((1, 2, 2), np.dtype("<i2"), rate)


def test_a_stream_without_planes_is_refused():
    with pytest.raises(StreamError, match=r"^0 planes; expected at least 1;"):
        stream(planes=0)


def test_a_collinear_scan_in_one_direction_is_refused():
    with pytest.raises(StreamError) as refused:
        ScanGeometry(layout="collinear", bidirectional=False)
    assert str(refused.value) == (
        "a collinear scan that is not bidirectional; expected collinear frames to hold forward and backward lines; "
        "describe the scan as ordinary, or as bidirectional."
    )


def test_every_stream_has_its_own_series():
    assert stream().series != stream().series


def test_streams_and_frames_are_frozen():
    info, frame = stream(), Frame(0, np.zeros((1, 1, 1)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.planes = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.index = 2


def test_the_flags_have_the_bits_of_the_wire_protocol():
    assert [(flag.name, flag.value) for flag in FrameFlag] == [
        ("SATURATED", 1),
        ("INCOMPLETE", 2),
        ("MOTION_CORRECTED", 4),
        ("SOURCE_LOST_BEFORE", 8),
        ("FLYBACK", 16),
        ("TTL_HIGH", 32),
        ("NOT_DENOISED", 64),
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"layout": "foo"}, {"first": "up"}, {"mirrored": "no"}, {"bidirectional": 1}],
    ids=lambda wrong: str(wrong),
)
def test_a_scan_is_described_by_known_words_only(wrong):
    with pytest.raises(StreamError, match=r"a scan of layout .* correct the scan"):
        ScanGeometry(**wrong)
