"""Latency histograms in constant memory, however long the session runs."""

from __future__ import annotations

import math

import numpy as np

_BINS_PER_OCTAVE = 32  # bins 2 % wide
_OCTAVES = 44  # up to 2**44 ns, about five hours


class LatencyHistogram:
    """Counts of durations in logarithmic bins 2 % wide. One thread adds; any thread may read."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS_PER_OCTAVE * _OCTAVES, np.int64)

    def add(self, duration_ns: int) -> None:
        """Count one duration. A negative one counts as 0: the clocks of two machines may disagree."""
        octave = math.log2(max(duration_ns, 1)) * _BINS_PER_OCTAVE
        self._counts[min(int(octave), self._counts.size - 1)] += 1

    @property
    def count(self) -> int:
        """Durations counted so far."""
        return int(self._counts.sum())

    def quantile_ms(self, q: float) -> float | None:
        """Return the q-th quantile (0 < q <= 1) in milliseconds; None before the first duration."""
        total = self.count
        if not total:
            return None
        place = int(np.searchsorted(np.cumsum(self._counts), math.ceil(q * total)))
        return float(2 ** ((place + 0.5) / _BINS_PER_OCTAVE) / 1e6)

    def summary(self) -> dict[str, float | None]:
        """Return the median and the 99th percentile in milliseconds, to three digits; None before the first."""
        return {name: _rounded(self.quantile_ms(q)) for name, q in (("p50", 0.5), ("p99", 0.99))}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
