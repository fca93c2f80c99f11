"""How far the lines of one scan direction lie off those of the other: the line phase of a bidirectional scan.

Looks at raw frames; knows nothing of denoising, of clocks other than the frame rate, or of who wants to know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from deepbid_rt.frame import StreamInfo
from deepbid_rt.scan.directions import lines_of_views, split_scan

LEAST_PIXELS = 32
"""Shorter lines show too little."""
LOOKS_HZ = 30.0
"""Frames looked at in a second, about: of faster streams every second, third … frame is."""
LOOK_PIXELS_HZ = 3 * 2.0**19
"""Pixels looked at in a second, about, all channels together: of larger frames other lines are looked at in turn."""
BLOCK_S = 1.0
"""So often an answer is looked for."""
MEMORY_BLOCKS = 10
"""Blocks that are averaged; older ones fade out."""
_REACH_PX = 16
"""Farthest offset that is looked for; an eighth of the line where that is less."""
_EDGE_PX = 8
"""Pixels at the ends of a line that are not looked at: beams are blanked there, and not alike in both directions."""
_HIGH_PASS, _LOW_PASS = 0.02, 0.15
"""Band of the correlation, cycles per pixel (Gaussian edges): no illumination below it, only noise above."""
_UNSURE_PX = 0.15
"""Standard error above which there is no answer."""
_SHARED = 2.0
"""Factor on the standard error: tapered lines share their noise between neighbouring frequencies."""
_STEP = 5.0
"""Standard errors by which a block must differ from the past for the past to be forgotten."""
_LEAST_STEP_PX = 0.3
_MOST_LIGHT = 4.0
"""A frame counts for so many usual ones at most, however bright."""
_LIGHT_GAIN = 0.05
_UPSAMPLING = 8
_ITERATIONS = 3

Lines = NDArray[np.float32]
Spectrum = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class _Offset:
    px: float
    error_px: float
    """Standard error."""

    @property
    def sure(self) -> bool:
        return self.error_px < _UNSURE_PX


class LinePhaseEstimator:
    """Measures the offset along x between forward and backward lines.

    Parameters
    ----------
    info : StreamInfo
        The raw series. Its planes and channels are scanned by the same mirrors and share one line phase.

    Notes
    -----
    Cross-spectra of lines that see the same place are averaged over lines and time; the offset is where the inverse
    transform of the average has its peak, within a band. What lines of different time have in common is tissue: noise,
    correlated along x or not, averages out. Single lines are not whitened, which would make noise of them at few
    photons. Collinear: the two lines of a place. Ordinary: each backward line and the mean of the forward lines above
    and below it, so that slanted structures do not shift it. Where a resonant mirror's lines were made even in
    space, a wrong phase shifts their middle most; the taper makes the answer nearly that of the middle.
    """

    def __init__(self, info: StreamInfo) -> None:
        scan, (channels, lines, pixels) = info.scan, info.shape
        forward, backward = lines_of_views(lines, scan)
        self._scan, self._ordinary = scan, scan.layout == "ordinary"
        self._first = int(self._ordinary and scan.first == "backward")  # backward line 0 has nothing above it then
        self._pairs = min(forward - self._ordinary, backward - self._first)
        self.blind = not scan.bidirectional or self._pairs < 1 or pixels < LEAST_PIXELS
        """True when there is nothing to measure: one direction, or too small."""
        self._every = max(1, round(info.rate_hz / LOOKS_HZ))
        look_pixels = LOOK_PIXELS_HZ * self._every / info.rate_hz
        self._turns = max(1, min(self._pairs, math.ceil(2 * channels * self._pairs * pixels / look_pixels)))
        self._block_frames = max(1, round(BLOCK_S * info.rate_hz))
        self._reach = reach_px(pixels)
        edge = min(_EDGE_PX, pixels // 16)
        self._taper = _taper(pixels, edge)
        # Curvature of the taper's own correlation, which draws peaks towards 0; this is that of a Hann window.
        self._pull = 4 / 3 * (np.pi / (pixels - 2 * edge)) ** 2
        self._omega = 2 * np.pi * scipy.fft.rfftfreq(pixels)
        cycles = self._omega / (2 * np.pi)
        self._band = np.exp(-0.5 * (cycles / _LOW_PASS) ** 2) * -np.expm1(-0.5 * (cycles / _HIGH_PASS) ** 2)
        self._light = np.zeros(channels)  # usual energy of each channel's lines
        self._frames = self._looks = self._blocks = 0
        self._block: Spectrum = np.zeros(self._band.size, np.complex128)
        self._past = self._block.copy()
        self._px: float | None = None

    @property
    def px(self) -> float | None:
        """Pixels by which backward lines lie further right than forward lines, in image order; None until it is sure.

        The latest sure answer: it stays while there is nothing to see.
        """
        return self._px

    def push(self, pixels: NDArray[Any]) -> None:
        """Take the next frame (C, Y, X) of the series. What is dark, constant or not finite says nothing."""
        if self.blind:
            return
        if self._frames % self._every == 0:
            self._look(pixels)
        self._frames += 1
        if self._frames % self._block_frames == 0:
            self._settle()

    def _look(self, pixels: NDArray[Any]) -> None:
        """Add the cross-spectra of some lines of a frame to the block."""
        turn = slice(self._looks % self._turns, self._pairs, self._turns)
        self._looks += 1
        forward, backward = split_scan(pixels, self._scan)
        with np.errstate(over="ignore", invalid="ignore"):
            lines = np.stack([forward[:, turn], backward[:, self._first :][:, turn]]).astype(np.float32)  # (2, C, L, X)
            if self._ordinary:
                lines[0] += forward[:, 1:][:, turn]
            if pixels.dtype.kind == "f":
                lines[:, ~np.isfinite(lines.sum((0, 3)))] = 0
            lines -= lines[..., :1].copy()  # exact: what is constant becomes 0, and not its rounding error
            lines -= lines.mean(-1, keepdims=True)
            lines *= self._taper
            spread = np.sqrt(np.square(lines).mean((2, 3)))  # (2, C)
        seen = np.isfinite(spread).all(0) & (spread > np.finfo(np.float32).tiny).all(0)
        if not seen.any():
            return
        spectra = scipy.fft.rfft(lines[:, seen] / spread[:, seen, None, None])
        cross = np.einsum("clk,clk->ck", spectra[1], spectra[0].conj())
        # In proportion to its energy, up to a limit: a flash must not outshine all that is remembered.
        energy = spread[:, seen].astype(np.float64).prod(0)
        usual = np.where(self._light[seen] > 0, self._light[seen], energy)
        counted = np.minimum(energy, _MOST_LIGHT * usual)
        self._light[seen] = usual + _LIGHT_GAIN * (counted - usual)
        self._block += (counted / usual) @ cross

    def _settle(self) -> None:
        """Let a block enter the past, and look for an answer."""
        block, self._block = self._block, np.zeros_like(self._block)
        if not block.any():
            return
        now = self._offset(block)
        if self._blocks and now.sure:
            past = self._offset(self._past)
            step = abs(now.px - past.px)
            if step > max(_LEAST_STEP_PX, _STEP * math.hypot(now.error_px, past.error_px)):
                self._blocks = 0
        self._blocks = min(self._blocks + 1, MEMORY_BLOCKS)
        self._past += (block - self._past) / self._blocks
        answer = self._offset(self._past)
        if answer.sure:
            self._px = answer.px

    def _offset(self, spectrum: Spectrum) -> _Offset:
        """Find the peak of the correlation: on a grid, then where its derivative is 0 (Newton).

        The standard error follows from what is left of the spectrum at the peak once the offset is taken out: for pure
        noise its imaginary part is as large as the real one.
        """
        weighted = self._band * spectrum
        fine = scipy.fft.irfft(weighted, _UPSAMPLING * self._taper.size)
        lags = np.arange(-_UPSAMPLING * self._reach, _UPSAMPLING * self._reach + 1)
        best = int(fine[lags].argmax())
        px = float(lags[best]) / _UPSAMPLING
        if best in (0, lags.size - 1):
            return _Offset(px, math.inf)  # the peak is farther away
        for _ in range(_ITERATIONS):
            turned = weighted * np.exp(1j * self._omega * px)
            bend = float(self._omega**2 @ turned.real)
            if bend <= 0:
                return _Offset(px, math.inf)
            px -= float(np.clip(self._omega @ turned.imag / bend, -1 / _UPSAMPLING, 1 / _UPSAMPLING))
        stretch = 1 / max(1 - self._pull * float(turned.real.sum()) / bend, 0.5)
        error = _SHARED * float(np.linalg.norm(self._omega * turned.imag)) / bend
        return _Offset(px * stretch, error * stretch)


def reach_px(pixels: int) -> int:
    """Return the farthest offset that is looked for in lines of so many pixels."""
    return min(_REACH_PX, pixels // 8)


def _taper(pixels: int, edge: int) -> Lines:
    """Return a Hann window (X,) that is 0 on `edge` pixels at both ends."""
    window = np.zeros(pixels, np.float32)
    inner = pixels - 2 * edge
    window[edge : pixels - edge] = np.sin(np.pi * (np.arange(inner) + 0.5) / inner) ** 2
    return window
