"""What is known of the frames of a recording besides, worked out once by the code of the live path, on the disk.

Of recordings that would fill the disk only stretches are kept. Knows nothing of pairs or torch.
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

MOST_BYTES = 8_000_000_000
"""Of what is kept of all recordings together."""
STRETCH = 128
"""Frames in a row that are kept where not all are."""
_LEAD = 3
"""A stretch is preceded by this many lengths of the slowest memory, of which nothing is kept."""


class MotionHistoryCache:
    """What was remembered before some or all frames of one recording, and what came after them.

    Attributes
    ----------
    frames : ndarray
        (N,) frame numbers, ascending.
    arrays : ndarray
        (N, C, M + 1 + A, Y, X) float16, memories, weight and frames ahead as of `deepbid_rt.motion.frame_context.FrameContext`; in a
        temporary file that goes with it.
    """

    def __init__(self, recording: Recording, gains: tuple[float, ...], look_ahead: int, most: int) -> None:
        self._recording, self._gains, self._look_ahead = recording, gains, look_ahead
        self.frames = stretches(recording.movie.shape[0], most)
        self.arrays = _room((len(self.frames), *_shape(recording, gains, look_ahead)))

    def work_out(self) -> None:
        """Walk through the recording, or through each stretch with a while before it and what is seen ahead of it."""
        _, channels, _, rows, columns = self.arrays.shape
        context = FrameContextBuilder(self._gains, self._look_ahead, channels, (rows, columns))
        lead, walked = math.ceil(_LEAD / min(self._gains)), np.zeros(self._recording.movie.shape[0], bool)
        for t in self.frames.tolist():
            walked[max(0, t - lead) : t + self._look_ahead + 1] = True
        before = -1
        for t in np.flatnonzero(walked).tolist():
            if t > before + 1:
                context.reset()  # all that is kept of the stretch before was seen with what lies ahead of it
            self._keep(context.push(t, self._recording.views(t, t + 1)[0]))
            before = t
        self._keep(context.flush())

    def _keep(self, known: list[FrameContext]) -> None:
        for one in known:
            begin, end = self.between(one.plane_frame, one.plane_frame + 1)
            if begin < end:
                self.arrays[begin] = np.concatenate([one.averages, one.later_frames], axis=1)

    def between(self, begin: int, end: int) -> tuple[int, int]:
        """Return which of the kept frames, first and one past the last, lie from frame `begin` to before `end`."""
        first, last = np.searchsorted(self.frames, (begin, end)).tolist()
        return first, last


def cache_motion_history(
    recordings: Sequence[Recording], gains: tuple[float, ...], look_ahead: int
) -> list[MotionHistoryCache]:
    """Work out what is remembered before the frames of some recordings, and the `look_ahead` frames after each.

    Raises
    ------
    StageError
        When a recording holds values that are not finite.
    FileError
        When the folder of temporary files has no room for it all; before any is worked out.
    """
    sizes = [
        math.prod(_shape(recording, gains, look_ahead)) * np.dtype(np.float16).itemsize for recording in recordings
    ]
    total = sum(size * recording.movie.shape[0] for size, recording in zip(sizes, recordings, strict=True))
    share = min(1.0, MOST_BYTES / total)
    found = [
        MotionHistoryCache(recording, gains, look_ahead, int(share * recording.movie.shape[0]))
        for recording in recordings
    ]
    for one in found:
        one.work_out()
    return found


def stretches(frames: int, most: int) -> NDArray[np.intp]:
    """Return all frames of a recording, or at least 2 stretches from beginning to end, of about `most` frames."""
    if frames <= max(most, 2 * STRETCH):
        return np.arange(frames)
    begins = np.linspace(0, frames - STRETCH, max(2, most // STRETCH)).astype(np.intp)
    return np.unique(begins[:, None] + np.arange(STRETCH))


def _shape(recording: Recording, gains: tuple[float, ...], look_ahead: int) -> tuple[int, int, int, int]:
    """Return (C, M + 1 + A, Y, X)."""
    _, channels, _, rows, columns = recording.views(0, 1).shape
    return channels, len(gains) + 1 + look_ahead, rows, columns


def _room(shape: tuple[int, int, int, int, int]) -> NDArray[np.float16]:
    """Return an array in a file that is all there from the beginning: a disk that is full later kills the process."""
    needed = math.prod(shape) * np.dtype(np.float16).itemsize
    with tempfile.TemporaryFile() as file:  # the map keeps it
        try:
            os.posix_fallocate(file.fileno(), 0, needed)
        except AttributeError:  # Windows writes a file at its full length
            file.truncate(needed)
        except OSError as error:
            raise FileError(
                f"no room in {tempfile.gettempdir()} for what is remembered before {shape[0]} frames: {error.strerror}",
                expected=f"{needed / 1e9:.2f} GB for this recording, and as much for each other by its size",
                todo="set TMPDIR to a folder on a larger disk, or train on fewer frames",
            ) from error
        return np.memmap(file, np.float16, "r+", shape=shape)
