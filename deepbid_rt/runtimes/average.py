"""`AverageEngine`: a motion-compensated exponential average, smoothed by a Gaussian; no network.

It needs no training and works on any microscope. It is also the baseline that a network has to beat.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard, Normalization

GAIN = 0.15
"""Weight of the current frame in the average."""
SIGMA_PX = 1.0
"""Standard deviation of the Gaussian, pixels."""
_REACH = 3
"""Pixels from the middle of the Gaussian at which it is cut off."""

AVERAGE_CARD = ModelCard(
    name="average", kind="average", memories=(GAIN,), views="mean", normalization=Normalization(frames=8)
)


class AverageEngine:
    """Averages the current view with the temporal average; weights are exact from the first frame on."""

    description = "average (no network)"

    def __init__(self) -> None:
        self.card = AVERAGE_CARD
        weights = np.exp(-np.square(np.arange(-_REACH, _REACH + 1) / SIGMA_PX) / 2)
        self._kernel = (weights / weights.sum()).astype(np.float32)

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Accept any shape."""

    def infer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the average (1, Y, X) of an input (4, Y, X): view, mask, weight of the average, average."""
        view, _, weight, earlier = inputs
        share = np.float32(GAIN) / (np.float32(GAIN) + np.float32(1 - GAIN) * weight)
        average: NDArray[np.float32] = earlier + share * (view - earlier)
        for axis in (0, 1):
            average = self._smooth(average, axis)
        return average[None]

    def close(self) -> None:
        """Do nothing."""

    def _smooth(self, image: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Smooth along one axis; the image is mirrored at its edges."""
        length = image.shape[axis]
        edges = [(0, 0), (0, 0)]
        edges[axis] = (_REACH, _REACH)
        wide = np.moveaxis(np.pad(image, edges, mode="symmetric"), axis, 0)
        smooth = wide[_REACH : _REACH + length] * self._kernel[_REACH]
        for k in range(_REACH):
            smooth += (wide[k : k + length] + wide[2 * _REACH - k : 2 * _REACH - k + length]) * self._kernel[k]
        return np.moveaxis(smooth, 0, axis)
