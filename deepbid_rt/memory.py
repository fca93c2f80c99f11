"""Exponential averages of all past frames, kept where the tissue is and not where the frame was.

Knows nothing of how shifts are found, of scans or of engines.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

MARGIN = 16
"""Lines and pixels around the field of view that are remembered while motion hides them."""


class Memory:
    """Several exponential averages of one channel, in coordinates of the tissue.

    A frame enters at the nearest whole pixel and the state itself is never resampled, so nothing blurs with time;
    recalls are interpolated with Catmull-Rom's cubic at the fraction. The place of each pixel is off by up to half a
    pixel when it enters, evenly in all directions, which blurs less than entering by bilinear interpolation would.

    Parameters
    ----------
    gains : tuple of float
        Weight of the newest frame in each average once it is old.
    size : tuple of int
        (Y, X) of a frame.

    Notes
    -----
    After n frames the weights are exactly ``a (1 - a)^k / (1 - (1 - a)^n)`` for the frame k frames ago: the first
    frame counts fully and is not averaged with nothing. Frames skipped count in k and not in the sum.
    """

    def __init__(self, gains: tuple[float, ...], size: tuple[int, int]) -> None:
        self._gains = gains
        self._size = size
        rows, columns = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
        self._means = np.zeros((len(gains), rows, columns), np.float32)
        self._weights = np.zeros((len(gains), rows, columns), np.float32)

    @property
    def depth(self) -> int:
        """How many averages there are."""
        return len(self._gains)

    def reset(self) -> None:
        """Forget everything."""
        self._means.fill(0)
        self._weights.fill(0)

    def skip(self, count: int) -> None:
        """Let `count` frames pass that show nothing: what is known becomes older."""
        for weight, gain in zip(self._weights, self._gains, strict=True):
            weight *= np.float32((1 - gain) ** count)

    def rebase(self, dy: int, dx: int) -> None:
        """Move the origin by whole pixels: what lay at (dy, dx) lies at 0 from now on."""
        for state in (self._means, self._weights):
            moved = np.zeros_like(state)
            rows, columns = state.shape[1:]
            to, of = zip(*(_overlap(d, n, n) for d, n in ((dy, rows), (dx, columns))), strict=True)
            moved[:, *to] = state[:, *of]
            state[:] = moved

    def update(self, image: Image, dy: float, dx: float) -> None:
        """Let a frame (Y, X) enter that lies at (dy, dx): its pixel (y, x) shows the place (y - dy, x - dx)."""
        to, of = zip(
            *(_overlap(MARGIN - _nearest(d), n, n + 2 * MARGIN) for d, n in zip((dy, dx), self._size, strict=True)),
            strict=True,
        )
        frame = image[of]
        for mean, weight, gain in zip(self._means, self._weights, self._gains, strict=True):
            w, m = weight[to], mean[to]
            step: Image | np.float32
            if w.size and w.min() > 1 - 1e-5:
                step = np.float32(gain)
            else:
                w *= np.float32(1 - gain)
                w += np.float32(gain)
                step = np.float32(gain) / w
            m += step * (frame - m)

    def recall(self, dy: float, dx: float) -> Image:
        """Return what is remembered of the places that a frame at (dy, dx) shows.

        Parameters
        ----------
        dy, dx : float
            Where the frame lies.

        Returns
        -------
        ndarray
            (M + 1, Y, X) float32: the averages in the order of their gains, then the weight of the last one: near 1
            where it is old, exactly 0 where nothing is known, as are the averages there.
        """
        (top, down), (left, right) = (_split(MARGIN - d) for d in (dy, dx))
        rows, columns = self._size
        recalled = np.zeros((len(self._means) + 1, rows, columns), np.float32)
        high, wide = self._means.shape[1:]
        # Only where all four neighbours of the interpolation stand in the state, and were seen.
        first, last = max(1 - top, 0), min(high - 2 - top, rows)
        begin, end = max(1 - left, 0), min(wide - 2 - left, columns)
        if first >= last or begin >= end:
            return recalled
        area = np.s_[top + first - 1 : top + last + 2, left + begin - 1 : left + end + 2]
        height, width = last - first, end - begin
        weight = self._weights[-1][area]
        nearest = weight[1 + (down >= 0.5) :, 1 + (right >= 0.5) :][:height, :width]
        for mean, image in zip(self._means, recalled[:-1], strict=True):
            lines = blend([mean[area][k : k + height] for k in range(4)], down)
            image[first:last, begin:end] = blend([lines[:, k : k + width] for k in range(4)], right)
        recalled[-1, first:last, begin:end] = nearest
        if weight.min() == 0:
            seen = weight > 0
            tall = _all_of([seen[k : k + height] for k in range(4)], down)
            known = _all_of([tall[:, k : k + width] for k in range(4)], right)
            recalled[:, first:last, begin:end] *= known
        return recalled


def blend(neighbours: list[Image], part: float) -> Image:
    """Interpolate between the middle two of four neighbours with Catmull-Rom's cubic.

    Parameters
    ----------
    neighbours : list of ndarray
        Four arrays of one shape: samples at -1, 0, 1 and 2.
    part : float
        Where to interpolate, 0 to 1; at 0 the second neighbour itself is returned.
    """
    if part == 0:
        return neighbours[1]
    weights = (
        -0.5 * part + part**2 - 0.5 * part**3,
        1 - 2.5 * part**2 + 1.5 * part**3,
        0.5 * part + 2 * part**2 - 1.5 * part**3,
        -0.5 * part**2 + 0.5 * part**3,
    )
    blend = neighbours[0] * np.float32(weights[0])
    for neighbour, weight in zip(neighbours[1:], weights[1:], strict=True):
        blend += neighbour * np.float32(weight)
    return blend


def _all_of(neighbours: list[NDArray[np.bool_]], part: float) -> NDArray[np.bool_]:
    """Say where all that `blend` reads is known."""
    if part == 0:
        return neighbours[1]
    return neighbours[0] & neighbours[1] & neighbours[2] & neighbours[3]


def _nearest(shift: float) -> int:
    return math.floor(shift + 0.5)


def _split(place: float) -> tuple[int, float]:
    whole = math.floor(place)
    return whole, place - whole


def _overlap(start: int, length: int, room: int) -> tuple[slice, slice]:
    """Return where a line of `length` that starts at `start` lies in `room`, and which part of it."""
    first, last = max(start, 0), max(min(start + length, room), 0)
    return slice(min(first, last), last), slice(min(first, last) - start, last - start)
