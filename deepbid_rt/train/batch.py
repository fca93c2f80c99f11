"""What one training step learns from. Knows nothing of where it comes from, or of torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.train.pairs import Split


@dataclass(frozen=True, slots=True)
class Gap:
    """What the gap-amending term needs: the blocks that the pairs of a batch were taken from."""

    wholes: NDArray[np.float32]
    """(N, 1, T, Y, X) in normalised units: blocks as recorded, before the split."""
    signs: NDArray[np.float32]
    """(N,) 1 where the input is the split's first view, -1 where both were swapped."""
    split: Split


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs for one step."""

    inputs: NDArray[np.float32]
    """(N, 1, T, Y, X) in normalised units."""
    targets: NDArray[np.float32]
    """Same shape and units."""
    scales: NDArray[np.float32]
    """(N,) raw counts per unit."""
    noise: float
    """Variance of the noise of the targets, from the difference of independent views, in squared units."""
    weights: NDArray[np.float32] | None = None
    """Shape of `targets`: 1 where a target counts, 0 where it does not; None where all count."""
    gap: Gap | None = None
    """For recipes with a gap-amending term."""

    def parts(self, count: int) -> list[Batch]:
        """Cut the batch into `count` equal parts, which share its `noise`."""

        def cut(array: NDArray[np.float32]) -> list[NDArray[np.float32]]:
            return np.split(array, count)

        none = [None] * count
        weights = none if self.weights is None else cut(self.weights)
        wholes, signs = (none, none) if self.gap is None else (cut(self.gap.wholes), cut(self.gap.signs))
        fields = (cut(self.inputs), cut(self.targets), cut(self.scales), weights, wholes, signs)
        return [
            Batch(inputs, targets, scales, self.noise, weight, self._gap(whole, sign))
            for inputs, targets, scales, weight, whole, sign in zip(*fields, strict=True)
        ]

    def _gap(self, wholes: NDArray[np.float32] | None, signs: NDArray[np.float32] | None) -> Gap | None:
        return None if self.gap is None or wholes is None or signs is None else Gap(wholes, signs, self.gap.split)
