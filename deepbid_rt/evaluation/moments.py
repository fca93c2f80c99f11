"""Means, variances and covariance of two variables, accumulated piece by piece without loss of precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, means and centred sums of products of two variables; adding them is exact (Chan et al. 1979)."""

    n: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0

    @classmethod
    def of(cls, x: NDArray[np.float64], y: NDArray[np.float64]) -> Moments:
        """Return the moments of two 1D arrays of the same length."""
        mx, my = float(x.mean()), float(y.mean())
        dx, dy = x - mx, y - my
        return cls(x.size, mx, my, float(dx @ dx), float(dy @ dy), float(dx @ dy))

    def __add__(self, other: Moments) -> Moments:
        n = self.n + other.n
        dx, dy, weight = other.x - self.x, other.y - self.y, self.n * other.n / n
        return Moments(
            n,
            self.x + dx * other.n / n,
            self.y + dy * other.n / n,
            self.xx + other.xx + dx * dx * weight,
            self.yy + other.yy + dy * dy * weight,
            self.xy + other.xy + dx * dy * weight,
        )

    def correlation(self) -> float:
        """Return Pearson's correlation; 0.0 when either variable is constant up to rounding."""
        rounding = self.n * (16 * np.finfo(np.float64).eps) ** 2
        if self.xx <= rounding * self.x**2 or self.yy <= rounding * self.y**2:
            return 0.0
        return max(-1.0, min(1.0, self.xy / math.sqrt(self.xx) / math.sqrt(self.yy)))
