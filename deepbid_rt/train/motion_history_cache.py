"""Temporal averages and later frames of the frames of a recording, computed once and cached on disk.

The code of the live path computes them. If a cache of all frames would be too large, only some stretches of frames are
kept.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError
from deepbid_rt.motion.frame_context import FrameContext, FrameContextBuilder
from deepbid_rt.train.recording import Recording

MAX_BYTES = 8_000_000_000
"""Size of the caches of all recordings together; the temporary files must fit on an ordinary disk."""
STRETCH_FRAMES = 128
"""Frames in a row that are kept if not all frames are kept."""
_WARM_UP_LENGTHS = 3
"""Time constants of the slowest average that are processed before a stretch: then it lacks 5 % of its weight."""


class MotionHistoryCache:
    """Temporal averages and later frames of all or some frames of one recording.

    Parameters
    ----------
    recording : Recording
    gains : tuple of float
        Weight of the newest frame in each temporal average, the slowest last (M of them).
    look_ahead : int
        Later frames that are kept with each frame (A).
    max_frames : int
        About how many frames to keep.

    Attributes
    ----------
    frames : ndarray
        (N,) numbers of the kept frames, ascending.
    arrays : ndarray
        (N, C, M + 1 + A, Y, X) float16: averages, weight of the slowest average, later frames, as in
        `deepbid_rt.motion.frame_context.FrameContext`. It is mapped to a temporary file, which is deleted with it.
    """

    def __init__(self, recording: Recording, gains: tuple[float, ...], look_ahead: int, max_frames: int) -> None:
        self._recording, self._gains, self._look_ahead = recording, gains, look_ahead
        self.frames = kept_frames(recording.movie.shape[0], max_frames)
        self.arrays = _allocate((len(self.frames), *_frame_shape(recording, gains, look_ahead)))

    def fill(self) -> None:
        """Process the recording, or each stretch with the frames before and after it that its frames depend on."""
        _, channels, _, rows, columns = self.arrays.shape
        builder = FrameContextBuilder(self._gains, self._look_ahead, channels, (rows, columns))
        warm_up = math.ceil(_WARM_UP_LENGTHS / min(self._gains))
        processed = np.zeros(self._recording.movie.shape[0], bool)
        for t in self.frames.tolist():
            processed[max(0, t - warm_up) : t + self._look_ahead + 1] = True
        previous = -1
        for t in np.flatnonzero(processed).tolist():
            if t > previous + 1:
                # A new stretch. The last one is complete: its later frames have been processed as well.
                builder.reset()
            self._store(builder.push(t, self._recording.read_views(t, t + 1)[0]))
            previous = t
        self._store(builder.flush())

    def _store(self, contexts: list[FrameContext]) -> None:
        for context in contexts:
            begin, end = self.kept_between(context.plane_frame, context.plane_frame + 1)
            if begin < end:
                self.arrays[begin] = np.concatenate([context.averages, context.later_frames], axis=1)

    def kept_between(self, begin: int, end: int) -> tuple[int, int]:
        """Return the range of indices into `frames` of the kept frames from frame `begin` to frame `end` - 1."""
        first, last = np.searchsorted(self.frames, (begin, end)).tolist()
        return first, last


def cache_motion_history(
    recordings: Sequence[Recording], gains: tuple[float, ...], look_ahead: int
) -> list[MotionHistoryCache]:
    """Compute the temporal averages of the frames of some recordings, and the `look_ahead` frames after each.

    Raises
    ------
    StageError
        When a recording holds values that are not finite.
    FileError
        When the folder of temporary files has no space for all caches. This is checked before anything is computed.
    """
    sizes = [
        math.prod(_frame_shape(recording, gains, look_ahead)) * np.dtype(np.float16).itemsize
        for recording in recordings
    ]
    total = sum(size * recording.movie.shape[0] for size, recording in zip(sizes, recordings, strict=True))
    share = min(1.0, MAX_BYTES / total)
    caches = [
        MotionHistoryCache(recording, gains, look_ahead, int(share * recording.movie.shape[0]))
        for recording in recordings
    ]
    for cache in caches:
        cache.fill()
    return caches


def kept_frames(frames: int, max_frames: int) -> NDArray[np.intp]:
    """Return which frames of a recording to keep.

    All of them, or evenly spaced stretches with about `max_frames` frames in total, but at least 2 stretches: one at
    the beginning and one at the end.
    """
    if frames <= max(max_frames, 2 * STRETCH_FRAMES):
        return np.arange(frames)
    begins = np.linspace(0, frames - STRETCH_FRAMES, max(2, max_frames // STRETCH_FRAMES)).astype(np.intp)
    return np.unique(begins[:, None] + np.arange(STRETCH_FRAMES))


def _frame_shape(recording: Recording, gains: tuple[float, ...], look_ahead: int) -> tuple[int, int, int, int]:
    """Return (C, M + 1 + A, Y, X)."""
    _, channels, _, rows, columns = recording.read_views(0, 1).shape
    return channels, len(gains) + 1 + look_ahead, rows, columns


def _allocate(shape: tuple[int, int, int, int, int]) -> NDArray[np.float16]:
    """Return an array mapped to a temporary file.

    All space is allocated now, because a write to a memory map on a full disk kills the process.
    """
    needed = math.prod(shape) * np.dtype(np.float16).itemsize
    with tempfile.TemporaryFile() as file:  # the memory map keeps the file open
        try:
            os.posix_fallocate(file.fileno(), 0, needed)
        except AttributeError:  # Windows, where truncate allocates the space
            file.truncate(needed)
        except OSError as error:
            raise FileError(
                f"no space in {tempfile.gettempdir()} for the temporal averages of {shape[0]} frames: {error.strerror}",
                expected=f"{needed / 1e9:.2f} GB for this recording, and in proportion for the others",
                todo="set TMPDIR to a folder on a larger disk, or train on fewer frames",
            ) from error
        return np.memmap(file, np.float16, "r+", shape=shape)
