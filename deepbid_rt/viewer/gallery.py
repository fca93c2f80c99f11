"""Coloured pictures of images, made anew only where an image, its limits or its maps have changed. Knows no card."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.viewer.colors import MapName, compose, difference
from deepbid_rt.viewer.levels import Limits
from deepbid_rt.viewer.panels import Layer

MAX_SIDE = 8192
"""Sides that every card takes."""

Images = tuple[NDArray[Any], ...]


def thinning(shape: tuple[int, ...], scale: float) -> int:
    """Return each how manyth pixel and line of an image (..., Y, X) to draw at `scale` screen pixels for each.

    More than one only where the screen has no room for all, or the card no texture.
    """
    return max(1, math.floor(1 / scale), math.ceil(max(shape[-2:]) / MAX_SIDE))


class Gallery:
    """Keeps the last picture of each layer."""

    def __init__(self) -> None:
        self._made: dict[Layer, tuple[Images, Any, NDArray[np.uint8]]] = {}

    def picture(
        self, layer: Layer, images: Images, limits: Sequence[Limits], maps: Sequence[MapName], step: int = 1
    ) -> NDArray[np.uint8]:
        """Return a picture, the same array as before where nothing has changed.

        Parameters
        ----------
        layer : Layer
            What is pictured.
        images : tuple of ndarray
            Counts (C, Y, X), never written to again: one for a source, two for ``difference``.
        limits, maps
            One for each channel; those of the second image for ``difference``.
        step : int
            Each how manyth pixel and line to take.
        """
        how = (tuple(limits), tuple(maps), step)
        before, was, made = self._made.get(layer, ((), None, None))
        known = len(before) == len(images) and all(old is new for old, new in zip(before, images, strict=True))
        if made is not None and known and was == how:
            return made
        some = [image[:, ::step, ::step] for image in images]
        made = difference(some[0], some[1], limits) if layer == "difference" else compose(some[0], limits, maps)
        self._made[layer] = (images, how, made)
        return made
