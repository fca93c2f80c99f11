"""Checks a recording before training starts, and measures its offset and noise.

A recording that cannot be trained on is refused here, in seconds, instead of after an hour of training.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.scan.normalizer import Normalizer, calibrate
from deepbid_rt.train.filled_movie import FilledMovie
from deepbid_rt.train.movie import BlockReader

MAX_SATURATED = 0.05
"""A recording is refused if a larger share of its pixels has the highest count: its bright cells are clipped."""
_SAMPLED_FRAMES = 16
"""Frames, evenly spaced over the recording, that saturation is measured on, in addition to the first frames."""
_BLOCK_BYTES = 32 << 20
"""Memory for one block while a whole recording is read."""


def check_recording(movie: BlockReader, calibration_frames: int) -> tuple[Normalizer, ...]:
    """Check that a recording can be trained on, and measure the offset and noise of its channels.

    Uncompressed movies of whole numbers are only sampled. All others are read from end to end, because any page may
    be unreadable and any value may be NaN.

    Parameters
    ----------
    movie : BlockReader
    calibration_frames : int
        Number of frames at the start that offset and noise are measured on.

    Returns
    -------
    tuple of Normalizer
        One per channel.

    Raises
    ------
    StreamError
        When pixels are not finite, when a channel never changes, or when more than `MAX_SATURATED` of a channel's
        pixels have its highest count.
    FileError
        When a frame cannot be read.
    """
    frames, channels, lines, pixels = movie.shape
    if not movie.always_valid:
        for channel in range(channels):
            for t0, counts in _blocks(movie, channel):
                _require_finite(counts, t0, channel)
    samples = sorted({*range(calibration_frames), *np.linspace(0, frames - 1, _SAMPLED_FRAMES).astype(int).tolist()})
    normalizers = []
    for channel in range(channels):
        start = movie.read(0, calibration_frames, channel, 0, lines, 0, pixels)
        _require_contrast(movie, channel, samples)
        # The noise is measured between frames, for every scan. Motion then counts as noise too: engines trained in
        # this way are better on still tissue and in blood, see docs/lab-notes/2026-11-29-quality.md, "What is noise".
        normalizer = calibrate(_only_measured(movie, start, channel)[:, None])
        if calibration_frames > 1 and (start == start[0]).all():
            raise StreamError(
                f"a recording whose channel {channel} is the same picture in each of its first "
                f"{calibration_frames} frames",
                expected="frames with independent noise",
                todo="leave out averaged or repeated frames, and channels without a detector",
            )
        normalizers.append(normalizer)
    return tuple(normalizers)


def _only_measured(movie: BlockReader, start: NDArray[np.generic], channel: int) -> NDArray[np.generic]:
    """Return the first frames of a channel with NaN in place of pixels that are filled in all of them."""
    constant = movie.constant if isinstance(movie, FilledMovie) else None
    return start if constant is None else np.where(constant[channel], np.float32(np.nan), start.astype(np.float32))


def _blocks(movie: BlockReader, channel: int) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """Read a channel from end to end in blocks of bounded size; yield the first frame and the counts of each."""
    frames, _, lines, pixels = movie.shape
    step = max(1, _BLOCK_BYTES // (lines * pixels * movie.dtype.itemsize))
    for t0 in range(0, frames, step):
        try:
            counts = movie.read(t0, min(t0 + step, frames), channel, 0, lines, 0, pixels)
        except StageError as error:  # before training begins a damaged recording is refused
            raise FileError(error.came, expected=error.expected, todo=error.todo) from error
        yield t0, counts


def _require_finite(counts: NDArray[np.generic], t0: int, channel: int) -> None:
    finite = np.isfinite(counts).all(axis=(1, 2))
    if not finite.all():
        raise StreamError(
            f"a recording with pixels that are not finite, first in frame {t0 + int(finite.argmin())} of "
            f"channel {channel}",
            expected="finite counts",
            todo="replace NaN and infinity before training",
        )


def _require_contrast(movie: BlockReader, channel: int, samples: list[int]) -> None:
    """Refuse a channel that is constant or saturated. Reads one frame at a time, because frames may be large."""
    _, _, lines, pixels = movie.shape
    lowest, highest, at_highest = np.inf, -np.inf, 0
    for t in samples:
        counts = movie.read(t, t + 1, channel, 0, lines, 0, pixels)
        top = float(counts.max())
        if top > highest:
            highest, at_highest = top, 0
        at_highest += int((counts == highest).sum())
        lowest = min(lowest, float(counts.min()))
    share = at_highest / (len(samples) * lines * pixels)
    if lowest == highest:
        raise StreamError(
            f"a recording whose channel {channel} is {highest:g} counts everywhere",
            expected="a picture with noise",
            todo="check the file and the number of channels",
        )
    if share > MAX_SATURATED:
        raise StreamError(
            f"a recording whose channel {channel} has {share:.0%} of its pixels at its highest count, {highest:g}",
            expected=f"at most {MAX_SATURATED:.0%}, because saturated pixels carry no signal and no noise",
            todo="record with less gain or light, or leave this channel out",
        )
