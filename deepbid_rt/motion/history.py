"""Estimates the motion of each frame and returns temporal averages of the frames before it, aligned to that frame.

This joins three parts: `RigidMotionEstimator` measures the shift of the whole frame, `NonrigidMotionEstimator` refines
it per strip of lines, and `TemporalAverages` average the frames in the coordinates of the tissue. Training and live
denoising both call `MotionCompensatedHistory.push`, so a network gets the same averages in both.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deepbid_rt.frame import Image, Motion
from deepbid_rt.motion.nonrigid import NonrigidMotionEstimator, line_shifts
from deepbid_rt.motion.rigid import RigidMotionEstimator
from deepbid_rt.motion.temporal_averages import MARGIN, LineShifts, TemporalAverages

DRIFT_GAIN = 0.05
"""Gain of the running mean of the shifts, so that the origin follows slow drift and not the motion between frames."""


class MotionCompensatedHistory:
    """Motion and temporal averages of one plane.

    Parameters
    ----------
    gains : tuple of float
        Weight of the newest frame in each temporal average (M averages).
    channels : int
        C. All channels share one motion; each has its own averages.
    size : tuple of int
        (Y, X) of one view.
    """

    def __init__(self, gains: tuple[float, ...], channels: int, size: tuple[int, int]) -> None:
        self._rigid = RigidMotionEstimator(size)
        self._nonrigid = NonrigidMotionEstimator(size)
        self._averages = [TemporalAverages(gains, size) for _ in range(channels)]
        self._drift = np.zeros(2)  # running mean of the shifts, (dy, dx)
        self._origin = np.zeros(2)  # how far the origin has followed the drift since the reference began, (dy, dx)

    def reset(self) -> None:
        """Forget all frames."""
        self._rigid.reset()
        self._nonrigid.reset()
        self._drift[:] = self._origin[:] = 0
        for averages in self._averages:
            averages.reset()

    def skip(self, count: int) -> None:
        """Make the averages older by `count` missing frames."""
        for averages in self._averages:
            averages.skip(count)

    def push(self, views: Image) -> tuple[Motion, Image]:
        """Estimate the motion of a frame, return the averages of the frames before it, then average the frame in.

        Parameters
        ----------
        views : ndarray
            (C, V, Y, X) float32 in network units (standard deviations of the noise).

        Returns
        -------
        motion : Motion
            Relative to the first frame of the reference, also after the origin has followed a drift.
        averages : ndarray
            (C, M + 1, Y, X) as from `TemporalAverages.recall`, aligned to this frame. All 0 for a foreign frame, which
            is also not averaged in.
        """
        channels = mean_views(views)
        image = mean_views(channels[None])[0]
        motion = self._rigid.push(image)
        if motion.status == "foreign":
            self.skip(1)
            return self._from_first_frame(motion), np.zeros((len(channels), self._depth, *image.shape), np.float32)
        if motion.status == "restarted":
            self._drift[:] = self._origin[:] = 0
            for averages in self._averages:
                averages.reset()
        motion = self._with_strips(image, motion)
        shifts = line_shifts(motion, image.shape[0])
        recalled = np.empty((len(channels), self._depth, *image.shape), np.float32)
        for averages, out in zip(self._averages, recalled, strict=True):
            averages.recall(shifts, out)
        for averages, channel in zip(self._averages, channels, strict=True):
            averages.update(channel, shifts)
        from_first_frame = self._from_first_frame(motion)
        self._follow_drift(motion)
        return from_first_frame, recalled

    def _with_strips(self, image: Image, motion: Motion) -> Motion:
        """Add the shifts of strips of lines to a rigid motion, from the mean of all channels."""
        if motion.status != "tracked" or self._nonrigid.rigid:
            return motion
        rigid = np.array([[motion.dy], [motion.dx]])
        # Recall at the nearest whole pixel, which needs no interpolation; the search then starts at the rest.
        whole: LineShifts = np.repeat(np.rint(rigid), len(image), axis=1)
        slowest = np.empty((len(self._averages), 2, *image.shape), np.float32)
        for averages, out in zip(self._averages, slowest, strict=True):
            averages.recall(whole, out)
        expected = mean_views(slowest[None, :, 0])[0]
        if slowest[:, 1].min() == 0:  # use the frame itself where there is no average, so that the difference is 0
            expected = np.where(slowest[:, 1].min(axis=0) > 0, expected, image)
        rest = rigid - np.rint(rigid)
        dy, dx = (self._nonrigid.push(image, expected, rest) - rest).tolist()
        return replace(motion, strip_dy=tuple(dy), strip_dx=tuple(dx))

    @property
    def _depth(self) -> int:
        """Images that a recall returns: the averages and the weight of the last one."""
        return self._averages[0].depth + 1

    def _from_first_frame(self, motion: Motion) -> Motion:
        """Return a motion relative to the first frame of the reference instead of the moved origin."""
        return replace(motion, dy=float(motion.dy + self._origin[0]), dx=float(motion.dx + self._origin[1]))

    def _follow_drift(self, motion: Motion) -> None:
        """Move the origin to the tissue once it has drifted by half the margin of the averages."""
        self._drift += DRIFT_GAIN * (np.array([motion.dy, motion.dx]) - self._drift)
        if np.abs(self._drift).max() <= MARGIN / 2:
            return
        dy, dx = (int(d) for d in np.rint(self._drift))
        self._drift -= (dy, dx)
        self._origin += (dy, dx)
        self._rigid.rebase(dy, dx)
        for averages in self._averages:
            averages.rebase(dy, dx)


def mean_views(images: Image) -> Image:
    """Average images (N, K, Y, X) over the second axis; for one or two images this is twice as fast as numpy's mean."""
    if images.shape[1] == 1:
        return images[:, 0]
    if images.shape[1] == 2:
        return (images[:, 0] + images[:, 1]) * np.float32(0.5)
    average: Image = images.mean(axis=1)
    return average
