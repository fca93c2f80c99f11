"""A look through a recording before training: what cannot be learned from is refused now, not after an hour.

Knows nothing of file formats, scans, recipes or torch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.scan.normalizer import Normalizer, calibrate
from deepbid_rt.train.movie import BlockReader

SATURATED = 0.05
"""Share of pixels at the highest count from which on a recording is refused: its bright cells were cut off."""
_SAMPLES = 16
"""Frames, spread over the whole recording, that saturation is judged on, beside the first ones."""
_BLOCK_BYTES = 32 << 20


def check_recording(movie: BlockReader, first: int) -> tuple[Normalizer, ...]:
    """Look a recording through and measure the offset and noise of its channels.

    Movies of whole numbers without compression are sampled. All others are read from end to end, because any page may
    turn out unreadable and any number NaN.

    Parameters
    ----------
    movie : BlockReader
    first : int
        Frames at the start that offset and noise are measured on.

    Returns
    -------
    tuple of Normalizer
        One per channel.

    Raises
    ------
    StreamError
        When pixels are not finite, or a channel never changes, or more than `SATURATED` of it stands at its highest
        count.
    FileError
        When a frame cannot be read.
    """
    frames, channels, lines, pixels = movie.shape
    if not movie.sound:
        for channel in range(channels):
            for t0, counts in _blocks(movie, channel):
                _require_finite(counts, t0, channel)
    samples = sorted({*range(first), *np.linspace(0, frames - 1, _SAMPLES).astype(int).tolist()})
    normalizers = []
    for channel in range(channels):
        start = movie.read(0, first, channel, 0, lines, 0, pixels)
        _require_contrast(movie, channel, samples)
        # Between frames alone, whatever the scan: engines that learned with motion counted as noise are better on still
        # tissue and in blood, see docs/stream-engine.md, "What is noise".
        normalizer = calibrate(start[:, None])
        if first > 1 and (start == start[0]).all():
            raise StreamError(
                f"a recording whose channel {channel} is the same picture in each of its first {first} frames",
                expected="frames with noise of their own",
                todo="leave out averaged or repeated frames, and channels without a detector",
            )
        normalizers.append(normalizer)
    return tuple(normalizers)


def _blocks(movie: BlockReader, channel: int) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """Read a channel from end to end in pieces of bounded size: first frame and counts of each."""
    frames, _, lines, pixels = movie.shape
    step = max(1, _BLOCK_BYTES // (lines * pixels * movie.dtype.itemsize))
    for t0 in range(0, frames, step):
        yield t0, movie.read(t0, min(t0 + step, frames), channel, 0, lines, 0, pixels)


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
    """Refuse a channel that is constant or saturated; one frame at a time, so that frames may be large."""
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
    if share > SATURATED:
        raise StreamError(
            f"a recording whose channel {channel} has {share:.0%} of its pixels at its highest count, {highest:g}",
            expected=f"at most {SATURATED:.0%}, since saturated pixels carry no signal and no noise",
            todo="record with less gain or light, or leave this channel out",
        )
