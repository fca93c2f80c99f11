"""Pictures with photon noise for the tests of the picture watch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def scene(side: int = 128, seed: int = 0) -> NDArray[np.float64]:
    """Photons per pixel (Y, X): a dim background with 25 cells."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    photons = 0.15 + 0.05 * np.sin(x / 9) * np.sin(y / 11)
    for _ in range(25):
        (cy, cx), radius, brightness = rng.uniform(0, side, 2), rng.uniform(3, 7), rng.uniform(0.3, 3)
        photons += brightness / (1 + np.exp(np.clip(1.5 * (np.hypot(y - cy, x - cx) - radius), -60, 60)))
    return photons


def shots(photons: NDArray[np.float64], count: int = 1, seed: int = 0) -> NDArray[np.float64]:
    """Photon counts (count, 1, Y, X)."""
    return np.random.default_rng(seed).poisson(photons, (count, 1, *photons.shape)).astype(np.float64)
