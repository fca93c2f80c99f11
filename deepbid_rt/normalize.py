"""Raw counts to network units and back, with an offset and a scale that never change within a series.

Knows nothing of where the frames come from, nor of windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_LEAST_NOISE = float(np.finfo(np.float32).tiny)  # less has no inverse in float32


@dataclass(frozen=True, slots=True)
class Normalizer:
    """One linear map for a whole series: ``units = (counts - offset) / scale``."""

    offset: float
    """Counts that become 0."""
    scale: float
    """Counts per network unit, positive."""

    def apply(self, counts: NDArray[Any]) -> NDArray[np.float32]:
        """Map counts of any shape to float32 network units; NaN and infinity become 0."""
        units: NDArray[np.float32] = np.subtract(counts, np.float32(self.offset), dtype=np.float32)
        units *= np.float32(1 / self.scale)
        if counts.dtype.kind == "f":
            np.nan_to_num(units, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return units

    def restore(self, units: NDArray[np.float32], dtype: DTypeLike) -> NDArray[Any]:
        """Map network units of any shape back to counts of `dtype`; integers are rounded and clipped, never wrapped."""
        return to_dtype(units * np.float32(self.scale) + np.float32(self.offset), dtype)


def to_dtype(counts: NDArray[np.float32], dtype: DTypeLike) -> NDArray[Any]:
    """Round and clip float32 counts of any shape into `dtype`; `counts` may be overwritten."""
    target = np.dtype(dtype)
    if target.kind == "f":
        return counts.astype(target, copy=False)
    limits = np.iinfo(target)
    np.rint(counts, out=counts)
    np.clip(counts, limits.min, limits.max, out=counts)
    return counts.astype(target)


def calibrate(frames: NDArray[Any]) -> Normalizer:
    """Measure offset and scale on the first frames of a series.

    Parameters
    ----------
    frames : ndarray
        (T, ...) raw counts of consecutive frames of one plane and channel.

    Returns
    -------
    Normalizer
        Offset: the mean (DeepBID subtracts the mean of the whole stack; a stream has no whole stack). Scale: the
        standard deviation of the noise, from differences of neighbouring frames, so that a network meets all rigs
        at one noise level whatever their gain; of a single frame, from its lines. 1 where nothing changes at all (a
        dark channel).
    """
    total = squares = 0.0
    seen = pairs = 0
    before = None
    for frame in frames:
        now = np.array(frame, np.float64)
        now[~np.isfinite(now)] = np.nan
        known = _known(now)
        total, seen = total + float(known.sum()), seen + known.size
        if before is not None:
            change = _known(now - before)  # a hole is not noise
            squares, pairs = squares + float(np.vdot(change, change)), pairs + change.size
        before = now
    if not seen:
        return Normalizer(0.0, 1.0)
    noise = float(np.sqrt(squares / pairs / 2)) if pairs else _noise_between_lines(now)
    return Normalizer(total / seen, noise if noise > _LEAST_NOISE else 1.0)


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is not NaN; the same array where all is known."""
    unknown = np.isnan(values)
    return values[~unknown] if unknown.any() else values


def _noise_between_lines(frame: NDArray[np.float64]) -> float:
    """Measure the noise of one frame (..., Y, X): what pixels differ by from the mean of those above and below.

    Mean square along each line, and the median over lines, so that it is not decided by the lines with most structure.
    """
    if frame.ndim < 2 or frame.shape[-2] < 3:
        return 0.0
    bend = frame[..., 1:-1, :] - (frame[..., :-2, :] + frame[..., 2:, :]) / 2
    seen = np.isfinite(bend)
    lines = np.square(np.where(seen, bend, 0)).sum(-1)[seen.any(-1)] / seen.sum(-1)[seen.any(-1)]
    return float(np.sqrt(np.median(lines) / 1.5)) if lines.size else 0.0
