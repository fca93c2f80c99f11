"""The equations of a chain of strips, of which each is tied to the next, inverted on the device in few operations.

The libraries behind ``torch.linalg`` cannot be captured in a CUDA graph
(https://github.com/pytorch/pytorch/issues/96632), so they are eliminated in plain operations. Knows nothing of images.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Equations:
    """Two unknowns (dy, dx) for each of K strips, in an order of strips that lets many be eliminated at once.

    Parameters
    ----------
    walk : ndarray
        (K, K): squared differences of neighbours as a quadratic form, for one axis.
    tether : float
        Inverse variance of each unknown about 0 in the absence of all else.
    device : torch.device
        Where to solve.

    Notes
    -----
    Cyclic reduction (Hockney 1965): every other strip of a chain is tied to none of its kind, so all of these leave at
    once, which leaves a chain of half the length. What leaves takes its share out of all else, one step of Cholesky's
    factorisation. An identity beside the matrix M gathers the inverse: of [[M, I], [I, 0]], -M^-1 is left in the end.
    """

    def __init__(self, walk: NDArray[np.float64], tether: float, device: torch.device) -> None:
        strips = len(walk)
        chain = list(range(strips))
        order: list[int] = []
        self._steps: list[slice] = []
        while chain:
            leaving = chain[::2]
            first, last = 2 * len(order), 2 * (len(order) + len(leaving))
            self._steps += [slice(first + axis, last, 2) for axis in range(2)]
            order += leaving
            chain = chain[1::2]
        self.order: NDArray[np.intp] = np.array(order)
        """Which strip stands at each place."""
        size = 2 * strips
        self._size = size
        ties = np.zeros((2 * size, 2 * size))
        ties[:size, :size] = np.kron(walk[np.ix_(order, order)], np.eye(2))
        fixed = np.kron([[tether, 1.0], [1.0, 0.0]], np.eye(size))
        place, axis = np.arange(2 * size) // 2, np.arange(2 * size) % 2
        same = (place[:, None] == place) & (place < strips)
        of = np.where(same, (axis[:, None] + axis) * strips + place[:, None], 0)
        self._ties, self._fixed = (torch.from_numpy(matrix).to(device) for matrix in (ties, fixed))
        self._same = torch.from_numpy(same.astype(np.float64)).to(device)
        self._of = torch.from_numpy(of.ravel()).to(device)
        self._mean_of = self._ties[:size, :size] / (size - 2)

    def prior(self, variance: Tensor) -> Tensor:
        """Return what is known without any image, if neighbours differ with this variance; for `invert` and `pull`."""
        return torch.addcdiv(self._fixed, self._ties, variance)

    def pull(self, prior: Tensor, seen: Tensor, strips: Tensor) -> Tensor:
        """Return what images (2, K) and prior together pull at the strips (K, 2), in the order here; (2 K,)."""
        known = prior[: self._size, : self._size]
        return torch.addmv(seen.T.flatten(), known, strips.flatten(), alpha=-1)

    def invert(self, prior: Tensor, seen: Tensor) -> Tensor:
        """Return the covariance (2 K, 2 K) of the strips, dy before dx, given yy, yx and xx (3, K) of each."""
        shown = seen.flatten().index_select(0, self._of).view_as(self._same)
        matrix = torch.addcmul(prior, shown, self._same)
        for step in self._steps:
            share = matrix[:, step] * matrix.diagonal()[step].rsqrt()
            matrix.addmm_(share, share.T, alpha=-1)
        return -matrix[self._size :, self._size :]

    def roughness(self, strips: Tensor, covariance: Tensor) -> Tensor:
        """Return the expected square of the difference of neighbours, over all neighbours and both axes."""
        place = strips.flatten()
        return (torch.addr(covariance, place, place) * self._mean_of).sum()
