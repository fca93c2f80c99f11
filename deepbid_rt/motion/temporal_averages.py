"""Exponential averages of past frames, motion-compensated: every pixel is averaged where the tissue lies.

The averages are arrays in the coordinates of the tissue, with a margin around the field of view. `TemporalAverages`
averages each line of a frame in at the place where it lies (`update`), and reads the averages back as a given frame
would show them (`recall`). Shifts come from the motion estimators.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Image
from deepbid_rt.scan.interpolation import cubic_weights, interpolate, interpolate_lines

LineShifts = NDArray[np.float64]
"""(2, Y) pixels: how far down (dy) and to the right (dx) the content of each line lies from its place in the tissue."""

MARGIN = 16
"""Lines and pixels around the field of view that the averages hold, so that tissue which motion hides for some frames
is still averaged when it returns."""
_SATURATED = 1 - 1e-5
"""Weight from which on an average counts as saturated and is updated with its constant gain, which is faster."""
_BLOCK_PIXELS = 1 << 16
"""Pixels processed at a time, so that intermediate arrays stay in the cache of one core. A recall of 512x512 pixels
took 3.5 ms; with half of this 4 ms, with twice as much 6 ms."""


class TemporalAverages:
    """Exponential averages of the frames of one channel, in the coordinates of the tissue.

    Parameters
    ----------
    gains : tuple of float
        Weight of the newest frame in each average (N averages) once it is saturated.
    size : tuple of int
        (Y, X) of a frame.

    Notes
    -----
    After n frames the frame that came k frames ago has weight ``a (1 - a)^k / (1 - (1 - a)^n)`` for a gain a: the first
    frames are averaged with each other and not with zeros. Missing frames increase k and are left out of the sum.

    An update rounds the shift of each line to whole pixels and never resamples the averages, so they do not blur with
    time. Rounding displaces pixels by up to half a pixel, evenly in all directions; this blurs less than averaging in
    with bilinear interpolation would. A recall interpolates with the Catmull-Rom cubic. At the border of the averaged
    area, where one of its four samples is missing, the nearest pixel is used.
    """

    def __init__(self, gains: tuple[float, ...], size: tuple[int, int]) -> None:
        self._gains = gains
        self._size = size
        self._block_lines = max(1, _BLOCK_PIXELS // size[1])
        shape = len(gains), size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
        self.means: Image = np.zeros(shape, np.float32)
        """(N, Y + 2 MARGIN, X + 2 MARGIN): the averages; pixel (y, x) of an unmoved frame is at (y, x) + MARGIN."""
        self.weights: Image = np.zeros(shape, np.float32)
        """The same shape: ``1 - (1 - a)^n`` where n frames have shown the place (so 0 for none), less after a gap."""

    @property
    def depth(self) -> int:
        """Number of averages."""
        return len(self._gains)

    def reset(self) -> None:
        """Forget all frames."""
        self.means.fill(0)
        self.weights.fill(0)

    def skip(self, count: int) -> None:
        """Make the averages older by `count` frames that show nothing."""
        for weight, gain in zip(self.weights, self._gains, strict=True):
            weight *= np.float32((1 - gain) ** count)

    def rebase(self, dy: int, dx: int) -> None:
        """Move the origin by whole pixels: what lay at (dy, dx) lies at (0, 0) from now on."""
        for state in (self.means, self.weights):
            moved = np.zeros_like(state)
            rows, columns = state.shape[1:]
            target, source = zip(*(_overlap(d, n, n) for d, n in ((dy, rows), (dx, columns))), strict=True)
            moved[:, *target] = state[:, *source]
            state[:] = moved

    def update(self, image: Image, shifts: LineShifts) -> None:
        """Average a frame in, each line where it lies.

        Parameters
        ----------
        image : ndarray
            (Y, X) float32.
        shifts : ndarray
            (2, Y) pixels: the shift of each line. Pixel (y, x) of the frame shows the place (y - dy, x - dx).
        """
        for lines, (dy, dx) in _runs(np.floor(shifts + 0.5).astype(np.intp), self._block_lines):
            target_y, source_y = _overlap(MARGIN + lines.start - dy, lines.stop - lines.start, self.means.shape[1])
            target_x, source_x = _overlap(MARGIN - dx, self._size[1], self.means.shape[2])
            self._average_in(image[lines][source_y, source_x], (target_y, target_x))

    def recall(self, shifts: LineShifts, out: Image) -> None:
        """Write the averages as a frame with these shifts would show them.

        Parameters
        ----------
        shifts : ndarray
            (2, Y) pixels: the shift of each line of the frame.
        out : ndarray
            (K + 1, Y, X) float32, written: the last K averages in the order of their gains, then the weight of the last
            average. Where a place was never shown, averages and weight are exactly 0.
        """
        position = MARGIN - shifts
        whole = np.floor(position)
        fraction = (position - whole).astype(np.float32)[..., None]
        top, left = whole.astype(np.intp)
        top += np.arange(len(top))
        inside = top.clip(1, self.means.shape[1] - 3)
        rows_shown = self._rows_shown(inside, fraction[0])
        for lines, (begin,) in _runs(left[None], self._block_lines):
            self._read(out[:, lines], inside[lines], begin, fraction[:, lines], rows_shown[lines])
        if (outside := top != inside).any():
            out[:, outside] = 0

    def _average_in(self, frame: Image, target: tuple[slice, slice]) -> None:
        """Average pixels into a part of the arrays."""
        means, weights = self.means[:, *target], self.weights[:, *target]
        if not weights.size:
            return
        for mean, weight, gain in zip(means, weights, self._gains, strict=True):
            step: Image | np.float32 = np.float32(gain)
            if weight.min() < _SATURATED:
                weight *= 1 - step
                weight += step
                step = step / weight
            change = frame - mean
            change *= step
            mean += change

    def _rows_shown(self, top: NDArray[np.intp], fraction: Image) -> NDArray[np.bool_]:
        """Return (lines, X + 2 MARGIN): True where every row that an interpolation along y uses has been shown."""
        shown = self.weights[-1] > 0
        return _all_used(lambda k: shown.take(top + k, axis=0), cubic_weights(fraction))

    def _read(
        self, out: Image, top: NDArray[np.intp], left: int, fraction: Image, rows_shown: NDArray[np.bool_]
    ) -> None:
        """Interpolate lines (K + 1, lines, X) that lie `fraction` (2, lines, 1) beyond (top, left) in the arrays."""
        width, columns = self.means.shape[2], out.shape[2]
        # Columns for which all four samples of the interpolation along x are inside the arrays.
        begin, end = max(1 - left, 0), min(width - 2 - left, columns)
        if end - begin < columns:
            out[:] = 0
        if begin >= end:
            return
        source, count = slice(left + begin - 1, left + end + 2), end - begin
        target, weights_x = out[..., begin:end], cubic_weights(fraction[1])
        means, weights = self.means[1 - len(out) :, :, source], self.weights[-1, :, source]
        lines = interpolate_lines(means, top, fraction[0])
        interpolate([lines[..., k : k + count] for k in range(4)], weights_x, out=target[:-1])
        target[-1] = weights[top, 1 : 1 + count]
        shown = _all_used(lambda k: rows_shown[:, source][:, 1 + k : 1 + k + count], weights_x)
        if not shown.all():
            y, x = np.divmod(np.flatnonzero(~shown), count)
            below, right = (fraction[..., 0] >= np.float32(0.5))[:, y]
            nearest = top[y] + below, 1 + x + right
            target[-1, y, x] = weights[nearest]
            target[:-1, y, x] = means[:, *nearest] * (target[-1, y, x] > 0)


def _runs(whole: NDArray[np.intp], most: int) -> Iterator[tuple[slice, list[int]]]:
    """Cut lines into runs of equal shift, at most `most` lines long; yield each run and its shift.

    `whole` is (K, lines), and the shift of a run has K elements.
    """
    ends = np.flatnonzero(np.diff(whole, axis=1).any(axis=0)) + 1
    for start, stop in itertools.pairwise([0, *ends.tolist(), whole.shape[1]]):
        for first in range(start, stop, most):
            yield slice(first, min(first + most, stop)), whole[:, start].tolist()


def _all_used(shown: Callable[[int], NDArray[np.bool_]], weights: Image | None) -> NDArray[np.bool_]:
    """Return where all samples are shown that `interpolate` uses: `shown(k)` for k = -1 … 2, unless its weight is 0."""
    result = shown(0)
    if weights is not None:
        for k, weight in enumerate(weights, start=-1):
            result = result & (shown(k) | (weight == 0))
    return result


def _overlap(start: int, length: int, room: int) -> tuple[slice, slice]:
    """Return the part of range(room) that a line covers which begins at `start`, and that part of the line."""
    first, last = max(start, 0), max(min(start + length, room), 0)
    return slice(min(first, last), last), slice(min(first, last) - start, last - start)
