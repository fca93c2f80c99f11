"""Colour maps, and how channels are merged into one picture. Pure arrays; the canvas does the same on the card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.viewer.levels import Limits

MapName = Literal["gray", "green", "magenta", "fire"]
MAPS: tuple[MapName, ...] = get_args(MapName)
BACKGROUND = (0.055, 0.063, 0.078)
NOT_A_NUMBER = (1.0, 0.55, 0.0)
"""Colour of pixels that are NaN or infinite: nothing that a map would give."""
STEPS = 256
REGIONS = (
    (0.31, 0.76, 0.97),
    (1.0, 0.79, 0.25),
    (0.51, 0.87, 0.46),
    (0.95, 0.55, 0.86),
    (1.0, 0.57, 0.4),
    (0.7, 0.7, 1.0),
)
"""Colours of regions of interest, in turn."""

_FIRE = (
    (0.0, 0.0, 0.0, 0.0),
    (0.2, 0.25, 0.0, 0.43),
    (0.4, 0.66, 0.08, 0.35),
    (0.6, 0.94, 0.35, 0.08),
    (0.8, 1.0, 0.74, 0.1),
    (1.0, 1.0, 1.0, 0.92),
)
"""Where, and red, green, blue there; brightness rises evenly."""


def color_table(name: MapName) -> NDArray[np.float32]:
    """Return a map as (STEPS, 3), red, green, blue from 0 to 1, black to white."""
    ramp = np.linspace(0, 1, STEPS, dtype=np.float32)
    zero = np.zeros_like(ramp)
    match name:
        case "gray":
            return np.stack([ramp, ramp, ramp], axis=1)
        case "green":
            return np.stack([zero, ramp, zero], axis=1)
        case "magenta":
            return np.stack([ramp, zero, ramp], axis=1)
        case "fire":
            where, *colors = np.array(_FIRE).T
            return np.stack([np.interp(ramp, where, color) for color in colors], axis=1).astype(np.float32)


def default_maps(channels: int) -> list[MapName]:
    """Return a map for each channel: gray for one, the customary green and magenta for two."""
    return ["gray"] if channels == 1 else [("green", "magenta", "gray", "fire")[n % 4] for n in range(channels)]


def compose(image: NDArray[Any], limits: Sequence[Limits], maps: Sequence[MapName]) -> NDArray[np.float32]:
    """Merge channels (C, Y, X) into a picture (Y, X, 3): each through limits and map, added up, cut at 1."""
    picture = np.zeros((*image.shape[1:], 3), np.float32)
    for channel, (black, white), name in zip(image, limits, maps, strict=True):
        bright = np.clip((channel.astype(np.float32) - black) / (white - black), 0, 1)
        picture += color_table(name)[np.rint(np.nan_to_num(bright) * (STEPS - 1)).astype(int)]
    picture = np.clip(picture, 0, 1)
    picture[~np.isfinite(image.astype(np.float32)).all(axis=0)] = NOT_A_NUMBER
    return picture
