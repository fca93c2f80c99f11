"""Measures the line phase: the offset along x between the forward and the backward lines of a bidirectional scan.

If the mirror and the sampling are not synchronised, backward lines are shifted against forward lines of the same
tissue. The estimator correlates neighbouring forward and backward lines, averages their cross-spectra over lines and
frames (at few photons a single pair of lines says little), and takes the offset from the peak of the averaged
correlation. It is phase correlation (Kuglin and Hines 1975) along x, but without whitening and within a frequency band.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from deepbid_rt.frame import Image, StreamInfo
from deepbid_rt.scan.directions import split_scan, view_line_counts

MIN_PIXELS = 32
"""Shorter lines are not measured: with both ends excluded they have too few pixels."""
MEASURED_FRAMES_HZ = 30.0
"""Frames measured per second, about. Of faster streams only every second, third … frame is used, to bound the cost."""
MEASURED_PIXELS_HZ = 3 * 2.0**19
"""Pixels measured per second, about, over all channels: a fifth of those of 512x512 frames at 30 Hz. Of larger frames
the lines take turns."""
BLOCK_S = 1.0
"""Frames are summed up in blocks of this duration; a new estimate follows each block."""
AVERAGED_BLOCKS = 10
"""Time constant of the average over blocks, in blocks. Until there are as many, all blocks count equally."""
_MAX_OFFSET_PX = 16
"""Largest offset that is searched for; an eighth of the line if that is less."""
_EDGE_PX = 8
"""Pixels that are excluded at both ends of a line: lasers are blanked there, not equally in both directions."""
_HIGH_PASS, _LOW_PASS = 0.02, 0.15
"""Band of the correlation, cycles per pixel (Gaussian edges): below it is illumination, above it only noise."""
_MAX_ERROR_PX = 0.15
"""Standard error above which an estimate is discarded."""
_ERROR_FACTOR = 2.0
"""Correction of the standard error: the taper correlates the noise of neighbouring frequencies."""
_STEP_ERRORS = 5.0
"""Standard errors by which a block must differ from the average to show a step of the line phase."""
_MIN_STEP_PX = 0.3
"""Least difference that counts as a step; smaller changes are followed by the average."""
_MAX_ENERGY = 4.0
"""Largest weight of a frame, relative to an average frame: a flash must not dominate the average."""
_ENERGY_GAIN = 0.05
"""Gain of the average energy: at 30 frames per second it follows bleaching and focus within a second."""
_UPSAMPLING = 8
"""Grid points per pixel on which the peak is searched before it is refined."""
_ITERATIONS = 3
"""Newton steps that refine the peak; the first starts within 1/16 px of it, and each squares the error."""

Spectrum = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class _Estimate:
    px: float
    error_px: float
    """Standard error."""

    @property
    def reliable(self) -> bool:
        return self.error_px < _MAX_ERROR_PX


class LinePhaseEstimator:
    """Measures the offset along x between forward and backward lines.

    Parameters
    ----------
    info : StreamInfo
        The raw series. All planes and channels are scanned by the same mirrors and share one line phase.

    Notes
    -----
    Each backward line is paired with forward lines of the same tissue. Collinear scan: the forward line of the same
    place. Ordinary scan: the mean of the forward lines above and below, so that slanted structures cause no offset. The
    two lines of a pair are scanned at different times, so their noise is independent, even where it is correlated along
    x, and averages out of the cross-spectrum. Single spectra are not whitened, because at few photons this would
    amplify the noise.

    The offset is one number for the whole line. Where a resonant scan was resampled to equal distances in the tissue, a
    wrong line phase shifts the middle of a line most; the taper makes the estimate nearly that of the middle.
    """

    def __init__(self, info: StreamInfo) -> None:
        scan, (channels, lines, pixels) = info.scan, info.shape
        forward, backward = view_line_counts(lines, scan)
        self._scan, self._ordinary = scan, scan.layout == "ordinary"
        # First backward line with a forward line above it: an ordinary scan that begins backward lacks one for line 0.
        self._first = int(self._ordinary and scan.first == "backward")
        self._pairs = min(forward - self._ordinary, backward - self._first)
        self.measurable = scan.bidirectional and self._pairs >= 1 and pixels >= MIN_PIXELS
        """False when the scan has one direction or the frames are too small; nothing is measured then."""
        self._frame_interval = max(1, round(info.rate_hz / MEASURED_FRAMES_HZ))
        pixels_per_frame = MEASURED_PIXELS_HZ * self._frame_interval / info.rate_hz
        self._line_interval = max(
            1, min(self._pairs, math.ceil(2 * channels * self._pairs * pixels / pixels_per_frame))
        )
        self._block_frames = max(1, round(BLOCK_S * info.rate_hz))
        self._max_offset = max_offset_px(pixels)
        edge = min(_EDGE_PX, pixels // 16)
        self._taper = _taper(pixels, edge)
        # Curvature at the peak of the taper's own correlation, which draws all peaks towards 0. Value of a Hann window.
        self._taper_curvature = 4 / 3 * (np.pi / (pixels - 2 * edge)) ** 2
        self._omega = 2 * np.pi * scipy.fft.rfftfreq(pixels)
        cycles = self._omega / (2 * np.pi)
        self._band = np.exp(-0.5 * (cycles / _LOW_PASS) ** 2) * -np.expm1(-0.5 * (cycles / _HIGH_PASS) ** 2)
        self._mean_energy = np.zeros(channels)
        self._frames = self._measured_frames = self._blocks = 0
        self._block: Spectrum = np.zeros(self._band.size, np.complex128)
        self._average = self._block.copy()
        self._px: float | None = None

    @property
    def px(self) -> float | None:
        """Pixels by which backward lines lie to the right of forward lines, in image order.

        The latest reliable estimate; it stays while frames are dark. None before the first one.
        """
        return self._px

    def push(self, pixels: NDArray[Any]) -> None:
        """Measure the next frame of the series.

        Parameters
        ----------
        pixels : ndarray
            (C, Y, X) raw counts as scanned. Lines that are dark, constant or not finite contribute nothing.
        """
        if not self.measurable:
            return
        if self._frames % self._frame_interval == 0:
            self._measure(pixels)
        self._frames += 1
        if self._frames % self._block_frames == 0:
            self._finish_block()

    def _measure(self, pixels: NDArray[Any]) -> None:
        """Add the cross-spectra of some lines of a frame to the block."""
        selected = slice(self._measured_frames % self._line_interval, self._pairs, self._line_interval)
        self._measured_frames += 1
        forward, backward = split_scan(pixels, self._scan)
        with np.errstate(over="ignore", invalid="ignore"):
            lines = np.stack([forward[:, selected], backward[:, self._first :][:, selected]])
            lines = lines.astype(np.float32)  # (2, C, L, X)
            if self._ordinary:
                lines[0] += forward[:, 1:][:, selected]
            if pixels.dtype.kind == "f":
                lines[:, ~np.isfinite(lines.sum((0, 3)))] = 0
            # Subtracting the first pixel is exact: constant lines become 0 and not the rounding error of their mean.
            lines -= lines[..., :1].copy()
            lines -= lines.mean(-1, keepdims=True)
            lines *= self._taper
            rms = np.sqrt(np.square(lines).mean((2, 3)))  # (2, C)
        usable = np.isfinite(rms).all(0) & (rms > np.finfo(np.float32).tiny).all(0)
        if not usable.any():
            return
        spectra = scipy.fft.rfft(lines[:, usable] / rms[:, usable, None, None])
        cross = np.einsum("clk,clk->ck", spectra[1], spectra[0].conj())
        # A frame counts in proportion to its energy, up to a limit: a flash must not dominate the average.
        energy = rms[:, usable].astype(np.float64).prod(0)
        mean_energy = np.where(self._mean_energy[usable] > 0, self._mean_energy[usable], energy)
        limited = np.minimum(energy, _MAX_ENERGY * mean_energy)
        self._mean_energy[usable] = mean_energy + _ENERGY_GAIN * (limited - mean_energy)
        self._block += (limited / mean_energy) @ cross

    def _finish_block(self) -> None:
        """Add the block to the average and update the estimate; on a step, start the average anew."""
        block, self._block = self._block, np.zeros_like(self._block)
        if not block.any():
            return
        current = self._peak(block)
        if self._blocks and current.reliable:
            average = self._peak(self._average)
            step = abs(current.px - average.px)
            if step > max(_MIN_STEP_PX, _STEP_ERRORS * math.hypot(current.error_px, average.error_px)):
                self._blocks = 0
        self._blocks = min(self._blocks + 1, AVERAGED_BLOCKS)
        self._average += (block - self._average) / self._blocks
        estimate = self._peak(self._average)
        if estimate.reliable:
            self._px = estimate.px

    def _peak(self, spectrum: Spectrum) -> _Estimate:
        """Return the position of the correlation peak: first on a grid, then by Newton steps on the derivative.

        The standard error is that of the zero of the derivative. It follows from the imaginary part of the spectrum
        once the offset is removed: a pure shift leaves none, and noise has equal real and imaginary parts.
        """
        weighted = self._band * spectrum
        correlation = scipy.fft.irfft(weighted, _UPSAMPLING * self._taper.size)
        lags = np.arange(-_UPSAMPLING * self._max_offset, _UPSAMPLING * self._max_offset + 1)
        best = int(correlation[lags].argmax())
        px = float(lags[best]) / _UPSAMPLING
        if best in (0, lags.size - 1):
            return _Estimate(px, math.inf)  # the peak is outside the searched range
        for _ in range(_ITERATIONS):
            shifted = weighted * np.exp(1j * self._omega * px)
            curvature = float(self._omega**2 @ shifted.real)
            if curvature <= 0:
                return _Estimate(px, math.inf)
            px -= float(np.clip(self._omega @ shifted.imag / curvature, -1 / _UPSAMPLING, 1 / _UPSAMPLING))
        stretch = 1 / max(1 - self._taper_curvature * float(shifted.real.sum()) / curvature, 0.5)
        error = _ERROR_FACTOR * float(np.linalg.norm(self._omega * shifted.imag)) / curvature
        return _Estimate(px * stretch, error * stretch)


def max_offset_px(pixels: int) -> int:
    """Return the largest offset that is searched for in lines of `pixels` pixels."""
    return min(_MAX_OFFSET_PX, pixels // 8)


def _taper(pixels: int, edge: int) -> Image:
    """Return a Hann window (X,) that is 0 on `edge` pixels at both ends."""
    window = np.zeros(pixels, np.float32)
    inner = pixels - 2 * edge
    window[edge : pixels - edge] = np.sin(np.pi * (np.arange(inner) + 0.5) / inner) ** 2
    return window
