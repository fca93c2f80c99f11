"""Periodic deformation of the tissue by a beating heart: a smooth displacement that differs from place to place.

It is the sum of a contraction towards the middle, a twist, a wave that travels across and an asymmetric wobble.
Contraction is faster than relaxation.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.simulator import shapes

_SHARES = (1.0, 0.45, 0.5, 0.4)
"""Relative strength of contraction, twist, wave and wobble."""
_SYSTOLE = 0.35
"""Duration of the contraction as a share of a beat."""
_REACH = 0.32
"""Distance from the middle at which the tissue moves most, relative to the shorter side of the field of view."""


class Heartbeat:
    """Periodic displacement of every place in the field of view.

    Parameters
    ----------
    peak_px : float
        Largest displacement along either axis, pixels.
    rate_hz : float
        Frames per second.
    shape : (int, int)
        Lines and pixels of the field of view.
    seed : int
        Equal seeds give equal beats.
    """

    def __init__(self, peak_px: float, rate_hz: float, shape: tuple[int, int], seed: int) -> None:
        rng = np.random.default_rng([seed, 83])
        self._rate_hz = rate_hz
        self.beats_hz = float(2.0 * 4.0 ** rng.random())
        """Beats per second, 2 to 8."""
        self._lag = np.concatenate([[0.0], rng.uniform(0.0, 0.25, len(_SHARES) - 1)])
        self._start = rng.uniform(0, 1)
        reach = _REACH * min(shape)
        y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        y, x = (y - (shape[0] - 1) / 2) / np.float32(reach), (x - (shape[1] - 1) / 2) / np.float32(reach)
        fall = np.exp((1 - y * y - x * x) / 2)  # multiplied by the distance it is largest at the reach
        towards, around = np.stack([y, x]) * fall, np.stack([x, -y]) * fall
        heading = rng.uniform(0, 2 * math.pi)
        wave = np.float32(math.sin(heading)) * y + np.float32(math.cos(heading)) * x
        wobble = np.stack([shapes.random_field(rng, shape, 0.5 * reach) for _ in range(2)]) / 3 * fall
        patterns = (towards, around, towards * wave, wobble)
        modes = np.stack([share * mode for share, mode in zip(_SHARES, patterns, strict=True)])
        self._modes = np.asarray(modes * (peak_px / self._peak(modes)), np.float32)

    def displacement(self, index: int, phase: NDArray[np.float64], rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return where the tissue is while one frame is scanned.

        Parameters
        ----------
        index : int
            Number of the frame.
        phase : ndarray, (lines,), float64
            Times within the frame, as fractions of the frame period.
        rows : ndarray, (lines,)
            Row of the field of view that each line scans.

        Returns
        -------
        ndarray, (2, lines, X), float32
            (dy, dx) in pixels.
        """
        levels = self._levels((index + phase) / self._rate_hz)[:, None, :, None].astype(np.float32)
        total: NDArray[np.float32] = levels[0] * self._modes[0][:, rows]
        for level, mode in zip(levels[1:], self._modes[1:], strict=True):
            total += level * mode[:, rows]
        return total

    def _levels(self, t_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the level of each mode at times (n,); (modes, n), -0.5 at rest, 0.5 at the end of the contraction."""
        wander = 0.04 * np.sin(2 * math.pi * 0.11 * t_s)  # a heart does not beat with exact regularity
        beat = (self.beats_hz * t_s + wander + self._start - self._lag[:, None]) % 1.0
        contracting = -np.cos(math.pi * beat / _SYSTOLE) / 2
        relaxing = np.cos(math.pi * (beat - _SYSTOLE) / (1 - _SYSTOLE)) / 2
        return np.asarray(np.where(beat < _SYSTOLE, contracting, relaxing))

    def _peak(self, modes: NDArray[np.float32]) -> float:
        """Return an upper bound of the displacement along either axis, over all places and times of a beat."""
        levels = self._levels(np.arange(48) / 48 / self.beats_hz)
        return 1.02 * max(float(np.abs(np.tensordot(level, modes, 1)).max()) for level in levels.T)
