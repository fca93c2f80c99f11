"""How far each strip of lines lies off the frame's rigid shift: tissue moves while it is scanned.

Works on one image and on what is remembered of it; knows nothing of rigid shifts, scans, channels or memories.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Motion
from deepbid_rt.motion.pyramid import Image, halve, smooth

Matrix = NDArray[np.float64]

LEAST_SIDE = 64
"""Images with a shorter side are taken to be rigid: their lines show too little."""
_MOST_SIDE = 256
"""Larger images are halved until their shorter side is at most this, for speed: a line of theirs says more anyway."""
_STRIPS = 16
"""Strips of lines that have a shift of their own; between their middles the shift is interpolated."""
_LIMIT_PX = 8.0
"""Farthest shift of a line off that of its frame."""
_STEP_PX = 2.5
"""Farthest that one iteration goes: linearised brightness says little about what lies beyond."""
_ITERATIONS = 2
"""At each of the two resolutions."""
_FIRST_VARIANCE = 0.1
_VARIANCE_GAIN = 0.1
_LEAST_VARIANCE = 1e-3
_TETHER = 1e-3
"""Inverse variance, px^-2, of a strip's shift about 0 in the absence of all else; keeps the equations solvable."""


class NonrigidMotionEstimator:
    """Most probable shift of each strip of lines, given a frame, its remembered picture, and how tissue moves.

    Parameters
    ----------
    size : tuple of int
        (Y, X) of the images.

    Notes
    -----
    Least squares on linearised brightness (Lucas and Kanade 1981), coarse to fine, with a random walk from strip to
    strip as the prior. Both terms are in units of their variance, so the answer is the maximum a posteriori: strips
    that show little follow their neighbours. The variance of the walk is learned from the frames by
    expectation-maximisation; on still tissue it goes towards 0, and with it all shifts.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.rigid = min(size) < LEAST_SIDE
        """True when the images are too small, and all shifts are 0."""
        halvings = 0
        while min(size) >> halvings > _MOST_SIDE:
            halvings += 1
        self._levels = halvings + 1, halvings
        steps = np.diff(np.eye(_STRIPS), axis=0)
        self._walk = steps.T @ steps
        self.reset()

    def reset(self) -> None:
        """Forget how much the tissue moves."""
        self._variance = _FIRST_VARIANCE

    def push(self, image: Image, averages: Image, start: Matrix) -> Matrix:
        """Say where the lines of a frame lie.

        Parameters
        ----------
        image : ndarray
            (Y, X) float32, the frame.
        averages : ndarray
            (Y, X) float32, what the frame would show if it did not lie off; where nothing is known, the frame itself.
        start : ndarray
            (2, 1) px: where the search begins, and what is answered for images too small to search.

        Returns
        -------
        ndarray
            (2, K) float64, px: how far the content of each strip lies below and right of where `averages` has it.
        """
        noise = float(np.var(image - averages))
        if self.rigid or noise == 0:
            return np.repeat(start, _STRIPS, axis=1)
        strips = np.repeat(start.T, _STRIPS, axis=0)
        covariance = np.zeros((2 * _STRIPS, 2 * _STRIPS))
        for level in self._levels:
            seen, expected = (smooth(halve(a, level)) for a in (image, averages))
            for _ in range(_ITERATIONS):
                strips, covariance = self._improve(strips, seen, expected, noise / 4**level, 2**level)
        self._learn(strips, covariance)
        return strips.T

    def _improve(
        self, strips: Matrix, image: Image, averages: Image, noise: float, pitch: int
    ) -> tuple[Matrix, Matrix]:
        """Do one step of Gauss and Newton; return the shifts, px of the full image, and their covariance."""
        hats = _hats(_STRIPS, len(image))
        expected = _move(averages, strips.T @ hats / pitch)
        slope_y, slope_x = np.zeros_like(expected), np.zeros_like(expected)
        np.subtract(expected[:-2], expected[2:], out=slope_y[1:-1])
        np.subtract(expected[:, :-2], expected[:, 2:], out=slope_x[:, 1:-1])
        for slope in (slope_y, slope_x):
            slope *= np.float32(0.5 / pitch)
        change = image - expected
        # The images are smooth, so their noise is less, and neighbours share it: what a slope can tell grows by this.
        smoother = smooth(slope_x)
        energy = float(np.vdot(slope_x, slope_x))
        share = float(np.vdot(smoother, smoother)) / energy if energy > 0 else 1.0
        weight = 1 / (noise * max(share, 1e-3))
        yy, xx, yx, y, x = (
            weight * (hats @ np.einsum("yx,yx->y", a, b))
            for a, b in (
                (slope_y, slope_y),
                (slope_x, slope_x),
                (slope_y, slope_x),
                (change, slope_y),
                (change, slope_x),
            )
        )
        prior = self._walk / self._variance + _TETHER * np.eye(_STRIPS)
        precision = np.zeros((_STRIPS, 2, _STRIPS, 2))
        k = np.arange(_STRIPS)
        precision[:, 0, :, 0] = prior + np.diag(yy)
        precision[:, 1, :, 1] = prior + np.diag(xx)
        precision[k, 0, k, 1] = precision[k, 1, k, 0] = yx
        covariance: Matrix = np.asarray(np.linalg.inv(precision.reshape(2 * _STRIPS, 2 * _STRIPS)), np.float64)
        step = covariance @ (np.stack([y, x], 1) - prior @ strips).ravel()
        moved = strips + np.clip(step.reshape(_STRIPS, 2), -_STEP_PX, _STEP_PX)
        return np.clip(moved, -_LIMIT_PX, _LIMIT_PX), covariance

    def _learn(self, strips: Matrix, covariance: Matrix) -> None:
        """Follow the variance of the walk: that of the estimated steps, and of what is not known about them."""
        variances = covariance.diagonal()
        unknown = variances[:-2] + variances[2:] - 2 * covariance.diagonal(2)
        found = float(np.mean(np.diff(strips, axis=0) ** 2) + np.mean(unknown))
        self._variance += _VARIANCE_GAIN * (found - self._variance)
        self._variance = max(self._variance, _LEAST_VARIANCE)


def shifts_of(motion: Motion, lines: int) -> Matrix:
    """Return where each line of a frame lies, (2, lines): dy and dx in px."""
    shifts: Matrix = np.repeat([[motion.dy], [motion.dx]], lines, axis=1)
    if motion.strip_dy:
        shifts += np.array([motion.strip_dy, motion.strip_dx]) @ _hats(len(motion.strip_dy), lines)
    return shifts


def _hats(strips: int, lines: int) -> Matrix:
    """Return the share of each strip's shift in that of each line, (K, lines): linear between middles of strips."""
    place = np.clip((np.arange(lines) + 0.5) * strips / lines - 0.5, 0, strips - 1)
    hats: Matrix = np.maximum(0, 1 - np.abs(place - np.arange(strips)[:, None]))
    return hats


def _move(image: Image, shifts: Matrix) -> Image:
    """Move each line's content by its own (dy, dx), bilinear; outermost pixels count as repeated."""
    lines, pixels = image.shape
    reach = int(np.ceil(np.abs(shifts).max())) + 1
    wide = np.pad(image, reach, mode="edge")
    y, x = np.arange(lines) + reach - shifts[0], reach - shifts[1]
    top, left = np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)
    down, right = (y - top).astype(np.float32)[:, None], (x - left).astype(np.float32)[:, None]
    rows = np.lib.stride_tricks.sliding_window_view(wide, pixels + 1, axis=1)
    moved = rows[top, left]
    moved += down * (rows[top + 1, left] - moved)
    return np.asarray(moved[:, :-1] + right * (moved[:, 1:] - moved[:, :-1]))
