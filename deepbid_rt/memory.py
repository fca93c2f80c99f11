"""Exponential averages of all past frames, kept where the tissue is and not where the frame was.

Knows nothing of how shifts are found, of scans or of engines.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.interpolation import blend, cubic

Image = NDArray[np.float32]
Shifts = NDArray[np.float64]
"""(2, Y): how far below (dy) and right (dx) of its place in the memory the content of each line lies, pixels."""

MARGIN = 16
"""Lines and pixels around the field of view that are remembered while motion hides them."""
_PIECE = 1 << 15
"""Pixels worked on at a time: with all that is computed of them they stay in a core's own cache (a recall of 512x512
took 4 ms instead of 6 to 7 where lines of hundreds lie at one whole pixel; where they do not, it changes nothing)."""


class Memory:
    """Several exponential averages of one channel, in coordinates of the tissue.

    A frame enters at the nearest whole pixel and the state itself is never resampled, so nothing blurs with time;
    recalls are interpolated with Catmull-Rom's cubic at the fraction, and at the edge of what was seen, where it lacks
    a neighbour, they are the nearest pixel. The place of each pixel is off by up to half a
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
        self._steps = np.array(gains, np.float32)[:, None, None]
        self._size = size
        self._most = max(1, _PIECE // size[1])
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

    def update(self, image: Image, shifts: Shifts) -> None:
        """Let a frame enter.

        Parameters
        ----------
        image : ndarray
            (Y, X) float32.
        shifts : ndarray
            (2, Y) px: where each line lies. Pixel (y, x) shows the place (y - dy, x - dx).
        """
        for lines, dy, dx in _runs(np.floor(shifts + 0.5).astype(np.intp), self._most):
            to_y, of_y = _overlap(MARGIN + lines.start - dy, lines.stop - lines.start, self._means.shape[1])
            to_x, of_x = _overlap(MARGIN - dx, self._size[1], self._means.shape[2])
            self._enter(image[lines][of_y, of_x], (to_y, to_x))

    def recall(self, shifts: Shifts, out: Image) -> None:
        """Write what is remembered of the places that a frame shows.

        Parameters
        ----------
        shifts : ndarray
            (2, Y) px: where each line of the frame lies.
        out : ndarray
            (N + 1, Y, X) float32, written: the N slowest averages in the order of their gains, then the weight of the
            last one: near 1 where it is old, exactly 0 where nothing is known, as are the averages there.
        """
        place = MARGIN - shifts
        whole = np.floor(place)
        part = (place - whole).astype(np.float32)
        for lines, top, left in _runs(whole.astype(np.intp), self._most):
            self._read(out[:, lines], lines.start + top, left, part[:, lines, None])

    def _enter(self, frame: Image, to: tuple[slice, slice]) -> None:
        """Average pixels into a part of the state."""
        means, weights = self._means[:, *to], self._weights[:, *to]
        step: Image = self._steps
        if weights.size and weights.min() < 1 - 1e-5:
            weights *= 1 - self._steps
            weights += self._steps
            step = self._steps / weights
        change = frame - means
        change *= step
        means += change

    def _read(self, recalled: Image, top: int, left: int, part: Image) -> None:
        """Interpolate lines (N + 1, lines, X) that begin at (top, left) in the state plus `part` of each."""
        rows, columns = recalled.shape[1:]
        high, wide = self._means.shape[1:]
        # Only where all four neighbours of the interpolation stand in the state.
        first, last = max(1 - top, 0), min(high - 2 - top, rows)
        begin, end = max(1 - left, 0), min(wide - 2 - left, columns)
        if last - first < rows or end - begin < columns:
            recalled[:] = 0
        if first >= last or begin >= end:
            return
        area = np.s_[top + first - 1 : top + last + 2, left + begin - 1 : left + end + 2]
        height, width = last - first, end - begin
        to = recalled[:, first:last, begin:end]
        down, right = (cubic(p) for p in part[:, first:last])
        means = self._means[1 - len(to) :, *area]
        lines = blend([means[:, k : k + height] for k in range(4)], down)
        to[:-1] = blend([lines[..., k : k + width] for k in range(4)], right)
        weight = self._weights[-1][area]
        to[-1] = weight[1 : 1 + height, 1 : 1 + width]
        if weight.min() == 0:
            seen = weight > 0
            tall = _all_of([seen[k : k + height] for k in range(4)], down)
            known = _all_of([tall[:, k : k + width] for k in range(4)], right)
            y, x = np.nonzero(~known)
            nearest = (1 + y, 1 + x) + (part[:, first:last, 0] >= np.float32(0.5))[:, y]
            to[:-1, y, x] = means[:, *nearest] * seen[*nearest]
            to[-1, y, x] = weight[*nearest]


def _runs(whole: NDArray[np.intp], most: int) -> Iterator[tuple[slice, int, int]]:
    """Cut lines into runs of at most `most` that lie at the same whole pixel (2, lines); yield lines, and where."""
    ends = np.flatnonzero(np.diff(whole, axis=1).any(axis=0)) + 1
    for start, stop in itertools.pairwise([0, *ends.tolist(), whole.shape[1]]):
        for first in range(start, stop, most):
            yield slice(first, min(first + most, stop)), int(whole[0, start]), int(whole[1, start])


def _all_of(neighbours: list[NDArray[np.bool_]], weights: Image | None) -> NDArray[np.bool_]:
    """Say where all that `blend` reads is known."""
    if weights is None:
        return neighbours[1]
    known = neighbours[1]
    for neighbour, weight in zip(neighbours, weights, strict=True):
        known = known & (neighbour | (weight == 0))
    return known


def _overlap(start: int, length: int, room: int) -> tuple[slice, slice]:
    """Return where a line of `length` that starts at `start` lies in `room`, and which part of it."""
    first, last = max(start, 0), max(min(start + length, room), 0)
    return slice(min(first, last), last), slice(min(first, last) - start, last - start)
