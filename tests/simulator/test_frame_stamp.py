"""Stamps: every number is read back from every pixel type, mirrored or averaged; other pixels are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import DTYPES
from deepbid_rt.simulator.frame_stamp import read_stamp, stamp


@given(index=st.integers(0, 2**24 - 1), dtype=st.sampled_from(DTYPES), width=st.integers(16, 40))
def test_a_stamp_is_read_back(index: int, dtype: str, width: int) -> None:
    pixels = np.full((2, 4, width), 77, dtype)
    stamp(pixels, index)
    assert read_stamp(pixels) == index
    assert read_stamp(pixels[:, :, ::-1]) == index
    assert read_stamp(pixels[:, 1:]) == index
    assert read_stamp(pixels.astype(np.float32).reshape(2, 2, 2, width).mean(axis=2)) == index
    assert (pixels[0, 2:] == 77).all()
    assert (pixels[1] == 77).all()


@pytest.mark.parametrize("fill", [0, 1, 8, 255])
def test_a_flat_frame_has_no_stamp(fill: int) -> None:
    with pytest.raises(StreamError, match="expected the stamp of a frame number"):
        read_stamp(np.full((1, 4, 16), fill, np.uint8))


def test_noise_is_not_mistaken_for_a_stamp() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        with pytest.raises(StreamError):
            read_stamp(rng.normal(100, 30, (1, 2, 16)))


@pytest.mark.parametrize(("width", "index"), [(15, 0), (16, 2**24), (16, -1)])
def test_a_stamp_that_does_not_fit_is_refused(width: int, index: int) -> None:
    with pytest.raises(StreamError) as caught:
        stamp(np.zeros((1, 2, width), np.int16), index)
    assert str(caught.value) == (
        f"frame {index} of {width} pixels in a line; expected a number below 16777216 and at least 16 pixels in a "
        "line to stamp it into; use wider or fewer frames."
    )
