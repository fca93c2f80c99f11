"""Smaller and smoother versions of an image, for estimates that need no detail."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def halve(image: Image, times: int = 1) -> Image:
    """Average blocks of 2x2 pixels of an image (Y, X), `times` times; an odd last line or column is left out."""
    for _ in range(times):
        rows, columns = (n // 2 * 2 for n in image.shape)
        pairs = image[0:rows:2, :columns] + image[1:rows:2, :columns]
        image = (pairs[:, 0::2] + pairs[:, 1::2]) * np.float32(0.25)
    return image


def smooth(image: Image) -> Image:
    """Average an image (Y, X) with the weights 1, 2, 1 along both axes; outermost pixels count as repeated."""
    for _ in range(2):
        wide = np.concatenate([image[:1], image, image[-1:]])
        image = ((wide[:-2] + wide[2:]) * np.float32(0.25) + image * np.float32(0.5)).T
    return image
