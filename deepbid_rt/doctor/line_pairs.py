"""How alike neighbouring lines of a frame are, as stored and with every second line reversed.

All questions about the scan rest on this. The noise of two lines is independent, also where it is correlated along a
line, so that the covariance of two lines is that of the tissue alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.doctor.sample import Runs, as_floats

MIN_PIXELS = 32
"""Shorter lines are not judged, as in `deepbid_rt.scan.line_phase`."""
MIN_LINES = 16
"""Frames with fewer lines are not judged: their pairs of lines are too few to know how much they differ by chance."""
GROUP_FRAMES = 16
"""Frames that are averaged before lines are compared: the noise falls, and half a second of motion blurs little."""
MOST_GROUPS = 16
"""Groups that are used, spread over all of them, to bound the time."""
_EDGE_PX = 8
_HIGH_PASS, _LOW_PASS = 0.02, 0.15
_UPSAMPLING = 4
_BLOCKS = 16
"""Blocks of lines that are left out in turn to find how much a figure varies."""
_NULLS = 8
"""Distances of unrelated lines that show how large a covariance is by chance."""

Covariances = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LinePairs:
    """Covariances of lines, band-passed along x, for blocks of lines (B,) and lags along x (B, L)."""

    within: Covariances
    """Lines 2k and 2k+1."""
    between: Covariances
    """Lines 2k+1 and 2k+2."""
    within_reversed: Covariances
    """As `within`, with lines 2k+1 reversed."""
    between_reversed: Covariances
    """As `between`, with lines 2k+1 reversed."""
    alternate: Covariances
    """(B,) lines k and k+2 at lag 0: scanned in the same direction in any case."""
    chance: float
    """Standard deviation of the covariance of two unrelated lines, summed over all pairs."""
    lags_px: NDArray[np.float64]
    """(L,)"""

    @property
    def alternate_z(self) -> float:
        """Covariance of every second line, in standard deviations of what is found by chance; 0 without a picture."""
        return float(self.alternate.sum()) / self.chance if self.chance > 0 else 0.0

    def peak(self, reversed_lines: bool) -> tuple[float, float]:
        """Return the highest covariance of neighbouring lines, in those of every second line, and its lag in px."""
        total = (self.within_reversed + self.between_reversed if reversed_lines else self.within + self.between).sum(0)
        best = int(total.argmax())
        scale = float(self.alternate.sum())
        return (float(total[best]) / scale if scale > 0 else 0.0), float(self.lags_px[best])

    def peak_z(self, reversed_lines: bool) -> float:
        """Return the highest covariance of neighbouring lines in standard deviations of what is found by chance."""
        return self.peak(reversed_lines)[0] * self.alternate_z

    def pairing(self, reversed_lines: bool) -> tuple[float, float]:
        """Return how much lines 2k and 2k+1 belong together, and its standard error.

        It is 1 when they show the same place (collinear), 0 when all lines are equally far apart (ordinary), and -1
        when lines 2k+1 and 2k+2 show the same place.

        Notes
        -----
        With r(d) the covariance at a distance of d lines: collinear lines have r(0) within a pair and r(1) between
        pairs and between every second line; ordinary ones r(1), r(1) and r(2). So
        (within - between) / (within + between - 2 alternate) is 1 and 0, whatever the tissue. The standard error is
        that of the jackknife over blocks of lines.
        """
        within, between = (
            (self.within_reversed, self.between_reversed) if reversed_lines else (self.within, self.between)
        )
        best = int((within + between).sum(0).argmax())
        difference = within[:, best] - between[:, best]
        closeness = within[:, best] + between[:, best] - self.alternate
        return _jackknife(lambda kept: _ratio(difference[kept].sum(), closeness[kept].sum()), len(difference))


def measure_line_pairs(runs: Runs) -> LinePairs | None:
    """Compare the lines of the mean pictures of groups of frames.

    Parameters
    ----------
    runs : sequence of ndarray
        Arrays (T, Y, X) of raw counts.

    Returns
    -------
    LinePairs or None
        None when the frames are too small.
    """
    images = group_means(runs)
    if images is None or images.shape[1] < MIN_LINES or images.shape[2] < MIN_PIXELS:
        return None
    lines, pixels = images.shape[1:]
    images = (images - images.mean(-1, keepdims=True)) * _taper(pixels)
    longest = pixels // 8
    points = 1 << (pixels + longest).bit_length()
    cycles = np.fft.rfftfreq(points)
    band = np.exp(-0.5 * (cycles / _LOW_PASS) ** 2) * -np.expm1(-0.5 * (cycles / _HIGH_PASS) ** 2)
    even, odd = (np.fft.rfft(part, points) for part in (images[:, 0::2], images[:, 1::2]))
    odd_reversed = np.fft.rfft(images[:, 1::2, ::-1], points)
    lags = np.arange(-_UPSAMPLING * longest, _UPSAMPLING * longest + 1)
    blocks = max(2, min(_BLOCKS, lines // 8))
    count = min(even.shape[1], odd.shape[1])
    starts = np.arange(blocks) * (count - 2) // blocks

    def products(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> NDArray[np.complex128]:
        return np.asarray(np.einsum("nlk,nlk->lk", a, b.conj()) * band)

    def covariance(spectra: NDArray[np.complex128]) -> Covariances:
        summed = np.add.reduceat(spectra, starts, axis=0)
        curve: Covariances = np.fft.irfft(summed, _UPSAMPLING * points)[:, lags] * _UPSAMPLING
        return curve

    def neighbours(other: NDArray[np.complex128]) -> tuple[Covariances, Covariances]:
        inside = products(other[:, :count], even[:, :count])
        below = products(other[:, : count - 1], even[:, 1:count])
        return covariance(inside[1:-1]), covariance((below[:-1] + below[1:]) / 2)

    # All around the pair of lines 2k and 2k+1, for k from 1 on: what is between pairs lies on both sides, so that
    # brightness that changes from top to bottom cancels within each block.
    within, between = neighbours(odd)
    within_reversed, between_reversed = neighbours(odd_reversed)
    evens = products(even[:, 1:count], even[:, : count - 1])[1:]
    odds = products(odd[:, 1:count], odd[:, : count - 1])[:-1]
    alternate = covariance(evens + odds)[:, len(lags) // 2]
    far = [round(count * part) for part in np.linspace(0.25, 0.75, _NULLS)]
    unrelated = [
        2 * covariance(products(np.roll(side[:, :count], step, 1), even[:, :count])[1:-1]).sum(0)
        for step in far
        for side in (odd, odd_reversed)
    ]
    chance = float(np.sqrt(np.square(unrelated).mean()))
    return LinePairs(within, between, within_reversed, between_reversed, alternate, chance, lags / _UPSAMPLING)


def group_means(runs: Runs) -> NDArray[np.float32] | None:
    """Return the mean pictures (N, Y, X) of groups of frames that follow each other; None when there is no frame."""
    groups = [run[t : t + GROUP_FRAMES] for run in runs for t in range(0, len(run), GROUP_FRAMES)]
    if not groups:
        return None
    longest = max(len(group) for group in groups)
    groups = [group for group in groups if 2 * len(group) >= longest]
    chosen = [groups[i] for i in np.unique(np.linspace(0, len(groups) - 1, min(MOST_GROUPS, len(groups))).astype(int))]
    return np.stack([np.mean([as_floats(image) for image in group], axis=0) for group in chosen])


def _taper(pixels: int) -> NDArray[np.float32]:
    """Return a Hann window (X,) that is 0 at both ends, where the laser is blanked, not equally in both directions."""
    edge = min(_EDGE_PX, pixels // 16)
    window = np.zeros(pixels, np.float32)
    inner = pixels - 2 * edge
    window[edge : pixels - edge] = np.sin(np.pi * (np.arange(inner) + 0.5) / inner) ** 2
    return window


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else float("nan")


def _jackknife(figure: Callable[[NDArray[np.bool_]], float], blocks: int) -> tuple[float, float]:
    """Return a figure of all blocks and its standard error, from leaving out each block in turn."""
    without = np.array([figure(np.arange(blocks) != block) for block in range(blocks)])
    error = float(np.sqrt((blocks - 1) / blocks * np.square(without - without.mean()).sum()))
    return figure(np.ones(blocks, bool)), error
