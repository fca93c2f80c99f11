"""Halving and smoothing of images, for the coarse-to-fine motion estimators."""

from __future__ import annotations

import numpy as np

from deepbid_rt.frame import Image


def halve(image: Image, times: int = 1) -> Image:
    """Average blocks of 2x2 pixels of an image (Y, X), `times` times. An odd last line or column is left out."""
    for _ in range(times):
        rows, columns = (n // 2 * 2 for n in image.shape)
        pairs = image[0:rows:2, :columns] + image[1:rows:2, :columns]
        image = (pairs[:, 0::2] + pairs[:, 1::2]) * np.float32(0.25)
    return image


def smooth(image: Image) -> Image:
    """Smooth an image (Y, X) with the weights 1/4, 1/2, 1/4 along both axes. The outermost pixels are repeated."""
    for _ in range(2):
        padded = np.concatenate([image[:1], image, image[-1:]])
        image = ((padded[:-2] + padded[2:]) * np.float32(0.25) + image * np.float32(0.5)).T
    return image
