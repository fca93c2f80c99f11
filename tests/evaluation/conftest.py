"""A smooth movie and a noisy recording of it."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    t, y, x = np.ogrid[:23, :31, :20]
    return (800 + 300 * np.sin(t / 4 + y / 5) * np.cos(x / 3))[:, None]


@pytest.fixture(scope="module")
def noisy(truth: np.ndarray) -> np.ndarray:
    return np.rint(truth + np.random.default_rng(3).normal(0, 120, truth.shape)).astype(np.int16)
