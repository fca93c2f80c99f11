"""Several frames at once in the coordinates of the tissue, to average them with any weights.

`TemporalAverages` must take frames in order and gives each frame the weight of its age. Where a few frames are known
together, each of them can be given an average of all others, with weights of its own; see
`deepbid_rt.motion.frame_context.noncausal_averages`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Image
from deepbid_rt.motion.temporal_averages import LineShifts, TemporalAverages


class AlignedFrames:
    """Frames of one channel, each in its place.

    Parameters
    ----------
    count : int
        T, the number of frames.
    size : tuple of int
        (Y, X) of a frame.
    """

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self._single = TemporalAverages((1.0,), size)  # with gain 1 it holds the last frame alone
        pixels = self._single.means.size
        self._images = np.zeros((count, pixels), np.float32)
        self._shown = np.zeros((count, pixels), np.float32)

    def put(self, k: int, image: Image, shifts: LineShifts) -> None:
        """Store frame `k`, placed as `TemporalAverages.update` does it.

        Parameters
        ----------
        k : int
            Number of the frame, 0 to T - 1.
        image : ndarray
            (Y, X) float32.
        shifts : ndarray
            (2, Y) pixels: the shift of each line.
        """
        self._single.reset()
        self._single.update(image, shifts)
        self._images[k], self._shown[k] = self._single.means.ravel(), self._single.weights.ravel()

    def average_into(self, averages: TemporalAverages, weights: NDArray[np.float64]) -> None:
        """Replace temporal averages by weighted averages of the frames.

        Parameters
        ----------
        averages : TemporalAverages
            Of frames of the same size; its earlier content is lost.
        weights : ndarray
            (N, T): the weight of each frame in each average, such as ``a (1 - a)^k``.
        """
        weight = weights.astype(np.float32)
        np.matmul(weight, self._shown, out=averages.weights.reshape(len(weight), -1))
        np.matmul(weight, self._images, out=averages.means.reshape(len(weight), -1))
        np.divide(averages.means, averages.weights, out=averages.means, where=averages.weights > 0)
