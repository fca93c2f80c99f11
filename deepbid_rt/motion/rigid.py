"""How far the tissue has moved, frame by frame, against a running picture of it.

Works on one image per frame and on the past alone; knows nothing of scans, channels, engines or of what is remembered.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from deepbid_rt.frame import Motion
from deepbid_rt.motion.pyramid import halve

LEAST_SIDE = 32
"""Images with a shorter side are taken to stand still: there is too little to correlate."""
_MOST_SIDE = 512
"""Larger images are judged by their middle."""
_HALVED_SIDE = 256
"""Images whose shorter side is at least this are halved first: the correlation keeps no finer detail anyway."""
_LIMIT = 32
"""Farthest shift that is looked for, pixels; a quarter of the side where that is less."""
_HIGH_PASS, _LOW_PASS = 0.02, 0.10
"""Band of the correlation, cycles per pixel (Gaussian edges): no illumination below it, only noise above."""
_TAPER = 0.12
"""Share of a side over which the image fades out at each border."""
_REFERENCE_GAIN = 0.05
_CONFIDENT = 5.0
"""Least height of the correlation peak over the rest, in its standard deviations."""
_LOCKED = 5
"""Frames tracked before low confidence means that something happened, not that there is nothing to see."""
_PATIENCE = 10
"""Frames in a row that do not fit before the reference is given up."""
_NORM_GAIN = 0.1
_JUMP = 0.15
"""Least change of the mean, in units of the noise, that makes a frame foreign."""
_JUMPS = 8.0
"""The same, in mean absolute deviations of the mean of the frames before."""
_GRAIN = 1.7
"""Factor by which the grain of a frame may differ from that of the frames before."""


class RigidMotionEstimator:
    """Estimates rigid shifts by FFT correlation with a running average of the aligned past.

    Parameters
    ----------
    size : tuple of int
        (Y, X) of the images.

    Notes
    -----
    Source: phase correlation as in NoRMCorre and scikit-image, between its two extremes: the cross spectrum is
    divided by the square root of the reference's amplitude. Fully whitened it follows the noise at 0.4 photons per
    pixel, not whitened at all its peak stands out least (figures in docs/stream-engine.md). The reference is kept as
    a spectrum, so aligning a frame with it is an exact multiplication and never blurs it; it stays in coordinates of
    its own, while slow change of the tissue enters with each frame.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._still = min(size) < LEAST_SIDE
        self._pitch = 2 if min(size) >= _HALVED_SIDE else 1
        self._side = tuple(_fast_length(min(n, _MOST_SIDE) // self._pitch) for n in size)
        used = tuple(n * self._pitch for n in self._side)
        self._crop = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(size, used, strict=True))
        rows, columns = self._side
        self._limits = tuple(min(_LIMIT, n // 4) // self._pitch for n in used)
        self._taper = np.outer(_taper(rows), _taper(columns)).astype(np.float32)
        self._frequencies = scipy.fft.fftfreq(rows)[:, None], scipy.fft.rfftfreq(columns)[None, :]
        square = self._frequencies[0] ** 2 + self._frequencies[1] ** 2
        low, high = _LOW_PASS * self._pitch, _HIGH_PASS * self._pitch
        band = np.exp(-square / (2 * low**2)) * (1 - np.exp(-square / (2 * high**2)))
        self._band = band.astype(np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the reference; the next frame begins a new one at shift 0."""
        self._reference: NDArray[np.complex64] | None = None
        self._shift = 0.0, 0.0
        self._tracked = self._misfits = self._seen = 0
        self._mean = self._deviation = self._grain = 0.0

    def rebase(self, dy: int, dx: int) -> None:
        """Move the origin by whole pixels: a frame that lay at (dy, dx) lies at 0 from now on."""
        self._shift = self._shift[0] - dy, self._shift[1] - dx
        if self._reference is not None:
            self._reference *= self._turn(dy, dx)

    def push(self, image: NDArray[np.float32]) -> Motion:
        """Say where a frame lies, and let it enter the reference if it fits.

        Parameters
        ----------
        image : ndarray
            (Y, X), float32, in standard deviations of the noise. Values that are not finite make a frame foreign.
        """
        if self._still:
            return Motion(0.0, 0.0, 0.0, "held")
        if self._is_foreign(image):
            return self._misfit(image)
        middle = image[self._crop]
        if self._pitch > 1:
            middle = halve(middle)
        spectrum = scipy.fft.rfft2((middle - middle.mean()) * self._taper)
        if self._reference is None:
            self._reference, self._tracked = spectrum, 1
            return Motion(0.0, 0.0, 0.0, "restarted")
        dy, dx, confidence = self._correlate(spectrum, self._reference)
        if confidence < _CONFIDENT:
            if self._tracked > _LOCKED:
                return self._misfit(image, confidence)
            return Motion(*self._shift, confidence, "held")
        self._tracked += 1
        self._misfits = 0
        self._shift = dy, dx
        self._reference += np.float32(max(_REFERENCE_GAIN, 1 / self._tracked)) * (
            spectrum * self._turn(-dy, -dx) - self._reference
        )
        return Motion(dy, dx, confidence, "tracked")

    def _misfit(self, image: NDArray[np.float32], confidence: float = 0.0) -> Motion:
        self._misfits += 1
        if self._misfits < _PATIENCE or not np.isfinite(image).all() or _grain(image) == 0:
            return Motion(*self._shift, confidence, "foreign")
        self.reset()
        return self.push(image)

    def _is_foreign(self, image: NDArray[np.float32]) -> bool:
        mean, grain = float(image.mean(dtype=np.float64)), _grain(image)
        if not math.isfinite(mean + grain) or grain == 0:
            return True
        if self._seen:
            far = abs(mean - self._mean) > max(_JUMP, _JUMPS * self._deviation)
            if far or not 1 / _GRAIN < grain / self._grain < _GRAIN:
                return True
        self._seen += 1
        gain = max(_NORM_GAIN, 1 / self._seen)
        self._deviation += gain * (abs(mean - self._mean) * (self._seen > 1) - self._deviation)
        self._mean += gain * (mean - self._mean)
        self._grain += gain * (grain - self._grain)
        return False

    def _correlate(
        self, spectrum: NDArray[np.complex64], reference: NDArray[np.complex64]
    ) -> tuple[float, float, float]:
        amplitude = np.sqrt(np.abs(reference))
        amplitude += np.float32(1e-6) * amplitude.max() + np.finfo(np.float32).tiny
        cross = spectrum * reference.conj() * (self._band / amplitude)
        surface = scipy.fft.irfft2(cross, self._side)
        high, wide = self._limits
        rows = np.arange(-high, high + 1) % self._side[0]
        columns = np.arange(-wide, wide + 1) % self._side[1]
        near = surface[np.ix_(rows, columns)]
        inner = near[1:-1, 1:-1]
        i, j = (int(n) + 1 for n in np.unravel_index(int(inner.argmax()), inner.shape))
        peak = float(near[i, j])
        rest = near.copy()
        rest[max(i - 4, 0) : i + 5, max(j - 4, 0) : j + 5] = np.nan
        spread = float(np.nanstd(rest))
        confidence = (peak - float(np.nanmean(rest))) / spread if spread > 0 else 0.0
        dy = i - high + _vertex(near[i - 1, j], peak, near[i + 1, j])
        dx = j - wide + _vertex(near[i, j - 1], peak, near[i, j + 1])
        return self._pitch * dy, self._pitch * dx, confidence

    def _turn(self, dy: float, dx: float) -> NDArray[np.complex64]:
        """Return the spectrum's factor that moves an image by (dy, dx)."""
        y, x = (f / self._pitch for f in self._frequencies)
        turn: NDArray[np.complex64] = np.exp(-2j * np.pi * dy * y).astype(np.complex64) * np.exp(
            -2j * np.pi * dx * x
        ).astype(np.complex64)
        return turn


def _fast_length(side: int) -> int:
    """Return the longest even length up to `side` that an FFT is quick at (no factor above 5)."""
    while side > 2 and (side % 2 or scipy.fft.next_fast_len(side, real=True) != side):
        side -= 1
    return side


def _taper(side: int) -> NDArray[np.float64]:
    window = np.ones(side)
    fade = max(int(side * _TAPER), 1)
    window[:fade] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
    window[-fade:] = window[:fade][::-1]
    return window


def _grain(image: NDArray[np.float32]) -> float:
    """Return the mean absolute difference of neighbouring lines: noise, mostly."""
    return float(np.abs(np.diff(image, axis=0)).mean(dtype=np.float64))


def _vertex(before: float, peak: float, after: float) -> float:
    """Return where between its neighbours the parabola through three samples has its vertex."""
    bend = before - 2 * peak + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
