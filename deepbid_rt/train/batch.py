"""The pairs of one training step, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.train.pairs import Split


@dataclass(frozen=True, slots=True)
class GapBlocks:
    """The blocks that the pairs of a batch were split from; the gap-amending term of the loss needs them."""

    blocks: NDArray[np.float32]
    """(N, 1, T, Y, X) in normalised units: blocks as recorded, before the split."""
    signs: NDArray[np.float32]
    """(N,) 1 where the input is the first view of the split, -1 where input and target were swapped."""
    split: Split


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs for one step."""

    inputs: NDArray[np.float32]
    """(N, 1, T, Y, X) in normalised units; for the stream engine (N, K, Y, X)."""
    targets: NDArray[np.float32]
    """(N, 1, T, Y, X) in normalised units; for the stream engine (N, 1, Y, X)."""
    scales: NDArray[np.float32]
    """(N,) raw counts per normalised unit."""
    noise: float
    """Variance of the noise of the targets in squared units, from the difference of independent views."""
    weights: NDArray[np.float32] | None = None
    """Shape of `targets`: 1 where a target counts, 0 where it does not; None where all count."""
    gap: GapBlocks | None = None
    """Present if the recipe has a gap-amending term."""

    def parts(self, count: int) -> list[Batch]:
        """Cut the batch into `count` equal parts. Each part has the `noise` of the whole batch."""

        def cut(array: NDArray[np.float32]) -> list[NDArray[np.float32]]:
            return np.split(array, count)

        none = [None] * count
        weights = none if self.weights is None else cut(self.weights)
        blocks, signs = (none, none) if self.gap is None else (cut(self.gap.blocks), cut(self.gap.signs))
        fields = (cut(self.inputs), cut(self.targets), cut(self.scales), weights, blocks, signs)
        return [
            Batch(inputs, targets, scales, self.noise, weight, self._gap(block, sign))
            for inputs, targets, scales, weight, block, sign in zip(*fields, strict=True)
        ]

    def _gap(self, blocks: NDArray[np.float32] | None, signs: NDArray[np.float32] | None) -> GapBlocks | None:
        if self.gap is None or blocks is None or signs is None:
            return None
        return GapBlocks(blocks, signs, self.gap.split)
