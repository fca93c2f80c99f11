"""What is known of a plane before the current frame, brought to where the tissue is now.

Joins `RigidMotionEstimator` and `TemporalAverages`. Training and live use both go through `MotionCompensatedHistory.see`, so a network meets the same memories
in both. Knows nothing of engines, scans or counts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Motion
from deepbid_rt.motion.nonrigid import NonrigidMotionEstimator, shifts_of
from deepbid_rt.motion.rigid import RigidMotionEstimator
from deepbid_rt.motion.temporal_averages import MARGIN, Shifts, TemporalAverages

Image = NDArray[np.float32]
Rows = Literal["all", "even", "odd", "none"]

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
        self._stabilizer = RigidMotionEstimator(size)
        self._line_shifts = NonrigidMotionEstimator(size)
        self._memories = [TemporalAverages(gains, size) for _ in range(channels)]
        self._drift = np.zeros(2)
        self._origin = np.zeros(2)  # how far it moved since the reference began, (dy, dx)

    def reset(self) -> None:
        """Forget everything."""
        self._stabilizer.restart()
        self._line_shifts.restart()
        self._drift[:] = self._origin[:] = 0
        for memory in self._memories:
            memory.reset()

    def skip(self, count: int) -> None:
        """Let `count` frames pass that never came."""
        for memory in self._memories:
            memory.skip(count)

    def see(self, views: Image) -> tuple[Motion, Image]:
        """Take the current frame; return where it lies and what was remembered before it, in its place.

        Parameters
        ----------
        views : ndarray
            (C, V, Y, X) float32 in standard deviations of the noise.

        Returns
        -------
        motion : Motion
            From where the first frame of the reference lay, however far the origin has moved since.
        remembered : ndarray
            (C, M + 1, Y, X) as `TemporalAverages.recall` gives it; all 0 for a foreign frame, which is also not remembered.
        """
        frame = mean_of(views)
        together = mean_of(frame[None])[0]
        motion = self._stabilizer.estimate(together)
        if motion.verdict == "foreign":
            self.skip(1)
            rows, columns = views.shape[2:]
            return self._since_begin(motion), np.zeros((len(frame), self._depth, rows, columns), np.float32)
        if motion.verdict == "restarted":
            self._drift[:] = self._origin[:] = 0
            for memory in self._memories:
                memory.reset()
        motion = self._bent(together, motion)
        shifts = shifts_of(motion, together.shape[0])
        remembered = np.empty((len(frame), self._depth, *together.shape), np.float32)
        for memory, recalled in zip(self._memories, remembered, strict=True):
            memory.recall(shifts, recalled)
        for memory, image in zip(self._memories, frame, strict=True):
            memory.update(image, shifts)
        absolute = self._since_begin(motion)
        self._follow(motion)
        return absolute, remembered

    def _bent(self, frame: Image, motion: Motion) -> Motion:
        """Add how the mean of all channels is bent."""
        if motion.verdict != "tracked" or self._line_shifts.rigid:
            return motion
        rigid = np.array([[motion.dy], [motion.dx]])
        # A recall of whole pixels need not be interpolated.
        whole: Shifts = np.repeat(np.rint(rigid), len(frame), axis=1)
        slowest = np.empty((len(self._memories), 2, *frame.shape), np.float32)
        for memory, recalled in zip(self._memories, slowest, strict=True):
            memory.recall(whole, recalled)
        remembered = mean_of(slowest[None, :, 0])[0]
        if slowest[:, 1].min() == 0:
            remembered = np.where(slowest[:, 1].min(axis=0) > 0, remembered, frame)
        off = rigid - np.rint(rigid)
        dy, dx = (self._line_shifts.estimate(frame, remembered, off) - off).tolist()
        return replace(motion, bend_dy=tuple(dy), bend_dx=tuple(dx))

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
        self._stabilizer.rebase(dy, dx)
        for memory in self._memories:
            memory.rebase(dy, dx)


def mean_of(images: Image) -> Image:
    """Average over the second axis of (N, K, Y, X): twice as fast as numpy's for one or two images."""
    if images.shape[1] == 1:
        return images[:, 0]
    if images.shape[1] == 2:
        return (images[:, 0] + images[:, 1]) * np.float32(0.5)
    average: Image = images.mean(axis=1)
    return average


def inputs_of(view: Image, remembered: Image, rows: Rows = "all", ahead: Image | None = None) -> Image:
    """Put together what a stream engine is given.

    Parameters
    ----------
    view : ndarray
        (Y, X) the current view.
    remembered : ndarray
        (M + 1, Y, X) from `MotionCompensatedHistory.see`.
    rows : {"all", "even", "odd", "none"}
        Lines of the view that the engine may see; the others are 0.
    ahead : ndarray, optional
        (A, Y, X) the frames that came after, in the place of this one, from `deepbid_rt.motion.frame_context.brought`.

    Returns
    -------
    ndarray
        (M + 3 + A, Y, X) float32: view, mask (1 where the view may be seen), weight of the slowest memory, memories,
        frames ahead. A place of which nothing is remembered has the view in all memories, and weight 0; one that a
        frame ahead does not show has the slowest memory in it.
    """
    depth = len(remembered) + 2
    inputs = np.empty((depth + (0 if ahead is None else len(ahead)), *view.shape), np.float32)
    inputs[0], inputs[1] = view, 1
    if rows == "none":
        inputs[:2] = 0
    elif rows != "all":
        inputs[:2, rows == "even" :: 2] = 0
    inputs[2], inputs[3:depth] = remembered[-1], remembered[:-1]
    if inputs[2].min() == 0:
        unknown = inputs[2] == 0
        inputs[3:depth][:, unknown] = inputs[0][unknown]
    if ahead is not None:
        inputs[depth:] = np.where(np.isnan(ahead), inputs[depth - 1], ahead)
    return inputs
