"""Images whose pixels say time, plane and channel, so that a wrong order, size or byte order shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SHAPE = (12, 10)


def stamped(
    time: int, plane: int = 0, channel: int = 0, *, shape: tuple[int, int] = SHAPE, dtype: str = "<u2"
) -> NDArray[Any]:
    """(Y, X) of one value, but for a ramp that is neither symmetric nor the same along y and x."""
    image = np.full(shape, 1000 * time + 100 * plane + 10 * channel)
    image[0, :4] += [1, 2, 3, 4]
    image[1, 0] += 5
    return image.astype(dtype)


def movie(times: int, planes: int = 1, channels: int = 1, **more: Any) -> NDArray[Any]:
    """(N, C, Y, X) of all planes in turn."""
    return np.array([[stamped(t, z, c, **more) for c in range(channels)] for t in range(times) for z in range(planes)])
