"""Collects for each frame of a plane what a stream engine sees of it: its views, past averages, and later frames.

`FrameContextBuilder` takes frames in order. It completes each frame with the averages of the frames before it, from
`MotionCompensatedHistory`, and, for engines with look-ahead, with the next frames, aligned to it. The first frames of a
series wait for the calibration together; each of them gets averages of all others instead (`noncausal_averages`), so
that the first outputs are not denoised from almost nothing. Training and live denoising use the same builder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice, takewhile

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Image, Motion
from deepbid_rt.motion.aligned_frames import AlignedFrames
from deepbid_rt.motion.history import MotionCompensatedHistory, mean_views
from deepbid_rt.motion.nonrigid import line_shifts
from deepbid_rt.motion.temporal_averages import TemporalAverages


@dataclass(frozen=True, slots=True)
class FrameContext:
    """One frame with its surroundings in time, motion-compensated."""

    plane_frame: int
    """Number of the frame within its plane."""
    views: Image
    """(C, V, Y, X): the views of the frame as they were pushed, network units."""
    motion: Motion
    """See `MotionCompensatedHistory.push`."""
    averages: Image
    """(C, M + 1, Y, X): temporal averages and their weight, from `MotionCompensatedHistory.push` or
    `noncausal_averages`."""
    later_frames: Image
    """(C, A, Y, X): the next A frames, views averaged, aligned to this frame; NaN where they do not show a pixel."""


class FrameContextBuilder:
    """Builds the contexts of the frames of one plane.

    Parameters
    ----------
    gains : tuple of float
        Weight of the newest frame in each temporal average (M averages).
    look_ahead : int
        A, the number of later frames in a context.
    channels : int
        C.
    size : tuple of int
        (Y, X) of one view.
    """

    def __init__(self, gains: tuple[float, ...], look_ahead: int, channels: int, size: tuple[int, int]) -> None:
        self._history = MotionCompensatedHistory(gains, channels, size)
        self._gains = gains
        self._look_ahead = look_ahead
        self._waiting: deque[FrameContext] = deque()  # frames whose later frames have not all come
        self._last_plane_frame: int | None = None

    def reset(self) -> None:
        """Forget all frames."""
        self._history.reset()
        self._waiting.clear()
        self._last_plane_frame = None

    def push(self, plane_frame: int, views: Image) -> list[FrameContext]:
        """Add the next frame and return the contexts that it completes.

        Parameters
        ----------
        plane_frame : int
            Number of the frame within its plane, above all earlier ones. Missing frames make the averages older. The
            frames that wait before a gap are returned at once, because their later frames will not come.
        views : ndarray
            (C, V, Y, X) float32 in network units (standard deviations of the noise). Kept while the frame waits.
        """
        contexts = []
        if self._last_plane_frame is not None and (missing := plane_frame - self._last_plane_frame - 1):
            contexts = self.flush()
            self._history.skip(missing)
        self._last_plane_frame = plane_frame
        motion, averages = self._history.push(views)
        no_later_frames = np.empty((len(views), 0, *views.shape[2:]), np.float32)
        self._waiting.append(FrameContext(plane_frame, views, motion, averages, no_later_frames))
        while len(self._waiting) > self._look_ahead:
            contexts.append(self._complete_next())
        return contexts

    def push_batch(self, frames: Sequence[tuple[int, Image]]) -> list[FrameContext]:
        """Add the first frames of a series together; each gets averages of all others, earlier and later.

        Parameters
        ----------
        frames : sequence of (int, ndarray)
            Arguments of `push`.
        """
        complete = [context for frame in frames for context in self.push(*frame)]
        contexts = noncausal_averages([*complete, *self._waiting], self._gains)
        self._waiting = deque(contexts[len(complete) :])
        return contexts[: len(complete)]

    def flush(self) -> list[FrameContext]:
        """Return the frames that wait, with those of their later frames that have come."""
        return [self._complete_next() for _ in range(len(self._waiting))]

    def _complete_next(self) -> FrameContext:
        context = self._waiting.popleft()
        if not self._look_ahead:
            return context
        later = list(islice(self._waiting, self._look_ahead))
        return replace(context, later_frames=align_to(context, later, self._look_ahead))


def align_to(context: FrameContext, later: Sequence[FrameContext], count: int) -> Image:
    """Align later frames to a frame.

    Parameters
    ----------
    context : FrameContext
        The frame to align to.
    later : sequence of FrameContext
        At most `count` frames that follow it without a gap.
    count : int
        A, the number of frames in the result.

    Returns
    -------
    ndarray
        (C, A, Y, X) float32, views averaged. NaN where a frame does not show a pixel, is foreign, comes after a
        restart, or is missing.
    """
    channels, _, *size = context.views.shape
    aligned = np.full((channels, count, *size), np.nan, np.float32)
    if context.motion.status == "foreign":
        return aligned
    line = np.arange(size[0])
    shifts = line_shifts(context.motion, size[0])
    for k, other in enumerate(takewhile(lambda other: other.motion.status != "restarted", later)):
        if other.motion.status == "foreign":
            continue
        other_shifts = line_shifts(other.motion, size[0])
        # The shift of the other frame at the line that shows the same tissue. That line depends on the shift itself;
        # two fixed-point iterations are enough, because shifts change little from line to line.
        shifts_there = other_shifts
        for _ in range(2):
            other_line = line - shifts[0] + shifts_there[0]
            shifts_there = np.stack([np.interp(other_line, line, component) for component in other_shifts])
        for c, image in enumerate(mean_views(other.views)):
            # Temporal averages with gain 1 hold one frame: it enters unmoved and is recalled with the difference.
            single, recalled = TemporalAverages((1.0,), (size[0], size[1])), np.empty((2, *size), np.float32)
            single.update(image, np.zeros_like(other_shifts))
            single.recall(shifts - shifts_there, recalled)
            aligned[c, k] = np.where(recalled[1] > 0, recalled[0], np.nan)
    return aligned


def noncausal_averages(contexts: Sequence[FrameContext], gains: tuple[float, ...]) -> list[FrameContext]:
    """Replace the averages of each frame by averages of all other frames, earlier and later.

    The weights are those of an exponential average into which the frames were pushed by decreasing distance in time, so
    that the nearest frames count most. No frame is in its own averages.

    Parameters
    ----------
    contexts : sequence of FrameContext
        In order of time. Their views and motions are used, their averages are not.
    gains : tuple of float
        Weight of the nearest frame in each average.

    Returns
    -------
    list of FrameContext
        The same frames. Foreign frames are in no averages and get none (all 0). Frames before and after a restart are
        not averaged with each other.
    """
    restarts = list(accumulate(context.motion.status == "restarted" for context in contexts))
    return [
        averaged
        for restart in dict.fromkeys(restarts)
        for averaged in _between_restarts([c for c, n in zip(contexts, restarts, strict=True) if n == restart], gains)
    ]


def _between_restarts(contexts: Sequence[FrameContext], gains: tuple[float, ...]) -> list[FrameContext]:
    channels, _, rows, columns = contexts[0].views.shape
    shifts = np.stack([line_shifts(context.motion, rows) for context in contexts])
    averaged = [k for k, context in enumerate(contexts) if context.motion.status != "foreign"]
    # The averages are centred on the mean shift, so that their margin surrounds all frames. In whole pixels, so that
    # every frame is rounded as it would be without the change of origin.
    origin = np.rint(shifts[averaged].mean(axis=(0, 2), keepdims=True)[0] if averaged else 0)
    results = [replace(context, averages=np.zeros_like(context.averages)) for context in contexts]
    plane_frames = [context.plane_frame for context in contexts]
    for c in range(channels):
        aligned = AlignedFrames(len(contexts), (rows, columns))
        averages = TemporalAverages(gains, (rows, columns))
        for k in averaged:
            aligned.put(k, mean_views(contexts[k].views[c : c + 1])[0], shifts[k] - origin)
        for k in averaged:
            aligned.average_into(averages, _weights_by_distance(plane_frames, k, gains))
            averages.recall(shifts[k] - origin, results[k].averages[c])
    return results


def _weights_by_distance(plane_frames: Sequence[int], k: int, gains: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the weight (M, T) of each frame in the averages of frame `k`, as if the most distant had come first.

    Of two frames at the same distance, the later one counts as nearer. Frame `k` itself has weight 0.
    """
    distance = np.abs(np.array(plane_frames) - plane_frames[k])
    ages, age, previous = np.zeros(len(plane_frames)), -1, 0
    for n in sorted(range(len(plane_frames)), key=lambda n: (distance[n], -n))[1:]:
        age += max(int(distance[n]) - previous, 1)
        ages[n], previous = age, distance[n]
    gain = np.array(gains)[:, None]
    weights: NDArray[np.float64] = gain * (1 - gain) ** ages * (distance > 0)
    return weights
