"""Turns counts into coloured pictures: contrast limits, then a colour map for each channel.

Colours are computed on the CPU and at the resolution of the image, because a software renderer takes far longer to
compute them for each pixel of the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.viewer.levels import Limits

MapName = Literal["gray", "green", "magenta", "fire"]
MAPS: tuple[MapName, ...] = get_args(MapName)
BACKGROUND = (0.055, 0.063, 0.078)
"""Colour of the canvas around the image; red, green, blue from 0 to 1."""
NOT_A_NUMBER = (1.0, 0.55, 0.0)
"""Colour of pixels that are NaN or infinite. No map has it."""
STEPS = 256
"""Colours of a map."""
REGIONS = (
    (0.31, 0.76, 0.97),
    (1.0, 0.79, 0.25),
    (0.51, 0.87, 0.46),
    (0.95, 0.55, 0.86),
    (1.0, 0.57, 0.4),
    (0.7, 0.7, 1.0),
)
"""Colours of the outlines and traces of regions of interest, used in turn."""

_FIRE = (
    (0.0, 0.0, 0.0, 0.0),
    (0.2, 0.25, 0.0, 0.43),
    (0.4, 0.66, 0.08, 0.35),
    (0.6, 0.94, 0.35, 0.08),
    (0.8, 1.0, 0.74, 0.1),
    (1.0, 1.0, 1.0, 0.92),
)
"""Positions from 0 to 1, each with its red, green and blue; chosen so that brightness rises evenly."""


def color_table(name: MapName) -> NDArray[np.uint8]:
    """Return a map as (STEPS, 4) uint8 from dark to bright: red, green, blue and an alpha of 255."""
    ramp = np.linspace(0, 1, STEPS)
    zero = np.zeros_like(ramp)
    match name:
        case "gray":
            colors = [ramp, ramp, ramp]
        case "green":
            colors = [zero, ramp, zero]
        case "magenta":
            colors = [ramp, zero, ramp]
        case "fire":
            positions, *stops = np.array(_FIRE).T
            colors = [np.interp(ramp, positions, stop) for stop in stops]
    table: NDArray[np.uint8] = np.rint(255 * np.stack([*colors, np.ones_like(ramp)], axis=1)).astype(np.uint8)
    return table


_PACKED = {name: color_table(name).view(np.uint32).ravel() for name in MAPS}
"""Each colour as one uint32, so that a single look-up colours a pixel."""
_NOT_FINITE_RGBA = (*(round(255 * part) for part in NOT_A_NUMBER), 255)


def default_maps(channels: int) -> list[MapName]:
    """Return a map for each channel: gray for one channel; green and magenta, as is customary, for two."""
    return ["gray"] if channels == 1 else [("green", "magenta", "gray", "fire")[n % 4] for n in range(channels)]


def compose(image: NDArray[Any], limits: Sequence[Limits], maps: Sequence[MapName]) -> NDArray[np.uint8]:
    """Colour each channel with its limits and its map, and add the channels up; sums are clipped at 255.

    Parameters
    ----------
    image : ndarray
        Counts (C, Y, X) of any real dtype.
    limits, maps
        One for each channel.

    Returns
    -------
    ndarray
        (Y, X, 4) uint8: red, green, blue, 255. A pixel that is not finite in some channel has the colour
        `NOT_A_NUMBER`.
    """
    colored = (
        _look_up(_steps(channel, black, (STEPS - 1) / (white - black), 0.0), name)
        for channel, (black, white), name in zip(image, limits, maps, strict=True)
    )
    picture = next(colored)
    for another in colored:
        picture += np.minimum(another, ~picture)
    return _marked(picture, image)


def difference(first: NDArray[Any], second: NDArray[Any], limits: Sequence[Limits]) -> NDArray[np.uint8]:
    """Return `second` minus `first` as a gray picture: mid-gray where they are equal.

    White and black are differences of plus and minus the range of the limits.

    Parameters
    ----------
    first, second : ndarray
        Counts (C, Y, X) of any real dtype. Channels are averaged.
    limits
        Those of `second`, one for each channel.

    Returns
    -------
    ndarray
        (Y, X, 4) uint8, as from `compose`.
    """
    total = np.zeros(first.shape[1:], np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for a, b, (black, white) in zip(first, second, limits, strict=True):
            total += np.subtract(b, a, dtype=np.float32) * np.float32(1.0 / (white - black))
    gain, middle = (STEPS - 1) / 2 / len(limits), (STEPS - 1) / 2
    picture = _look_up(_steps(total, 0.0, gain, middle), "gray")
    return _marked(_marked(picture, first), second)


def count_not_finite(image: NDArray[Any]) -> int:
    """Return the number of values that are NaN or infinite."""
    return 0 if image.dtype.kind != "f" else int(image.size - np.isfinite(image).sum())


def _steps(channel: NDArray[Any], zero: float, gain: float, offset: float) -> NDArray[np.uint8]:
    """Return (channel - zero) * gain + offset, rounded and clipped to 0..STEPS-1."""
    with np.errstate(invalid="ignore", over="ignore"):
        bright = np.subtract(channel, np.float32(zero), dtype=np.float32)
        bright *= np.float32(gain)
        bright += np.float32(offset + 0.5)
        # fmax and fmin return the number when the other value is NaN, so that the cast below is defined.
        np.fmax(bright, np.float32(0), out=bright)
        np.fmin(bright, np.float32(STEPS - 0.5), out=bright)
    nearest: NDArray[np.uint8] = bright.astype(np.uint8)
    return nearest


def _look_up(steps: NDArray[np.uint8], name: MapName) -> NDArray[np.uint8]:
    # Every step is within the map. The mode "wrap" is the fastest, as numpy then raises nothing.
    return _PACKED[name].take(steps, mode="wrap").view(np.uint8).reshape(*steps.shape, 4)


def _marked(picture: NDArray[np.uint8], image: NDArray[Any]) -> NDArray[np.uint8]:
    """Give the pixels of a picture that are not finite in the image (C, Y, X) the colour `NOT_A_NUMBER`."""
    if image.dtype.kind == "f" and not (finite := np.isfinite(image).all(axis=0)).all():
        picture[~finite] = _NOT_FINITE_RGBA
    return picture
