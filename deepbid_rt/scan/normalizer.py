"""Raw counts to network units and back, with an offset and a scale that never change within a series.

Knows nothing of where the frames come from, nor of windows.
"""

from __future__ import annotations

import math
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
        (T, V, Y, X) raw counts of consecutive frames of one plane and channel; two views show the same places.

    Returns
    -------
    Normalizer
        Offset: the mean (DeepBID subtracts the mean of the whole stack; a stream has no whole stack). Scale: the
        standard deviation of the noise, so that a network meets all rigs at one noise level whatever their gain. 1
        where nothing changes at all (a dark channel).

    Notes
    -----
    Neighbouring frames differ by the noise and by what moved between them, two views of one frame by the noise and by
    how far apart their lines lie: the lesser of the two is the noise. Of a single frame, what its lines differ by
    stands for the former.
    """
    everything, between_frames, between_views = _Mean(), _Mean(), _Mean()
    before = None
    for frame in frames:
        now = np.array(frame, np.float64)
        now[~np.isfinite(now)] = np.nan
        everything.add(now)
        if before is not None:
            between_frames.add((now - before) ** 2)
        if now.ndim == 3 and len(now) == 2:
            between_views.add((now[1] - now[0]) ** 2)
        before = now
    if not everything.count:
        return Normalizer(0.0, 1.0)
    noise = math.sqrt(between_frames.value / 2) if between_frames.count else _noise_between_lines(now)
    apart = math.sqrt(between_views.value / 2)
    noise = min(noise, apart) if apart > _LEAST_NOISE else noise  # else the same view twice: it says nothing
    return Normalizer(everything.value, noise if noise > _LEAST_NOISE else 1.0)


class _Mean:
    """The mean of all numbers added that are not NaN; 0 of none."""

    def __init__(self) -> None:
        self.count, self._total = 0, 0.0

    @property
    def value(self) -> float:
        return self._total / max(self.count, 1)

    def add(self, values: NDArray[np.float64]) -> None:
        unknown = np.isnan(values)
        known = values[~unknown] if unknown.any() else values  # a hole is not noise
        self._total += float(known.sum())
        self.count += known.size


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
