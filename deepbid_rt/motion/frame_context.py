"""What is known of each frame of a plane beside itself: its past and, where an engine looks ahead, what came after it.

Training and live use both go through `FrameContextBuilder.push`. Knows nothing of engines, scans or counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice, takewhile

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Motion
from deepbid_rt.motion.history import MotionCompensatedHistory, mean_views
from deepbid_rt.motion.nonrigid import shifts_of
from deepbid_rt.motion.temporal_averages import AlignedFrames, TemporalAverages

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FrameContext:
    """A frame, and all that an engine is told of it."""

    plane_frame: int
    frame: Image
    """(C, V, Y, X), as it was given."""
    motion: Motion
    """As of `MotionCompensatedHistory.push`."""
    averages: Image
    """(C, M + 1, Y, X), as of `MotionCompensatedHistory.push` or `noncausal_averages`."""
    later_frames: Image
    """(C, A, Y, X): the frames that came after it, all views averaged, in its place; NaN where they do not show it."""


class FrameContextBuilder:
    """MotionCompensatedHistory and future of the frames of one plane.

    Parameters
    ----------
    gains, channels, size
        As of `MotionCompensatedHistory`.
    look_ahead : int
        Frames after each frame that it is seen with (A).
    """

    def __init__(self, gains: tuple[float, ...], look_ahead: int, channels: int, size: tuple[int, int]) -> None:
        self._history = MotionCompensatedHistory(gains, channels, size)
        self._gains = gains
        self._look_ahead = look_ahead
        self._waiting: deque[FrameContext] = deque()
        self._tick: int | None = None

    def reset(self) -> None:
        """Forget everything."""
        self._history.reset()
        self._waiting.clear()
        self._tick = None

    def push(self, plane_frame: int, frame: Image) -> list[FrameContext]:
        """Take the next frame; return those of which all is known now.

        Parameters
        ----------
        plane_frame : int
            Its number, above all earlier ones. Missing ones make the memories older, and what lies beyond them is not
            shown as what came next.
        frame : ndarray
            (C, V, Y, X) float32 in standard deviations of the noise; kept where there is a look-ahead.
        """
        known = []
        if self._tick is not None and (missing := plane_frame - self._tick - 1):
            known = self.flush()
            self._history.skip(missing)
        self._tick = plane_frame
        motion, averages = self._history.push(frame)
        self._waiting.append(
            FrameContext(plane_frame, frame, motion, averages, np.empty((len(frame), 0, *frame.shape[2:]), np.float32))
        )
        while len(self._waiting) > self._look_ahead:
            known.append(self._next())
        return known

    def push_batch(self, frames: Sequence[tuple[int, Image]]) -> list[FrameContext]:
        """Take the first frames, which waited for each other; each then remembers all others, not its past alone.

        Parameters
        ----------
        frames : sequence of (int, ndarray)
            As of `push`.
        """
        known = [known for frame in frames for known in self.push(*frame)]
        every = noncausal_averages([*known, *self._waiting], self._gains)
        self._waiting = deque(every[len(known) :])
        return every[: len(known)]

    def flush(self) -> list[FrameContext]:
        """Return the frames that still wait, with what came after them; no more comes."""
        return [self._next() for _ in range(len(self._waiting))]

    def _next(self) -> FrameContext:
        first = self._waiting.popleft()
        if not self._look_ahead:
            return first
        later = list(islice(self._waiting, self._look_ahead))
        return replace(first, later_frames=align_to(first, later, self._look_ahead))


def align_to(first: FrameContext, later: Sequence[FrameContext], count: int) -> Image:
    """Bring the frames after one to its place.

    Parameters
    ----------
    first : FrameContext
    later : sequence of FrameContext
        At most `count`, without a gap.
    count : int
        A.

    Returns
    -------
    ndarray
        (C, A, Y, X); NaN where a frame does not show the place, is foreign, lies beyond a new start, or never came.
    """
    channels, _, *size = first.frame.shape
    later_frames = np.full((channels, count, *size), np.nan, np.float32)
    if first.motion.status == "foreign":
        return later_frames
    for k, other in enumerate(takewhile(lambda known: known.motion.status != "restarted", later)):
        if other.motion.status == "foreign":
            continue
        to, of = (shifts_of(known.motion, size[0]) for known in (first, other))
        # Where the other frame has the places of these lines; shifts change little from line to line.
        line = np.arange(size[0])
        there = of
        for _ in range(2):
            there = np.stack([np.interp(line - to[0] + there[0], line, along) for along in of])
        for c, image in enumerate(mean_views(other.frame)):
            alone, shown = TemporalAverages((1.0,), (size[0], size[1])), np.empty((2, *size), np.float32)
            alone.update(image, np.zeros_like(of))
            alone.recall(to - there, shown)
            later_frames[c, k] = np.where(shown[1] > 0, shown[0], np.nan)
    return later_frames


def noncausal_averages(known: Sequence[FrameContext], gains: tuple[float, ...]) -> list[FrameContext]:
    """Let each of some frames remember all others, earlier and later, the farthest in time first.

    Parameters
    ----------
    known : sequence of FrameContext
        In order of time; their motions count, not what they remember.
    gains : tuple of float
        As of `MotionCompensatedHistory`.

    Returns
    -------
    list of FrameContext
        A foreign frame is not remembered and remembers nothing, and no frame one of another start.
    """
    starts = list(accumulate(one.motion.status == "restarted" for one in known))
    return [
        around
        for start in dict.fromkeys(starts)
        for around in _of_one_start([one for one, s in zip(known, starts, strict=True) if s == start], gains)
    ]


def _of_one_start(known: Sequence[FrameContext], gains: tuple[float, ...]) -> list[FrameContext]:
    channels, _, rows, columns = known[0].frame.shape
    shifts = np.stack([shifts_of(one.motion, rows) for one in known])
    tissue = [one.motion.status != "foreign" for one in known]
    # In whole pixels, so that the margins lie around the frames and each enters as near to its place.
    origin = np.rint(shifts[tissue].mean(axis=(0, 2), keepdims=True)[0] if any(tissue) else 0)
    found = [replace(one, averages=np.zeros_like(one.averages)) for one in known]
    for c in range(channels):
        parts, memory = AlignedFrames(len(known), (rows, columns)), TemporalAverages(gains, (rows, columns))
        shown = np.flatnonzero(tissue).tolist()
        for k in shown:
            parts.put(k, mean_views(known[k].frame[c : c + 1])[0], shifts[k] - origin)
        for k in shown:
            memory.fill(parts, _shares([one.plane_frame for one in known], k, gains))
            memory.recall(shifts[k] - origin, found[k].averages[c])
    return found


def _shares(plane_frames: Sequence[int], k: int, gains: tuple[float, ...]) -> NDArray[np.float64]:
    """Return what each frame counts in each memory of frame `k` (M, T), as if the farthest had come first."""
    away = np.abs(np.array(plane_frames) - plane_frames[k])
    ages, age, before = np.zeros(len(plane_frames)), -1, 0
    for n in sorted(range(len(plane_frames)), key=lambda n: (away[n], -n))[1:]:
        age += max(int(away[n]) - before, 1)
        ages[n], before = age, away[n]
    gain = np.array(gains)[:, None]
    shares: NDArray[np.float64] = gain * (1 - gain) ** ages * (away > 0)
    return shares
