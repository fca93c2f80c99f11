"""What is remembered before the frames of a recording, worked out once by the code of the live path, on the disk.

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
from deepbid_rt.past import Past
from deepbid_rt.train.recording import Recording

MOST_BYTES = 8_000_000_000
"""Of what is kept of all recordings together."""
STRETCH = 128
"""Frames in a row that are kept where not all are."""
_LEAD = 3
"""A stretch is preceded by this many lengths of the slowest memory, of which nothing is kept."""


class Remembered:
    """What was remembered before some or all frames of one recording.

    Attributes
    ----------
    frames : ndarray
        (N,) frame numbers, ascending.
    arrays : ndarray
        (N, C, M + 1, Y, X) float16, as `deepbid_rt.past.Past.see` gives them; in a temporary file that goes with it.
    """

    def __init__(self, recording: Recording, gains: tuple[float, ...], most: int) -> None:
        self._recording, self._gains = recording, gains
        self.frames = stretches(recording.movie.shape[0], most)
        self.arrays = _room((len(self.frames), *_shape(recording, gains)))

    def work_out(self) -> None:
        """Walk through the recording, or to each stretch a while before it begins."""
        _, channels, _, rows, columns = self.arrays.shape
        past = Past(self._gains, channels, (rows, columns))
        lead, ahead = math.ceil(_LEAD / min(self._gains)), 0
        for n, t in enumerate(self.frames.tolist()):
            if t - lead > ahead:
                past.reset()
                ahead = t - lead
            while ahead < t:
                past.see(self._recording.views(ahead, ahead + 1)[0])
                ahead += 1
            self.arrays[n] = past.see(self._recording.views(t, t + 1)[0])[1]
            ahead += 1

    def between(self, begin: int, end: int) -> tuple[int, int]:
        """Return which of the kept frames, first and one past the last, lie from frame `begin` to before `end`."""
        first, last = np.searchsorted(self.frames, (begin, end)).tolist()
        return first, last


def remember(recordings: Sequence[Recording], gains: tuple[float, ...]) -> list[Remembered]:
    """Work out what is remembered before the frames of some recordings.

    Raises
    ------
    StageError
        When a recording holds values that are not finite.
    FileError
        When the folder of temporary files has no room for it all; before any is worked out.
    """
    sizes = [math.prod(_shape(recording, gains)) * np.dtype(np.float16).itemsize for recording in recordings]
    total = sum(size * recording.movie.shape[0] for size, recording in zip(sizes, recordings, strict=True))
    share = min(1.0, MOST_BYTES / total)
    found = [Remembered(recording, gains, int(share * recording.movie.shape[0])) for recording in recordings]
    for one in found:
        one.work_out()
    return found


def stretches(frames: int, most: int) -> NDArray[np.intp]:
    """Return all frames of a recording, or at least 2 stretches from beginning to end, of about `most` frames."""
    if frames <= max(most, 2 * STRETCH):
        return np.arange(frames)
    begins = np.linspace(0, frames - STRETCH, max(2, most // STRETCH)).astype(np.intp)
    return np.unique(begins[:, None] + np.arange(STRETCH))


def _shape(recording: Recording, gains: tuple[float, ...]) -> tuple[int, int, int, int]:
    """Return (C, M + 1, Y, X)."""
    _, channels, _, rows, columns = recording.views(0, 1).shape
    return channels, len(gains) + 1, rows, columns


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
