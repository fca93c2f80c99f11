"""What regions of interest did during the last minute: means by frame number, dF/F, and a CSV of both.

Knows pairs and regions; no screen, thread or stream.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.viewer.pair import Pair
from deepbid_rt.viewer.roi import Mask, Roi, mask_of

SECONDS = 60.0
_MOST = 16384
"""Points of one trace: a minute at 240 Hz."""
COLUMNS = ("roi", "plane", "channel", "frame", "t_s", "raw_f", "denoised_f", "raw_dff", "denoised_dff")


@dataclass(frozen=True, slots=True)
class Point:
    """One frame of one region. Means by channel; NaN where there was no frame, or no pixel."""

    frame: int
    t_s: float
    """Seconds since the Unix epoch on the microscope's clock; frame number by rate, where the sender says no time."""
    raw: NDArray[Any]
    denoised: NDArray[Any]


def dff(means: NDArray[Any]) -> NDArray[np.float64]:
    """Return (F - F0) / F0 with F0 the median of what is there.

    The median, as symmetric noise does not shift it: with a low percentile a noisier trace would have a lower F0 and a
    larger dF/F for the same cell. F0 at or below 0 has no dF/F: NaN.
    """
    finite = means[np.isfinite(means)]
    base = float(np.median(finite)) if finite.size else np.nan
    return (means - base) / base if base > 0 else np.full(means.shape, np.nan)


class Traces:
    """Follows regions, the last `SECONDS` of each."""

    def __init__(self) -> None:
        self._points: dict[Roi, deque[Point]] = {}
        self._masks: dict[tuple[Roi, tuple[int, ...]], Mask] = {}
        self._rate_hz = 1.0

    @property
    def rois(self) -> list[Roi]:
        """The regions followed, in the order they were drawn."""
        return list(self._points)

    def follow(self, roi: Roi, past: Iterable[Pair] = ()) -> None:
        """Follow a region, beginning with what is still there of the past."""
        self._points[roi] = deque(maxlen=_MOST)
        for pair in past:
            self._add(roi, pair)

    def drop(self, roi: Roi) -> None:
        """Follow a region no longer."""
        del self._points[roi]
        self._masks = {key: mask for key, mask in self._masks.items() if key[0] != roi}

    def add(self, pair: Pair) -> None:
        """Measure a pair."""
        for roi in self._points:
            self._add(roi, pair)

    def begin(self, rate_hz: float) -> None:
        """Forget what was measured, for a new series; regions stay."""
        self._rate_hz = rate_hz
        for points in self._points.values():
            points.clear()
        self._masks.clear()

    def points(self, roi: Roi) -> list[Point]:
        """Return what was measured, oldest first."""
        return list(self._points.get(roi, ()))

    def write_csv(self, file: TextIO) -> int:
        """Write one line for each region, channel and frame; returns how many."""
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
                    writer.writerow([roi.name, roi.plane, channel, point.frame, f"{point.t_s:.6f}", *cells])
                    count += 1
        return count

    def _add(self, roi: Roi, pair: Pair) -> None:
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
        points.append(Point(pair.index, t_s, raw, denoised))
        while points[0].t_s < points[-1].t_s - SECONDS:
            points.popleft()


def by_channel(points: Sequence[Point], channel: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the raw and the denoised means of one channel."""
    raw = np.array([p.raw[channel] if channel < p.raw.size else np.nan for p in points])
    return raw, np.array([p.denoised[channel] if channel < p.denoised.size else np.nan for p in points])


def envelope(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Thin a line out to what a screen can show of it: the lowest and the highest point of each column of pixels.

    Parameters
    ----------
    x, y : ndarray
        Pixels of the screen; x never falls.

    Returns
    -------
    tuple of ndarray
        x and y of at most two points for each column; the line itself where it has no more.
    """
    columns = np.floor(x)
    begins = np.flatnonzero(np.diff(columns, prepend=np.nan) != 0)
    if 2 * begins.size >= x.size:
        return x, y
    low, high = np.minimum.reduceat(y, begins), np.maximum.reduceat(y, begins)
    return np.repeat(columns[begins] + 0.5, 2), np.stack([low, high], axis=1).ravel()
