"""Traces of regions of interest over the last minute: mean counts, dF/F, and a CSV file of both."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.viewer.image_pair import ImagePair
from deepbid_rt.viewer.roi import Roi, RoiMask, mask_of

TRACE_S = 60.0
"""Length of a trace."""
_MAX_POINTS = 16384
"""Largest number of points of one trace, to bound memory; a minute at 273 Hz."""
COLUMNS = (
    *("roi", "plane", "channel", "frame", "t_s"),
    *("raw_f", "denoised_f", "raw_dff", "denoised_dff", "not_denoised"),
)


@dataclass(frozen=True, slots=True)
class TracePoint:
    """The means of one region in one frame."""

    frame: int
    t_s: float
    """Seconds since the Unix epoch by the clock of the microscope, or frame number / rate if frames have no time."""
    raw: NDArray[Any]
    """(C,) means; NaN when there was no frame, or the region covers no pixel."""
    denoised: NDArray[Any]
    """Likewise."""
    not_denoised: bool = False
    """True when the means of `denoised` are of raw pixels, because the session's engine had failed."""


def dff(means: NDArray[Any]) -> NDArray[np.float64]:
    """Return (F - F0) / F0, where F0 is the median of the finite values.

    The median is used because symmetric noise does not shift it. With a low percentile a noisier trace would have a
    lower F0 and a larger dF/F for the same cell.

    Parameters
    ----------
    means : ndarray
        F, the means of one region and channel over time; may contain NaN.

    Returns
    -------
    ndarray
        The same shape; all NaN when F0 is not greater than 0.
    """
    finite = means[np.isfinite(means)]
    base = float(np.median(finite)) if finite.size else np.nan
    return (means - base) / base if base > 0 else np.full(means.shape, np.nan)


class RoiTraces:
    """Measures regions in each pair, and keeps the last `TRACE_S`."""

    def __init__(self) -> None:
        self._points: dict[Roi, deque[TracePoint]] = {}
        self._masks: dict[tuple[Roi, tuple[int, ...]], RoiMask] = {}
        self._rate_hz = 1.0

    @property
    def rois(self) -> list[Roi]:
        """The regions, in the order in which they were added."""
        return list(self._points)

    def follow(self, roi: Roi, earlier: Iterable[ImagePair] = ()) -> None:
        """Add a region, and measure it in `earlier` pairs."""
        self._points[roi] = deque(maxlen=_MAX_POINTS)
        for pair in earlier:
            self._measure(roi, pair)

    def unfollow(self, roi: Roi) -> None:
        """Remove a region and its trace."""
        del self._points[roi]
        self._masks = {key: mask for key, mask in self._masks.items() if key[0] != roi}

    def push(self, pair: ImagePair) -> None:
        """Measure all regions of the plane of a pair."""
        for roi in self._points:
            self._measure(roi, pair)

    def reset(self, rate_hz: float) -> None:
        """Remove all points, for a new series of this frame rate; the regions stay."""
        self._rate_hz = rate_hz
        for points in self._points.values():
            points.clear()
        self._masks.clear()

    def points(self, roi: Roi) -> list[TracePoint]:
        """Return the trace of a region, oldest point first."""
        return list(self._points.get(roi, ()))

    def write_csv(self, file: TextIO) -> int:
        """Write a header and one line for each region, channel and frame; returns the number of lines below it."""
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        count = 0
        for roi in self._points:
            points = self.points(roi)
            for channel in range(max((p.raw.size for p in points), default=0)):
                raw, denoised = by_channel(points, channel)
                rows = zip(points, raw, denoised, dff(raw), dff(denoised), strict=True)
                for point, *values in rows:
                    cells = ["" if np.isnan(value) else f"{value:.6g}" for value in values]
                    place = [roi.name, roi.plane, channel, point.frame, f"{point.t_s:.6f}"]
                    writer.writerow([*place, *cells, int(point.not_denoised)])
                    count += 1
        return count

    def _measure(self, roi: Roi, pair: ImagePair) -> None:
        if pair.plane != roi.plane:
            return
        shape = pair.shape
        key = (roi, shape[1:])
        mask = self._masks.get(key)
        if mask is None:
            mask = self._masks[key] = mask_of(roi, (shape[1], shape[2]))
        none = np.full(shape[0], np.nan)
        raw, denoised = (none if pixels is None else mask.means(pixels) for pixels in (pair.raw, pair.denoised))
        points = self._points[roi]
        t_s = pair.t_ns / 1e9 if pair.t_ns else pair.index / self._rate_hz
        points.append(TracePoint(pair.index, t_s, raw, denoised, pair.not_denoised))
        while points[0].t_s < points[-1].t_s - TRACE_S:
            points.popleft()


def by_channel(points: Sequence[TracePoint], channel: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the raw and the denoised means of one channel, each (points,); NaN where a point has no such channel."""
    raw = np.array([p.raw[channel] if channel < p.raw.size else np.nan for p in points])
    return raw, np.array([p.denoised[channel] if channel < p.denoised.size else np.nan for p in points])


def envelope(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Reduce a line to the lowest and the highest point of each screen column, which looks the same.

    Parameters
    ----------
    x, y : ndarray
        Screen pixels; x is sorted.

    Returns
    -------
    tuple of ndarray
        x and y of two points for each column; the line itself if it has no more points than that.
    """
    columns = np.floor(x)
    begins = np.flatnonzero(np.diff(columns, prepend=np.nan) != 0)
    if 2 * begins.size >= x.size:
        return x, y
    low, high = np.minimum.reduceat(y, begins), np.maximum.reduceat(y, begins)
    return np.repeat(columns[begins] + 0.5, 2), np.stack([low, high], axis=1).ravel()
