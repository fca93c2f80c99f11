"""One chamber of a heart in the middle of the canvas: a thick wall of muscle around a cavity filled with blood."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Image
from deepbid_rt.simulator import shapes

_SIZE = 0.24
"""Mean half axis of the cavity relative to the shorter side of the canvas."""


@dataclass(frozen=True, slots=True)
class Chamber:
    """Images of a chamber, each (H, W) like the canvas."""

    lumen: Image
    """1 inside the cavity, 0 outside."""
    wall: Image
    """1 in the muscle, 0 elsewhere."""
    along_px: Image
    """Coordinate along the cavity's axis, in the direction of the flow."""
    side_px: Image
    """Coordinate across that axis."""


def draw_chamber(rng: np.random.Generator, shape: tuple[int, int], soft_px: float) -> Chamber:
    """Draw a chamber on a canvas of `shape`; its edges are `soft_px` wide."""
    tall, wide = _SIZE * min(shape) * rng.uniform(0.85, 1.15, 2)
    turn = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y - np.float32((shape[0] - 1) / 2), x - np.float32((shape[1] - 1) / 2)
    along = math.sin(turn) * y + math.cos(turn) * x
    across = math.cos(turn) * y - math.sin(turn) * x
    size = math.sqrt(tall * wide)
    ruffle = 0.1 * shapes.random_field(rng, shape, 0.25 * size)  # trabeculae make the inner edge uneven
    place = np.hypot(along / tall, across / wide)
    lumen = np.clip((1 - place - ruffle) * size / soft_px + 0.5, 0, 1)
    thick = rng.uniform(0.45, 0.65)
    outer = np.clip((1 + thick - place - 0.4 * ruffle) * size / soft_px + 0.5, 0, 1)
    images: list[NDArray[np.float32]] = [
        np.asarray(image, np.float32) for image in (lumen, outer * (1 - lumen), along, across)
    ]
    return Chamber(*images)
