"""Coloured pictures of images. A picture is computed again only when its image, contrast or colour map changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.viewer.colors import MapName, compose, difference
from deepbid_rt.viewer.levels import Limits
from deepbid_rt.viewer.panels import Layer

MAX_TEXTURE_SIDE = 8192
"""Largest side of a texture in pixels that all graphics cards accept."""

Images = tuple[NDArray[Any], ...]


def thinning_step(shape: tuple[int, ...], scale: float) -> int:
    """Return n, to draw every n-th pixel and line of an image.

    Parameters
    ----------
    shape : tuple of int
        Shape (..., Y, X) of the image.
    scale : float
        Screen pixels for one image pixel.

    Returns
    -------
    int
        Greater than 1 only when the image has more pixels than the screen shows, or than a texture holds.
    """
    return max(1, math.floor(1 / scale), math.ceil(max(shape[-2:]) / MAX_TEXTURE_SIDE))


class PictureCache:
    """Keeps the last picture of each layer."""

    def __init__(self) -> None:
        self._cached: dict[Layer, tuple[Images, Any, NDArray[np.uint8]]] = {}

    def picture(
        self, layer: Layer, images: Images, limits: Sequence[Limits], maps: Sequence[MapName], step: int = 1
    ) -> NDArray[np.uint8]:
        """Return a picture; the same array as at the last call when nothing has changed.

        Parameters
        ----------
        layer : Layer
            Name of the picture.
        images : tuple of ndarray
            Counts (C, Y, X): one array for a source, two for ``difference``. They are compared by identity, so nobody
            may write to them afterwards.
        limits, maps
            One for each channel; for ``difference`` those of the second image.
        step : int
            Every `step`-th pixel and line is used.

        Returns
        -------
        ndarray
            (Y', X', 4) uint8: red, green, blue, alpha.
        """
        settings = (tuple(limits), tuple(maps), step)
        cached_images, cached_settings, picture = self._cached.get(layer, ((), None, None))
        same = len(cached_images) == len(images) and all(
            old is new for old, new in zip(cached_images, images, strict=True)
        )
        if picture is not None and same and cached_settings == settings:
            return picture
        thinned = [image[:, ::step, ::step] for image in images]
        if layer == "difference":
            picture = difference(thinned[0], thinned[1], limits)
        else:
            picture = compose(thinned[0], limits, maps)
        self._cached[layer] = (images, settings, picture)
        return picture
