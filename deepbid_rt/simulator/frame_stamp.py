"""Frame numbers written into pixels, so that a test can check which frame it received."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError

_DIGITS = 8
"""Width of a stamp in pixels: six digits of four bits for the number, two for the checksum."""
_STEP = 8
"""Counts per unit of a digit; the largest digit fits 8-bit pixels."""


def stamp(pixels: NDArray[np.generic], index: int) -> None:
    """Write a frame's number into its pixels.

    The number is written at both ends of lines 0 and 1 and reads the same from left and right, so it survives mirrored
    lines and the mean of the two lines.

    Parameters
    ----------
    pixels : ndarray, (C, Y, X), any pixel type
        Changed in place: 8 pixels at each end of the first two lines of channel 0.
    index : int
        0 to 16,777,215.

    Raises
    ------
    StreamError
        When the number or the width of the frame is out of range.
    """
    if pixels.shape[-1] < 2 * _DIGITS or not 0 <= index < 1 << 24:
        raise StreamError(
            f"frame {index} of {pixels.shape[-1]} pixels in a line",
            expected=f"a number below {1 << 24} and at least {2 * _DIGITS} pixels in a line to stamp it into",
            todo="use wider or fewer frames",
        )
    word = index << 8 | _check(index)
    digits = np.array([word >> shift & 15 for shift in range(28, -4, -4)], pixels.dtype) * _STEP
    pixels[0, :2, :_DIGITS] = digits
    pixels[0, :2, -_DIGITS:] = digits[::-1]


def read_stamp(pixels: NDArray[np.generic]) -> int:
    """Return the number that `stamp` wrote into a frame (C, Y, X).

    Raises
    ------
    StreamError
        When the frame has no stamp, or a damaged one.
    """
    counts = np.asarray(pixels[0, 0, :_DIGITS], np.float64) / _STEP
    word = 0
    for digit in np.rint(counts).clip(0, 15).astype(int).tolist():
        word = word << 4 | digit
    if np.abs(counts - np.rint(counts)).max() > 0.25 or word & 255 != _check(word >> 8):
        raise StreamError(
            f"a frame that begins with the counts {pixels[0, 0, :_DIGITS].tolist()}",
            expected="the stamp of a frame number",
            todo="let the source stamp its frames",
        )
    return word >> 8


def _check(index: int) -> int:
    """Return the checksum of a number; never 0, so that a dark frame is not mistaken for frame 0."""
    return (index * 0x9E3779B1 >> 7 ^ 0xA5) & 255 or 1
