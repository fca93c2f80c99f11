"""What is known of a plane before the current frame, brought to where the tissue is now.

Joins `RigidMotionEstimator` and `TemporalAverages`. Training and live use both go through `MotionCompensatedHistory.push`, so a network meets the same memories
in both. Knows nothing of engines, scans or counts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Motion
from deepbid_rt.motion.nonrigid import NonrigidMotionEstimator, shifts_of
from deepbid_rt.motion.rigid import RigidMotionEstimator
from deepbid_rt.motion.temporal_averages import MARGIN, Shifts, TemporalAverages

Image = NDArray[np.float32]

_DRIFT_GAIN = 0.05


class MotionCompensatedHistory:
    """The past of one plane.

    Parameters
    ----------
    gains : tuple of float
        Weight of the newest frame in each memory.
    channels : int
        C; all channels move together, each has memories of its own.
    size : tuple of int
        (Y, X) of one view.
    """

    def __init__(self, gains: tuple[float, ...], channels: int, size: tuple[int, int]) -> None:
        self._rigid = RigidMotionEstimator(size)
        self._nonrigid = NonrigidMotionEstimator(size)
        self._memories = [TemporalAverages(gains, size) for _ in range(channels)]
        self._drift = np.zeros(2)
        self._origin = np.zeros(2)  # how far it moved since the reference began, (dy, dx)

    def reset(self) -> None:
        """Forget everything."""
        self._rigid.reset()
        self._nonrigid.reset()
        self._drift[:] = self._origin[:] = 0
        for memory in self._memories:
            memory.reset()

    def skip(self, count: int) -> None:
        """Let `count` frames pass that never came."""
        for memory in self._memories:
            memory.skip(count)

    def push(self, views: Image) -> tuple[Motion, Image]:
        """Take the current frame; return where it lies and what was remembered before it, in its place.

        Parameters
        ----------
        views : ndarray
            (C, V, Y, X) float32 in standard deviations of the noise.

        Returns
        -------
        motion : Motion
            From where the first frame of the reference lay, however far the origin has moved since.
        averages : ndarray
            (C, M + 1, Y, X) as `TemporalAverages.recall` gives it; all 0 for a foreign frame, which is also not remembered.
        """
        frame = mean_views(views)
        together = mean_views(frame[None])[0]
        motion = self._rigid.push(together)
        if motion.status == "foreign":
            self.skip(1)
            rows, columns = views.shape[2:]
            return self._since_begin(motion), np.zeros((len(frame), self._depth, rows, columns), np.float32)
        if motion.status == "restarted":
            self._drift[:] = self._origin[:] = 0
            for memory in self._memories:
                memory.reset()
        motion = self._bent(together, motion)
        shifts = shifts_of(motion, together.shape[0])
        averages = np.empty((len(frame), self._depth, *together.shape), np.float32)
        for memory, recalled in zip(self._memories, averages, strict=True):
            memory.recall(shifts, recalled)
        for memory, image in zip(self._memories, frame, strict=True):
            memory.update(image, shifts)
        absolute = self._since_begin(motion)
        self._follow(motion)
        return absolute, averages

    def _bent(self, frame: Image, motion: Motion) -> Motion:
        """Add how the mean of all channels is bent."""
        if motion.status != "tracked" or self._nonrigid.rigid:
            return motion
        rigid = np.array([[motion.dy], [motion.dx]])
        # A recall of whole pixels need not be interpolated.
        whole: Shifts = np.repeat(np.rint(rigid), len(frame), axis=1)
        slowest = np.empty((len(self._memories), 2, *frame.shape), np.float32)
        for memory, recalled in zip(self._memories, slowest, strict=True):
            memory.recall(whole, recalled)
        averages = mean_views(slowest[None, :, 0])[0]
        if slowest[:, 1].min() == 0:
            averages = np.where(slowest[:, 1].min(axis=0) > 0, averages, frame)
        off = rigid - np.rint(rigid)
        dy, dx = (self._nonrigid.push(frame, averages, off) - off).tolist()
        return replace(motion, strip_dy=tuple(dy), strip_dx=tuple(dx))

    @property
    def _depth(self) -> int:
        return self._memories[0].depth + 1

    def _since_begin(self, motion: Motion) -> Motion:
        return replace(motion, dy=float(motion.dy + self._origin[0]), dx=float(motion.dx + self._origin[1]))

    def _follow(self, motion: Motion) -> None:
        """Move the origin when the tissue has drifted half way out of what is remembered."""
        self._drift += _DRIFT_GAIN * (np.array([motion.dy, motion.dx]) - self._drift)
        if np.abs(self._drift).max() <= MARGIN / 2:
            return
        dy, dx = (int(d) for d in np.rint(self._drift))
        self._drift -= (dy, dx)
        self._origin += (dy, dx)
        self._rigid.rebase(dy, dx)
        for memory in self._memories:
            memory.rebase(dy, dx)


def mean_views(images: Image) -> Image:
    """Average over the second axis of (N, K, Y, X): twice as fast as numpy's for one or two images."""
    if images.shape[1] == 1:
        return images[:, 0]
    if images.shape[1] == 2:
        return (images[:, 0] + images[:, 1]) * np.float32(0.5)
    average: Image = images.mean(axis=1)
    return average
