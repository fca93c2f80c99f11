"""Motion within a frame: the shift of each strip of lines off the frame's rigid shift.

Tissue moves while it is scanned, so lines of one frame lie at different places. `NonrigidMotionEstimator` is the
reference implementation. The GPU versions in `deepbid_rt.runtimes.gpu` share its settings and its tables and are tested
against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Image, Motion
from deepbid_rt.motion.pyramid import halve, smooth

Matrix = NDArray[np.float64]

LEAST_SIDE = 64
"""Images with a shorter side are taken to be rigid: their lines hold too few pixels."""


@dataclass(frozen=True, slots=True)
class NonrigidMotionSettings:
    """Constants of motion estimation within a frame, shared by the numpy, the torch and the CUDA version."""

    most_side: int = 256
    """Pixels. Larger images are halved until their shorter side is at most this, for speed: one of their lines holds
    enough pixels anyway."""
    strips: int = 16
    """Strips of lines that have a shift of their own (K); between the middles of strips the shift is interpolated."""
    limit_px: float = 8.0
    """Largest shift of a strip off its frame, pixels."""
    step_px: float = 2.5
    """Largest change of a shift in one iteration, pixels: the linearised brightness holds only near the start."""
    iterations: int = 2
    """Iterations at each of the two resolutions."""
    first_variance: float = 0.1
    """Variance of the difference of neighbouring strips' shifts before any frame, px^2."""
    variance_gain: float = 0.1
    """Weight of a new frame in the running estimate of that variance."""
    least_variance: float = 1e-3
    """Lower limit of that variance, px^2."""
    tether: float = 1e-3
    """Inverse variance of a strip's shift about 0, px^-2; keeps the equations solvable where images show nothing."""


NONRIGID_SETTINGS = NonrigidMotionSettings()
"""The settings of every estimator."""


class NonrigidMotionEstimator:
    """Estimates the most probable shift of each strip of lines from a frame and the temporal average of its place.

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
        """True when the images are too small to estimate more than a rigid shift."""
        self._halvings = search_halvings(size)
        self._walk = random_walk_precision(NONRIGID_SETTINGS.strips)
        self.reset()

    def reset(self) -> None:
        """Forget the learned variance."""
        self._variance = NONRIGID_SETTINGS.first_variance

    def push(self, image: Image, averages: Image, start: Matrix) -> Matrix:
        """Return the shift of each strip of lines of a frame.

        Parameters
        ----------
        image : ndarray
            (Y, X) float32, the frame.
        averages : ndarray
            (Y, X) float32, what the frame would show at shift 0; the frame's own pixels where no average is known.
        start : ndarray
            (2, 1) px: dy and dx at which the search begins, and which are returned for images too small to search.

        Returns
        -------
        ndarray
            (2, K) float64, px: how far the content of each strip lies below and right of its place in `averages`.
        """
        settings = NONRIGID_SETTINGS
        noise = float(np.var(image - averages))
        if self.rigid or noise == 0:
            return np.repeat(start, settings.strips, axis=1)
        strips = np.repeat(start.T, settings.strips, axis=0)
        covariance = np.zeros((2 * settings.strips, 2 * settings.strips))
        for halvings in self._halvings:
            frame, expected = (smooth(halve(a, halvings)) for a in (image, averages))
            for _ in range(settings.iterations):
                strips, covariance = self._improve(strips, frame, expected, noise / 4**halvings, 2**halvings)
        self._learn(strips, covariance)
        return strips.T

    def _improve(
        self, strips: Matrix, image: Image, averages: Image, noise: float, pitch: int
    ) -> tuple[Matrix, Matrix]:
        """Do one Gauss-Newton step; return the shifts (K, 2), px of the full image, and their covariance (2 K, 2 K)."""
        count, step_px, limit_px = NONRIGID_SETTINGS.strips, NONRIGID_SETTINGS.step_px, NONRIGID_SETTINGS.limit_px
        shares = strip_weights(count, len(image))
        expected = _move(averages, strips.T @ shares / pitch)
        slope_y, slope_x = np.zeros_like(expected), np.zeros_like(expected)
        np.subtract(expected[:-2], expected[2:], out=slope_y[1:-1])
        np.subtract(expected[:, :-2], expected[:, 2:], out=slope_x[:, 1:-1])
        for slope in (slope_y, slope_x):
            slope *= np.float32(0.5 / pitch)
        change = image - expected
        # Smoothing lowers the noise of the images, and neighbouring pixels share what is left of it. The noise that
        # counts for a slope is lower by the ratio of the slopes' energy after and before they are smoothed once more.
        smoother = smooth(slope_x)
        energy = float(np.vdot(slope_x, slope_x))
        ratio = float(np.vdot(smoother, smoother)) / energy if energy > 0 else 1.0
        weight = 1 / (noise * max(ratio, 1e-3))
        yy, xx, yx, y, x = (
            weight * (shares @ np.einsum("yx,yx->y", a, b))
            for a, b in (
                (slope_y, slope_y),
                (slope_x, slope_x),
                (slope_y, slope_x),
                (change, slope_y),
                (change, slope_x),
            )
        )
        prior = self._walk / self._variance + NONRIGID_SETTINGS.tether * np.eye(count)
        precision = np.zeros((count, 2, count, 2))
        k = np.arange(count)
        precision[:, 0, :, 0] = prior + np.diag(yy)
        precision[:, 1, :, 1] = prior + np.diag(xx)
        precision[k, 0, k, 1] = precision[k, 1, k, 0] = yx
        covariance: Matrix = np.asarray(np.linalg.inv(precision.reshape(2 * count, 2 * count)), np.float64)
        step = covariance @ (np.stack([y, x], 1) - prior @ strips).ravel()
        moved = strips + np.clip(step.reshape(count, 2), -step_px, step_px)
        return np.clip(moved, -limit_px, limit_px), covariance

    def _learn(self, strips: Matrix, covariance: Matrix) -> None:
        """Update the variance of the walk: squared differences of the estimates, plus their uncertainty."""
        variances = covariance.diagonal()
        uncertainty = variances[:-2] + variances[2:] - 2 * covariance.diagonal(2)
        found = float(np.mean(np.diff(strips, axis=0) ** 2) + np.mean(uncertainty))
        self._variance += NONRIGID_SETTINGS.variance_gain * (found - self._variance)
        self._variance = max(self._variance, NONRIGID_SETTINGS.least_variance)


def line_shifts(motion: Motion, lines: int) -> Matrix:
    """Return the shift (dy, dx) of each line of a frame, (2, lines), px."""
    shifts: Matrix = np.repeat([[motion.dy], [motion.dx]], lines, axis=1)
    if motion.strip_dy:
        shifts += np.array([motion.strip_dy, motion.strip_dx]) @ strip_weights(len(motion.strip_dy), lines)
    return shifts


def strip_weights(strips: int, lines: int) -> Matrix:
    """Return the share of each strip's shift in that of each line, (K, lines): linear between the middles of strips."""
    place = np.clip((np.arange(lines) + 0.5) * strips / lines - 0.5, 0, strips - 1)
    weights: Matrix = np.maximum(0, 1 - np.abs(place - np.arange(strips)[:, None]))
    return weights


def search_halvings(size: tuple[int, int]) -> tuple[int, int]:
    """Return how often images of (Y, X) = `size` are halved for the coarse and for the fine search."""
    halvings = 0
    while min(size) >> halvings > NONRIGID_SETTINGS.most_side:
        halvings += 1
    return halvings + 1, halvings


def random_walk_precision(strips: int) -> Matrix:
    """Return the precision matrix (K, K) of a random walk from strip to strip whose steps have variance 1."""
    steps = np.diff(np.eye(strips), axis=0)
    return np.asarray(steps.T @ steps)


def _move(image: Image, shifts: Matrix) -> Image:
    """Move the content of each line by its own (dy, dx), bilinear; beyond the edge the outermost pixel is repeated."""
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
