"""Converts raw counts to network units and back, with one offset and one scale for a whole series.

The scale is the standard deviation of the noise, so that a network gets all microscopes at the same noise level,
whatever their gain. Constants that changed within a series would change the intensities that users measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_MIN_NOISE = float(np.finfo(np.float32).tiny)
"""Smaller numbers have no inverse in float32."""
LARGEST_COUNT = 1e30
"""Largest count of a float pixel that is taken for a measurement. Sums and products of larger ones overflow float32."""
_FAR = 1e5
"""Distance beyond which a float pixel is left out of a calibration, in distances of the 0.1 % of pixels that lie
farthest: more than the range of a 16-bit converter. One pixel must not set the scale of a whole series."""


@dataclass(frozen=True, slots=True)
class Normalizer:
    """Linear map from counts to network units: ``units = (counts - offset) / scale``."""

    offset: float
    """Counts that map to 0."""
    scale: float
    """Counts per network unit, positive."""

    def apply(self, counts: NDArray[Any]) -> NDArray[np.float32]:
        """Convert counts of any shape to network units; NaN and infinity become 0."""
        units: NDArray[np.float32] = np.subtract(counts, np.float32(self.offset), dtype=np.float32)
        units *= np.float32(1 / self.scale)
        if counts.dtype.kind == "f":
            np.nan_to_num(units, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return units

    def restore(self, units: NDArray[np.float32], dtype: DTypeLike) -> NDArray[Any]:
        """Convert network units of any shape to counts of `dtype`; integers are rounded and clipped, never wrapped."""
        return to_dtype(units * np.float32(self.scale) + np.float32(self.offset), dtype)


def to_dtype(counts: NDArray[np.float32], dtype: DTypeLike) -> NDArray[Any]:
    """Convert float32 counts of any shape to `dtype`, rounding and clipping; `counts` may be overwritten."""
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
        (T, V, Y, X) raw counts of consecutive frames of one plane and channel; two views show the same tissue.

    Returns
    -------
    Normalizer
        Offset: the mean. (DeepBID subtracts the mean of the whole stack, which a live stream does not have.) Scale: the
        standard deviation of the noise, or 1 when nothing changes at all (a dark channel).

    Notes
    -----
    The difference of two neighbouring frames contains the noise and the motion between them. The difference of the two
    views of a frame contains the noise and the line phase. The smaller of the two estimates is used. For a single
    frame, differences between its lines replace those between frames. Pixels that are not finite are left out, and so
    are those of float frames that no detector can have measured (`_FAR`).
    """
    counts, squares_between_frames, squares_between_views = _RunningMean(), _RunningMean(), _RunningMean()
    previous = None
    limits = _plausible_counts(frames) if frames.dtype.kind == "f" else None
    for frame in frames:
        current = np.array(frame, np.float64)
        current[~np.isfinite(current)] = np.nan
        if limits and (
            np.nanmin(current, initial=limits[0]) < limits[0] or np.nanmax(current, initial=limits[1]) > limits[1]
        ):
            current[(current < limits[0]) | (current > limits[1])] = np.nan
        counts.push(current)
        if previous is not None:
            squares_between_frames.push((current - previous) ** 2)
        if current.ndim == 3 and len(current) == 2:
            squares_between_views.push((current[1] - current[0]) ** 2)
        previous = current
    if not counts.count:
        return Normalizer(0.0, 1.0)
    between_frames = squares_between_frames.count > 0
    noise = math.sqrt(squares_between_frames.value / 2) if between_frames else _noise_between_lines(current)
    noise_between_views = math.sqrt(squares_between_views.value / 2)
    if noise_between_views > _MIN_NOISE:  # 0 when there is one view, or the same view twice
        noise = min(noise, noise_between_views)
    return Normalizer(counts.value, noise if noise > _MIN_NOISE else 1.0)


def _plausible_counts(frames: NDArray[Any]) -> tuple[float, float] | None:
    """Return the least and the largest plausible count of float frames; None when that cannot be told."""
    sample = frames.reshape(-1)[:: max(1, frames.size // 2**18)].astype(np.float64)
    sample = sample[np.abs(sample) <= LARGEST_COUNT]
    if not sample.size:
        return -LARGEST_COUNT, LARGEST_COUNT
    middle = float(np.median(sample))
    spread = float(np.quantile(np.abs(sample - middle), 0.999))
    return (middle - _FAR * spread, middle + _FAR * spread) if spread else None


def without_impossible(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return float counts of any shape with NaN in place of infinity and of what is beyond `LARGEST_COUNT`.

    `pixels` itself, of any type, when there is nothing to replace.
    """
    if pixels.dtype.kind != "f" or not pixels.size or np.abs(pixels).max() <= LARGEST_COUNT:  # False for NaN
        return pixels
    possible: NDArray[Any] = np.where(np.abs(pixels) <= LARGEST_COUNT, pixels, pixels.dtype.type(np.nan))
    return possible


class _RunningMean:
    """Mean of all pushed numbers that are not NaN; 0 when there are none."""

    def __init__(self) -> None:
        self.count, self._total = 0, 0.0

    @property
    def value(self) -> float:
        return self._total / max(self.count, 1)

    def push(self, values: NDArray[np.float64]) -> None:
        missing = np.isnan(values)
        present = values[~missing] if missing.any() else values
        self._total += float(present.sum())
        self.count += present.size


def _noise_between_lines(frame: NDArray[np.float64]) -> float:
    """Estimate the noise of a frame (..., Y, X) from differences between pixels and the mean of those above and below.

    The squares are averaged along each line; the median over lines limits the influence of lines with much structure.
    """
    if frame.ndim < 2 or frame.shape[-2] < 3:
        return 0.0
    difference = frame[..., 1:-1, :] - (frame[..., :-2, :] + frame[..., 2:, :]) / 2
    finite = np.isfinite(difference)
    used = finite.any(-1)
    mean_squares = np.square(np.where(finite, difference, 0)).sum(-1)[used] / finite.sum(-1)[used]
    # A pixel minus the mean of two others has 1 + 1/2 times the variance of a pixel.
    return float(np.sqrt(np.median(mean_squares) / 1.5)) if mean_squares.size else 0.0
