"""Exponential averages of all past frames, kept where the tissue is and not where the frame was.

Knows nothing of how shifts are found, of scans or of engines.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.scan.interpolation import blend, cubic, lines_between

Image = NDArray[np.float32]
Shifts = NDArray[np.float64]
"""(2, Y): how far below (dy) and right (dx) of its place in the memory the content of each line lies, pixels."""

MARGIN = 16
"""Lines and pixels around the field of view that are remembered while motion hides them."""
_OLD = 1 - 1e-5
"""Weight from which on an average counts as old, and its start as forgotten."""
_PIECE = 1 << 16
"""Pixels worked on at a time, so that what is computed of them stays in a core's own cache: a recall of 512x512 took
3.5 ms, with half of this or twice as much 4 and 6."""


class TemporalAverages:
    """Several exponential averages of one channel, in coordinates of the tissue.

    A frame enters at the nearest whole pixel and the state itself is never resampled, so nothing blurs with time;
    recalls are interpolated with Catmull-Rom's cubic at the fraction, and at the edge of what was seen, where it lacks
    a neighbour, they are the nearest pixel. The place of each pixel is off by up to half a pixel when it enters,
    evenly in all directions, which blurs less than entering by bilinear interpolation would.

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
        for lines, (dy, dx) in _runs(np.floor(shifts + 0.5).astype(np.intp), self._most):
            to_y, of_y = _overlap(MARGIN + lines.start - dy, lines.stop - lines.start, self._means.shape[1])
            to_x, of_x = _overlap(MARGIN - dx, self._size[1], self._means.shape[2])
            self._enter(image[lines][of_y, of_x], (to_y, to_x))

    def fill(self, parts: AlignedFrames, shares: NDArray[np.float64]) -> None:
        """Forget everything, and remember these frames as if they had entered one after the other.

        Parameters
        ----------
        parts : AlignedFrames
            Of frames of this size.
        shares : ndarray
            (N, K): the weight of each in each average, such as ``a (1 - a)^k``.
        """
        weight = shares.astype(np.float32)
        np.matmul(weight, parts.seen, out=self._weights.reshape(len(weight), -1))
        np.matmul(weight, parts.images, out=self._means.reshape(len(weight), -1))
        np.divide(self._means, self._weights, out=self._means, where=self._weights > 0)

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
        part = (place - whole).astype(np.float32)[..., None]
        top, left = whole.astype(np.intp)
        top += np.arange(len(top))
        inside = top.clip(1, self._means.shape[1] - 3)
        seen = self._seen(inside, part[0])
        for lines, (begin,) in _runs(left[None], self._most):
            self._read(out[:, lines], inside[lines], begin, part[:, lines], seen[lines])
        if (outside := top != inside).any():
            out[:, outside] = 0

    def _enter(self, frame: Image, to: tuple[slice, slice]) -> None:
        """Average pixels into a part of the state."""
        means, weights = self._means[:, *to], self._weights[:, *to]
        if not weights.size:
            return
        for mean, weight, gain in zip(means, weights, self._gains, strict=True):
            step: Image | np.float32 = np.float32(gain)
            if weight.min() < _OLD:
                weight *= 1 - step
                weight += step
                step = step / weight
            change = frame - mean
            change *= step
            mean += change

    def _seen(self, top: NDArray[np.intp], part: Image) -> NDArray[np.bool_]:
        """Say of which places, `part` beyond lines `top`, all lines that count were seen, (lines, X of the state)."""
        seen = self._weights[-1] > 0
        return _all_of(lambda k: seen.take(top + k, axis=0), cubic(part))

    def _read(self, recalled: Image, top: NDArray[np.intp], left: int, part: Image, seen: NDArray[np.bool_]) -> None:
        """Interpolate lines (N + 1, lines, X) that lie `part` (2, lines, 1) beyond (top, left) in the state."""
        wide, columns = self._means.shape[2], recalled.shape[2]
        # Only where all four neighbours of the interpolation stand in the state.
        begin, end = max(1 - left, 0), min(wide - 2 - left, columns)
        if end - begin < columns:
            recalled[:] = 0
        if begin >= end:
            return
        area, width = slice(left + begin - 1, left + end + 2), end - begin
        to, right = recalled[..., begin:end], cubic(part[1])
        means, weights = self._means[1 - len(recalled) :, :, area], self._weights[-1, :, area]
        lines = lines_between(means, top, part[0])
        blend([lines[..., k : k + width] for k in range(4)], right, out=to[:-1])
        to[-1] = weights[top, 1 : 1 + width]
        known = _all_of(lambda k: seen[:, area][:, 1 + k : 1 + k + width], right)
        if not known.all():
            y, x = np.divmod(np.flatnonzero(~known), width)
            below, beyond = (part[..., 0] >= np.float32(0.5))[:, y]
            nearest = top[y] + below, 1 + x + beyond
            to[-1, y, x] = weights[nearest]
            to[:-1, y, x] = means[:, *nearest] * (to[-1, y, x] > 0)


class AlignedFrames:
    """Some frames side by side, each in its place: what `TemporalAverages.fill` averages.

    Parameters
    ----------
    count : int
        K.
    size : tuple of int
        (Y, X) of a frame.
    """

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self._alone = TemporalAverages((1.0,), size)
        pixels = self._alone._means.size  # noqa: SLF001  # a memory's own
        self.images = np.zeros((count, pixels), np.float32)
        self.seen = np.zeros((count, pixels), np.float32)

    def put(self, k: int, image: Image, shifts: Shifts) -> None:
        """Put in frame `k`, as `TemporalAverages.update` lets it enter."""
        self._alone.reset()
        self._alone.update(image, shifts)
        self.images[k], self.seen[k] = self._alone._means.ravel(), self._alone._weights.ravel()  # noqa: SLF001


def _runs(whole: NDArray[np.intp], most: int) -> Iterator[tuple[slice, list[int]]]:
    """Cut lines into runs of at most `most` that lie at the same whole pixel (K, lines); yield lines, and where."""
    ends = np.flatnonzero(np.diff(whole, axis=1).any(axis=0)) + 1
    for start, stop in itertools.pairwise([0, *ends.tolist(), whole.shape[1]]):
        for first in range(start, stop, most):
            yield slice(first, min(first + most, stop)), whole[:, start].tolist()


def _all_of(known: Callable[[int], NDArray[np.bool_]], weights: Image | None) -> NDArray[np.bool_]:
    """Say where all that `blend` reads is known, of the samples at -1, 0, 1 and 2."""
    every = known(0)
    if weights is not None:
        for k, weight in enumerate(weights, start=-1):
            every = every & (known(k) | (weight == 0))
    return every


def _overlap(start: int, length: int, room: int) -> tuple[slice, slice]:
    """Return where a line of `length` that starts at `start` lies in `room`, and which part of it."""
    first, last = max(start, 0), max(min(start + length, room), 0)
    return slice(min(first, last), last), slice(min(first, last) - start, last - start)
