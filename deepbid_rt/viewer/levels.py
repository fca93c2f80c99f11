"""Contrast: which counts are black and which are white.

Percentiles of a subsample, smoothed in time, so that the picture neither flickers nor costs. Knows no screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (1.0, 99.7)
SMOOTHING_S = 1.5
"""Time constant with which limits follow the picture."""
_SAMPLES = 4096
"""A subsample is thinned by whole steps, up to 4 along each axis, down to about this many pixels."""

Limits = tuple[float, float]
"""Counts of black and of white; white is above black."""


def subsample(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return some of the finite pixels of an image (Y, X): each fourth of each fourth line of a large one."""
    step = max(1, min(4, math.isqrt(image.size // _SAMPLES)))
    some = image[::step, ::step].astype(np.float32).ravel()
    return some[np.isfinite(some)] if image.dtype.kind == "f" else some


def percentile_limits(samples: NDArray[Any]) -> Limits | None:
    """Return the percentiles of some pixels as limits; None when there are no pixels."""
    if not samples.size:
        return None
    black, white = (float(value) for value in np.percentile(samples.astype(np.float64), PERCENTILES))
    return black, _above(black, white, 1.0)


def _above(black: float, white: float, least: float) -> float:
    """Return white, or the next brighter count that can be told from black."""
    return white if white > black else black + max(abs(black) * 1e-6, least)


class Levels:
    """Limits for each source of pictures and each channel.

    As long as `independent` is False all sources share the limits of the reference, the last source of those given to
    `update` (the denoised one, where there is one): whatever looks better is then not made to look better.
    """

    def __init__(self) -> None:
        self.locked = False
        """True: limits stay as they are."""
        self.independent = False
        """True: each source has limits of its own."""
        self._limits: dict[tuple[str, int], Limits] = {}
        self._manual: dict[int, Limits] = {}
        self._reference = ""
        self._updated_s: float | None = None

    def update(self, samples: Mapping[str, Mapping[int, NDArray[np.float32]]], now_s: float) -> None:
        """Follow the picture.

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
        """Return the limits to show a channel of a source with."""
        if channel in self._manual:
            return self._manual[channel]
        own = self._limits.get((source, channel), (0.0, 1.0))
        return own if self.independent else self._limits.get((self._reference, channel), own)

    def note(self, channel: int) -> str:
        """Say how the limits of a channel come about."""
        how = "manual" if channel in self._manual else "locked" if self.locked else "automatic"
        return f"contrast {how}, {'each its own' if self.independent and how != 'manual' else 'same for all'}"

    def set_manual(self, channel: int, black: float, white: float) -> None:
        """Set the limits of a channel by hand, for all sources; white is kept above black."""
        self._manual[channel] = (black, _above(black, white, 1e-6))

    def automatic(self) -> None:
        """Give up manual limits and the lock."""
        self._manual.clear()
        self.locked = False

    def forget(self) -> None:
        """Begin anew with the next picture, unless limits are locked or set by hand: for a new series."""
        if not self.locked:
            self._limits.clear()
        self._updated_s = None
