"""`StripEquations`: the linear equations of a chain of strips, solved on the device in few torch operations.

The libraries behind ``torch.linalg`` cannot be captured in a CUDA graph
(https://github.com/pytorch/pytorch/issues/96632), so the elimination uses plain operations.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class StripEquations:
    """Equations of two unknowns (dy, dx) for each of K strips, in an order that eliminates many strips at once.

    Parameters
    ----------
    walk : ndarray
        (K, K) for one axis, see `deepbid_rt.motion.nonrigid.random_walk_precision`.
    tether : float
        Inverse variance of each unknown about 0 in the absence of all else.
    device : torch.device
        Where the equations are solved.

    Notes
    -----
    Cyclic reduction (Hockney 1965): every other strip of a chain is coupled to none of its kind, so all of these are
    eliminated in one step of a Cholesky factorisation, which leaves a chain of half the length. An identity beside the
    matrix M collects the inverse: eliminating M from [[M, I], [I, 0]] leaves -M^-1.
    """

    def __init__(self, walk: NDArray[np.float64], tether: float, device: torch.device) -> None:
        strips = len(walk)
        chain = list(range(strips))
        order: list[int] = []
        self._steps: list[slice] = []
        while chain:
            eliminated = chain[::2]
            first, last = 2 * len(order), 2 * (len(order) + len(eliminated))
            self._steps += [slice(first + axis, last, 2) for axis in range(2)]
            order += eliminated
            chain = chain[1::2]
        self.order: NDArray[np.intp] = np.array(order)
        """Number of the strip at each place of the equations."""
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
        """Return the prior for `invert` and `pull`, given the variance of the difference of neighbouring strips."""
        return torch.addcdiv(self._fixed, self._ties, variance)

    def pull(self, prior: Tensor, image_pull: Tensor, strips: Tensor) -> Tensor:
        """Return the right side (2 K,): the pull of images (2, K) minus that of the prior on strips at (K, 2)."""
        precision = prior[: self._size, : self._size]
        return torch.addmv(image_pull.T.flatten(), precision, strips.flatten(), alpha=-1)

    def invert(self, prior: Tensor, products: Tensor) -> Tensor:
        """Return the covariance (2 K, 2 K) of the strips, dy before dx, given the products yy, yx and xx (3, K)."""
        expanded = products.flatten().index_select(0, self._of).view_as(self._same)
        matrix = torch.addcmul(prior, expanded, self._same)
        for step in self._steps:
            share = matrix[:, step] * matrix.diagonal()[step].rsqrt()
            matrix.addmm_(share, share.T, alpha=-1)
        return -matrix[self._size :, self._size :]

    def roughness(self, strips: Tensor, covariance: Tensor) -> Tensor:
        """Return the expected squared difference of neighbouring strips, the mean over all neighbours and both axes."""
        place = strips.flatten()
        return (torch.addr(covariance, place, place) * self._mean_of).sum()
