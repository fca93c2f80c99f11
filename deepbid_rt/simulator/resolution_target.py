"""A resolution target: plates, discs and gratings of all sizes instead of tissue.

Its edges are sharper than those of cells; networks are trained on it so that they keep sharp edges.
"""

from __future__ import annotations

import math

import numpy as np

from deepbid_rt.frame import Image
from deepbid_rt.simulator import shapes

_AREA_PX = 250.0
"""Area of the canvas per shape."""
_SIZES_PX = (0.8, 25.0)
"""Range of the half axes of shapes; sizes are uniform on a logarithmic scale."""
_PERIODS_PX = (2.5, 12.0)
"""Range of the periods of gratings."""


def draw_resolution_target(rng: np.random.Generator, shape: tuple[int, int]) -> Image:
    """Draw a target of `shape`, float32 (H, W); its edges are at most about a pixel wide."""
    canvas = np.full(shape, rng.uniform(0.1, 0.6), np.float32)
    uneven = shapes.random_field(rng, shape, rng.uniform(3, 30))
    canvas *= np.exp(rng.uniform(0, 0.4) * uneven)
    for _ in range(int(np.prod(shape) / _AREA_PX)):
        tall, wide = np.exp(rng.uniform(math.log(_SIZES_PX[0]), math.log(_SIZES_PX[1]), 2))
        reach = math.ceil(math.hypot(tall, wide)) + 2
        cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        top, left = max(0, int(cy) - reach), max(0, int(cx) - reach)
        here = canvas[top : int(cy) + reach, left : int(cx) + reach]
        y, x = np.mgrid[: here.shape[0], : here.shape[1]] + np.array([top - cy, left - cx])[:, None, None]
        turn = rng.choice([0.0, math.pi / 2, rng.uniform(0, math.pi)])
        u, v = math.cos(turn) * y + math.sin(turn) * x, math.cos(turn) * x - math.sin(turn) * y
        if rng.random() < 0.4:
            away = (1 - np.hypot(u / tall, v / wide)) * math.sqrt(tall * wide)
        else:
            away = np.minimum(tall - np.abs(u), wide - np.abs(v))
        inside = np.clip(away + 0.5, 0, 1)
        if rng.random() < 0.4:
            inside *= np.clip(1.5 * np.sin(2 * math.pi * u / rng.uniform(*_PERIODS_PX)) + 0.5, 0, 1)
        here += (inside * (rng.lognormal(0.0, 0.7) - here)).astype(np.float32)
    # A Gaussian of less than a pixel, applied in Fourier space, undershoots beside sharp edges.
    return np.asarray(np.maximum(shapes.blur(canvas, rng.uniform(0.3, 0.7)), canvas.min()))
