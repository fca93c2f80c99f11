"""Contrast: the counts that are shown black and white.

They are percentiles of a subsample of the pixels, which is fast, smoothed over time, which avoids flicker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (1.0, 99.7)
"""Percentiles that are shown black and white, so that single extreme pixels do not set the contrast."""
SMOOTHING_S = 1.5
"""Time constant with which the limits follow the image."""
_SAMPLES = 4096
"""A subsample takes every n-th pixel along each axis, n up to 4, as long as about this many pixels remain."""

Limits = tuple[float, float]
"""Counts shown black and white; white is greater than black."""


def subsample(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return some of the finite pixels of an image (Y, X): every fourth pixel of every fourth line of a large one."""
    step = max(1, min(4, math.isqrt(image.size // _SAMPLES)))
    pixels = image[::step, ::step].astype(np.float32).ravel()
    return pixels[np.isfinite(pixels)] if image.dtype.kind == "f" else pixels


def percentile_limits(samples: NDArray[Any]) -> Limits | None:
    """Return the `PERCENTILES` of pixels as limits; None when there are no pixels."""
    if not samples.size:
        return None
    black, white = (float(value) for value in np.percentile(samples.astype(np.float64), PERCENTILES))
    return black, _above(black, white, 1.0)


def _above(black: float, white: float, least: float) -> float:
    """Return `white` if it is greater than `black`, else a count that is greater by at least `least`."""
    return white if white > black else black + max(abs(black) * 1e-6, least)


class Levels:
    """Contrast limits of each image source (raw, average, denoised) and channel.

    As long as `independent` is False, all sources share the limits of the last source given to `update`, which is the
    denoised one where there is one. Contrast then cannot make one picture look better than another.
    """

    def __init__(self) -> None:
        self.locked = False
        """True: the limits no longer follow the image."""
        self.independent = False
        """True: each source has its own limits."""
        self._limits: dict[tuple[str, int], Limits] = {}
        self._manual: dict[int, Limits] = {}
        self._reference = ""
        self._updated_s: float | None = None

    def update(self, samples: Mapping[str, Mapping[int, NDArray[np.float32]]], now_s: float) -> None:
        """Adapt the limits to new images.

        Parameters
        ----------
        samples : mapping
            `subsample` of each shown channel, by source and channel; the last source is the reference.
        now_s : float
            Monotonic seconds.
        """
        passed_s = now_s - (self._updated_s if self._updated_s is not None else now_s)
        self._updated_s = now_s
        weight = 1.0 - math.exp(-passed_s / SMOOTHING_S)
        for source, channels in samples.items():
            self._reference = source
            for channel, pixels in channels.items():
                old, new = self._limits.get((source, channel)), percentile_limits(pixels)
                if new is None or (old is not None and self.locked):
                    continue
                if old is not None:
                    new = old[0] + weight * (new[0] - old[0]), old[1] + weight * (new[1] - old[1])
                self._limits[source, channel] = new

    def of(self, source: str, channel: int) -> Limits:
        """Return the limits for a channel of a source."""
        if channel in self._manual:
            return self._manual[channel]
        own = self._limits.get((source, channel), (0.0, 1.0))
        return own if self.independent else self._limits.get((self._reference, channel), own)

    def describe(self, channel: int) -> str:
        """Return a text that says where the limits of a channel come from."""
        how = "manual" if channel in self._manual else "locked" if self.locked else "automatic"
        return f"contrast {how}, {'separate' if self.independent and how != 'manual' else 'same for all'}"

    def set_manual(self, channel: int, black: float, white: float) -> None:
        """Set the limits of a channel for all sources; white is moved above black if needed."""
        self._manual[channel] = (black, _above(black, white, 1e-6))

    def automatic(self) -> None:
        """Remove manual limits and the lock."""
        self._manual.clear()
        self.locked = False

    def reset(self) -> None:
        """Take the limits from the next image alone, for a new series. Locked and manual limits stay."""
        if not self.locked:
            self._limits.clear()
        self._updated_s = None
