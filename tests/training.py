"""A small movie and a fast recipe for the tests of training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.train.recipe import Recipe

COLLINEAR, ORDINARY = ScanGeometry("collinear"), ScanGeometry("ordinary")
TINY = Recipe(
    width=2,
    patch=(8, 16, 16),
    steps=12,
    warm_up_steps=2,
    learning_rate=2e-3,
    validate_every=5,
    checkpoint_every=4,
    calibration_frames=8,
)


def noisy_waves(frames: int = 40, seed: int = 0, repeat: int = 2) -> NDArray[np.int16]:
    """A movie (T, 24 * repeat, 24) of slow waves under noise of 50 counts; `repeat` 2 makes it collinear."""
    t, y, x = np.ogrid[:frames, :24, :24]
    scene = 1000 + 100 * np.sin(2 * np.pi * (t / 20 + y / 12)) * np.sin(2 * np.pi * x / 16)
    noise = np.random.default_rng(seed).normal(0, 50, (frames, 24 * repeat, 24))
    return (np.repeat(scene, repeat, axis=1) + noise).astype(np.int16)
