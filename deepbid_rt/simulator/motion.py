"""Simulated rigid motion of the tissue: a seeded displacement as a function of time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_LIMIT = 4.0
"""Displacements are clipped at this many times the rms, so that a finite canvas can contain them."""
_SHARES = {"drift": 0.15, "respiration": 0.2, "heart": 0.1, "jitter": 0.2, "jump": 0.35}
"""Share of each cause in the mean squared displacement; they add up to 1."""
_JUMP_WIDTH = 0.15
"""Duration of one jump, in frames."""
_JUMP = 71
"""Part of the random seed that keeps these numbers independent of others of the same seed."""


class TissueMotion:
    """Rigid displacement: slow drift, respiration, heartbeat, band-limited jitter and one jump in each frame.

    Parameters
    ----------
    rms_px : float
        Root mean square displacement along each axis, in pixels (mean of the two axes); 0 for still tissue.
    rate_hz : float
        Frames per second.
    seed : int
        Equal seeds give equal motion.
    """

    def __init__(self, rms_px: float, rate_hz: float, seed: int) -> None:
        self._rms_px = rms_px
        self._rate_hz = rate_hz
        self._seed = seed
        rng = np.random.default_rng([seed, _JUMP, 0])
        breath_hz, heart_hz = rng.uniform(1.0, 3.0), rng.uniform(5.0, 10.0)
        groups = (
            ("drift", rng.uniform(0.01, 0.12, 4), np.ones(4)),
            ("respiration", breath_hz * np.array([1.0, 2.0]), np.array([1.0, 0.5])),
            ("heart", heart_hz * np.array([1.0, 2.0]), np.array([1.0, 0.6])),
            ("jitter", rng.uniform(4.0, 80.0, 24), np.ones(24)),
        )
        self._freq_hz = np.concatenate([freq for _, freq, _ in groups])
        amplitudes = []
        for name, freq, relative in groups:
            # Breath and heart each move along one direction; drift and jitter move along any.
            shared = name in ("respiration", "heart")
            angle = rng.uniform(0, 2 * math.pi, 1 if shared else freq.size)
            weight = relative * math.sqrt(4 * _SHARES[name] / np.square(relative).sum())
            amplitudes.append(np.stack([weight * np.sin(angle), weight * np.cos(angle)]))
        self._amplitude = rms_px * np.concatenate(amplitudes, axis=1)
        self._phase = rng.uniform(0, 2 * math.pi, self._freq_hz.size)
        # Breath and heart are not exactly regular: their phase wanders slowly, so that the motion does not repeat.
        self._wander = np.concatenate([np.full(freq.size, 0.3 * ("i" not in name[:1])) for name, freq, _ in groups])
        self._wander_phase = rng.uniform(0, 2 * math.pi)

    @property
    def limit_px(self) -> float:
        """Largest displacement along either axis."""
        return _LIMIT * self._rms_px

    def displacement(self, index: int, phase: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the tissue is while one frame is scanned.

        Parameters
        ----------
        index : int
            Number of the frame.
        phase : ndarray, (lines,), float64
            Times within the frame, as fractions of the frame period.

        Returns
        -------
        ndarray, (2, lines), float64
            (dy, dx) in pixels.
        """
        if self._rms_px == 0:
            return np.zeros((2, phase.size))
        t_s = (index + phase[:, None]) / self._rate_hz
        wander = self._wander * np.sin(2 * math.pi * 0.11 * t_s + self._wander_phase)
        waves = np.sin(2 * math.pi * self._freq_hz * t_s + self._phase + wander)
        before, _ = self._jump(index - 1)
        after, when = self._jump(index)
        u = np.clip((phase - when) / _JUMP_WIDTH, 0.0, 1.0)
        eased = u * u * (3 - 2 * u)
        total = self._amplitude @ waves.T + before[:, None] + (after - before)[:, None] * eased
        return np.asarray(np.clip(total, -self.limit_px, self.limit_px))

    def _jump(self, index: int) -> tuple[NDArray[np.float64], float]:
        """Return the displacement (2,) after the jump in frame `index`, and the phase at which the jump begins."""
        rng = np.random.default_rng([self._seed, _JUMP, index + 2])
        scale = self._rms_px * math.sqrt(_SHARES["jump"] / 2)
        return np.asarray(rng.laplace(0.0, scale, 2)), float(rng.uniform(0.0, 1.0 - _JUMP_WIDTH))
