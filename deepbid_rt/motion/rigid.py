"""Rigid motion: the shift of each frame against a running average of the frames before it.

`RigidMotionEstimator` is the reference implementation. The GPU versions in `deepbid_rt.runtimes.gpu` share its settings
and its tables and are tested against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from deepbid_rt.frame import Motion
from deepbid_rt.motion.pyramid import halve

LEAST_SIDE = 32
"""Images with a shorter side are taken to stand still: they hold too little to correlate."""


@dataclass(frozen=True, slots=True)
class RigidMotionSettings:
    """Gains and thresholds of rigid motion estimation, shared by the numpy, the torch and the CUDA version."""

    most_side: int = 512
    """Pixels. Of a larger image only the middle is correlated."""
    halved_side: int = 256
    """Pixels. Images whose shorter side is at least this are halved first: the band of the correlation (`low_pass`)
    holds no finer detail."""
    limit_px: int = 32
    """Largest shift that is searched, pixels; a quarter of the side where that is less."""
    high_pass: float = 0.02
    """Lower end of the band that is correlated, cycles per pixel (standard deviation of a Gaussian): uneven
    illumination lies below it."""
    low_pass: float = 0.10
    """Upper end of the band, cycles per pixel: above it there is mostly noise."""
    taper: float = 0.12
    """Share of a side over which the image fades to 0 at each border (raised cosine)."""
    reference_gain: float = 0.05
    """Weight of a new frame in the reference, once the reference holds `1 / reference_gain` frames."""
    confident: float = 5.0
    """Least height of the correlation peak above the mean of the surface, in standard deviations of the surface."""
    locked: int = 5
    """Frames. After more than this many tracked frames, low confidence means that the image is another one; before, it
    means that there is little to see."""
    patience: int = 10
    """Frames. After this many frames in a row that do not fit the reference, a new reference begins."""
    norm_gain: float = 0.1
    """Weight of a new frame in the running mean, deviation and grain that frames are compared with."""
    jump: float = 0.15
    """Least change of a frame's mean that makes it foreign, standard deviations of the noise."""
    jumps: float = 8.0
    """Least change of a frame's mean that makes it foreign, mean absolute deviations of earlier frames' means; the
    larger of the two limits holds."""
    grain: float = 1.7
    """Factor by which the grain (see `_grain`) of a frame may differ from that of earlier frames."""


RIGID_SETTINGS = RigidMotionSettings()
"""The settings of every estimator."""


@dataclass(frozen=True, slots=True, eq=False)
class CorrelationTables:
    """What the correlation of images of one size needs, see `correlation_tables`."""

    pitch: int
    """Pixels of the image in one pixel of the correlation: 2 when the image is halved, else 1."""
    side: tuple[int, int]
    """(Y, X) of what is transformed, in pixels of the correlation."""
    crop: tuple[slice, slice]
    """The part of the image that is used."""
    limits: tuple[int, int]
    """Largest shift along y and x, in pixels of the correlation."""
    taper: NDArray[np.float32]
    """(Y, X) factor of the image before it is transformed."""
    frequencies: tuple[NDArray[np.float64], NDArray[np.float64]]
    """(Y, 1) and (1, X // 2 + 1), cycles per pixel of the correlation."""
    band: NDArray[np.float32]
    """(Y, X // 2 + 1) factor of the cross spectrum."""


def correlation_tables(size: tuple[int, int]) -> CorrelationTables:
    """Return the tables for images of (Y, X) = `size`."""
    settings = RIGID_SETTINGS
    pitch = 2 if min(size) >= settings.halved_side else 1
    rows, columns = (_fast_length(min(n, settings.most_side) // pitch) for n in size)
    used = rows * pitch, columns * pitch
    top, left = ((n - m) // 2 for n, m in zip(size, used, strict=True))
    limit_y, limit_x = (min(settings.limit_px, n // 4) // pitch for n in used)
    frequencies = scipy.fft.fftfreq(rows)[:, None], scipy.fft.rfftfreq(columns)[None, :]
    square = frequencies[0] ** 2 + frequencies[1] ** 2
    low, high = settings.low_pass * pitch, settings.high_pass * pitch
    band = np.exp(-square / (2 * low**2)) * (1 - np.exp(-square / (2 * high**2)))
    return CorrelationTables(
        pitch=pitch,
        side=(rows, columns),
        crop=(slice(top, top + used[0]), slice(left, left + used[1])),
        limits=(limit_y, limit_x),
        taper=np.outer(_taper(rows), _taper(columns)).astype(np.float32),
        frequencies=frequencies,
        band=band.astype(np.float32),
    )


class RigidMotionEstimator:
    """Estimates rigid shifts by FFT correlation with a running average of the aligned earlier frames.

    Parameters
    ----------
    size : tuple of int
        (Y, X) of the images.

    Notes
    -----
    Source: phase correlation as in NoRMCorre and scikit-image. Phase correlation divides the cross spectrum by its
    amplitude, plain correlation does not; here it is divided by the square root of the reference's amplitude. Fully
    whitened, the estimate follows the noise at 0.4 photons per pixel; without whitening its peak stands out least
    (see docs/explanation/motion-and-averages.md). The reference is kept as a spectrum: aligning a frame with it is an
    exact multiplication, which does not blur it. The reference keeps its own coordinates, and slow changes of the
    tissue enter it with each frame.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._still = min(size) < LEAST_SIDE
        self._tables = correlation_tables(size)
        self.reset()

    def reset(self) -> None:
        """Forget the reference; the next frame begins a new one at shift 0."""
        self._reference: NDArray[np.complex64] | None = None
        self._shift = 0.0, 0.0
        self._tracked = self._misfits = self._compared = 0
        self._mean = self._deviation = self._grain = 0.0

    def rebase(self, dy: int, dx: int) -> None:
        """Move the origin by whole pixels: a frame that lay at (dy, dx) then lies at (0, 0)."""
        self._shift = self._shift[0] - dy, self._shift[1] - dx
        if self._reference is not None:
            self._reference *= self._shift_factor(dy, dx)

    def push(self, image: NDArray[np.float32]) -> Motion:
        """Return the shift of a frame, and average the frame into the reference if it fits.

        Parameters
        ----------
        image : ndarray
            (Y, X), float32, in standard deviations of the noise. A value that is not finite makes the frame foreign.

        Returns
        -------
        Motion
            Without strips. ``restarted`` for the first frame, for a frame after `RigidMotionSettings.patience` misfits,
            and ``held`` at shift 0 for all frames of images smaller than `LEAST_SIDE`.
        """
        if self._still:
            return Motion(0.0, 0.0, 0.0, "held")
        if self._is_foreign(image):
            return self._misfit(image)
        middle = image[self._tables.crop]
        if self._tables.pitch > 1:
            middle = halve(middle)
        spectrum = scipy.fft.rfft2((middle - middle.mean()) * self._tables.taper)
        if self._reference is None:
            self._reference, self._tracked = spectrum, 1
            return Motion(0.0, 0.0, 0.0, "restarted")
        dy, dx, confidence = self._correlate(spectrum, self._reference)
        if confidence < RIGID_SETTINGS.confident:
            if self._tracked > RIGID_SETTINGS.locked:
                return self._misfit(image, confidence)
            return Motion(*self._shift, confidence, "held")
        self._tracked += 1
        self._misfits = 0
        self._shift = dy, dx
        self._reference += np.float32(max(RIGID_SETTINGS.reference_gain, 1 / self._tracked)) * (
            spectrum * self._shift_factor(-dy, -dx) - self._reference
        )
        return Motion(dy, dx, confidence, "tracked")

    def _misfit(self, image: NDArray[np.float32], confidence: float = 0.0) -> Motion:
        self._misfits += 1
        if self._misfits < RIGID_SETTINGS.patience or not np.isfinite(image).all() or _grain(image) == 0:
            return Motion(*self._shift, confidence, "foreign")
        self.reset()
        return self.push(image)

    def _is_foreign(self, image: NDArray[np.float32]) -> bool:
        settings = RIGID_SETTINGS
        mean, grain = float(image.mean(dtype=np.float64)), _grain(image)
        if not math.isfinite(mean + grain) or grain == 0:
            return True
        if self._compared:
            far = abs(mean - self._mean) > max(settings.jump, settings.jumps * self._deviation)
            if far or not 1 / settings.grain < grain / self._grain < settings.grain:
                return True
        self._compared += 1
        gain = max(settings.norm_gain, 1 / self._compared)
        self._deviation += gain * (abs(mean - self._mean) * (self._compared > 1) - self._deviation)
        self._mean += gain * (mean - self._mean)
        self._grain += gain * (grain - self._grain)
        return False

    def _correlate(
        self, spectrum: NDArray[np.complex64], reference: NDArray[np.complex64]
    ) -> tuple[float, float, float]:
        """Return dy, dx in pixels of the image, and the confidence."""
        tables = self._tables
        amplitude = np.sqrt(np.abs(reference))
        amplitude += np.float32(1e-6) * amplitude.max() + np.finfo(np.float32).tiny
        cross = spectrum * reference.conj() * (tables.band / amplitude)
        surface = scipy.fft.irfft2(cross, tables.side)
        limit_y, limit_x = tables.limits
        rows = np.arange(-limit_y, limit_y + 1) % tables.side[0]
        columns = np.arange(-limit_x, limit_x + 1) % tables.side[1]
        near = surface[np.ix_(rows, columns)]
        inner = near[1:-1, 1:-1]
        i, j = (int(n) + 1 for n in np.unravel_index(int(inner.argmax()), inner.shape))
        peak = float(near[i, j])
        rest = near.copy()
        rest[max(i - 4, 0) : i + 5, max(j - 4, 0) : j + 5] = np.nan
        spread = float(np.nanstd(rest))
        confidence = (peak - float(np.nanmean(rest))) / spread if spread > 0 else 0.0
        dy = i - limit_y + _vertex(near[i - 1, j], peak, near[i + 1, j])
        dx = j - limit_x + _vertex(near[i, j - 1], peak, near[i, j + 1])
        return tables.pitch * dy, tables.pitch * dx, confidence

    def _shift_factor(self, dy: float, dx: float) -> NDArray[np.complex64]:
        """Return the factor of a spectrum that moves its image by (dy, dx)."""
        y, x = (f / self._tables.pitch for f in self._tables.frequencies)
        factor: NDArray[np.complex64] = np.exp(-2j * np.pi * dy * y).astype(np.complex64) * np.exp(
            -2j * np.pi * dx * x
        ).astype(np.complex64)
        return factor


def _fast_length(side: int) -> int:
    """Return the longest even length up to `side` for which the FFT is fast (no prime factor above 5)."""
    while side > 2 and (side % 2 or scipy.fft.next_fast_len(side, real=True) != side):
        side -= 1
    return side


def _taper(side: int) -> NDArray[np.float64]:
    window = np.ones(side)
    fade = max(int(side * RIGID_SETTINGS.taper), 1)
    window[:fade] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
    window[-fade:] = window[:fade][::-1]
    return window


def _grain(image: NDArray[np.float32]) -> float:
    """Return the mean absolute difference of neighbouring lines: mostly noise."""
    return float(np.abs(np.diff(image, axis=0)).mean(dtype=np.float64))


def _vertex(before: float, peak: float, after: float) -> float:
    """Return the vertex of the parabola through three samples, relative to the middle one, limited to +-0.5."""
    curvature = before - 2 * peak + after
    return float(np.clip((before - after) / (2 * curvature), -0.5, 0.5)) if curvature < 0 else 0.0
