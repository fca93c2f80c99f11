"""A picture from elsewhere in place of drawn tissue, brought to the size of a canvas.

Knows nothing of files, of time, scanning or noise.
"""

from __future__ import annotations

import numpy as np

from deepbid_rt.simulator.shapes import Image


def fitted(picture: Image, shape: tuple[int, int]) -> Image:
    """Return the middle of a picture, mirrored at its edges where it is too small for `shape`, float32."""
    short = [max(0, -(-(n - have) // 2)) for n, have in zip(shape, picture.shape, strict=True)]
    whole = np.pad(picture, [(n, n) for n in short], mode="symmetric")
    top, left = ((have - n) // 2 for n, have in zip(shape, whole.shape, strict=True))
    return np.asarray(whole[top : top + shape[0], left : left + shape[1]], np.float32)
