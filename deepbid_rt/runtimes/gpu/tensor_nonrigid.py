"""`TensorNonrigidMotionEstimator`: motion within a frame in torch operations.

Nothing waits for the host. The operations are few and large, because each costs a GPU more than what it computes.
Reference implementation: `deepbid_rt.motion.nonrigid.NonrigidMotionEstimator`;
``tests/runtimes/gpu/test_tensor_nonrigid.py`` compares.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, pad

from deepbid_rt.motion.nonrigid import (
    NONRIGID_SETTINGS,
    NonrigidMotionEstimator,
    random_walk_precision,
    search_halvings,
    strip_weights,
)
from deepbid_rt.runtimes.gpu.motion_numbers import STRIPS
from deepbid_rt.runtimes.gpu.strip_equations import StripEquations

_PAIRS = ([0, 0, 1, 2, 2], [0, 1, 1, 0, 1])
"""Factors of the products yy, yx, xx and of the pulls at dy and dx: 0 the slope along y, 1 along x, 2 the change."""
_XX = 2
"""Place of xx among the products."""


class TensorNonrigidMotionEstimator:
    """Estimates the most probable shift of each strip of lines.

    Parameters
    ----------
    size, device
        See `deepbid_rt.runtimes.gpu.tensor_rigid.TensorRigidMotionEstimator`.
    """

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        self.rigid = NonrigidMotionEstimator(size).rigid
        self._halvings = () if self.rigid else search_halvings(size)
        self._equations = StripEquations(random_walk_precision(STRIPS), NONRIGID_SETTINGS.tether, device)
        order = self._equations.order
        self._unordered = torch.from_numpy(np.argsort(order)).to(device)
        self._pairs = [torch.tensor(places, device=device) for places in _PAIRS]
        self._line_weights = torch.from_numpy(strip_weights(STRIPS, size[0])).to(device)
        self._scales = {halvings: _Scale(size, halvings, order, device) for halvings in self._halvings}
        # One element instead of a scalar: code that torch 2.13 compiles for a CPU loses writes to 0-d tensors.
        self._variance = torch.zeros(1, dtype=torch.float64, device=device)
        self.reset()

    def reset(self) -> None:
        """Forget the learned variance."""
        self._variance.fill_(NONRIGID_SETTINGS.first_variance)

    def spread(self, strips: Tensor) -> Tensor:
        """Return the shift of each line (2, Y) from those of the strips (2, K)."""
        return strips @ self._line_weights

    def push(self, image: Tensor, averages: Tensor, start: Tensor, when: Tensor) -> Tensor:
        """Return the shift of each strip of lines, see `NonrigidMotionEstimator.push`.

        Parameters
        ----------
        image, averages, start
            See `NonrigidMotionEstimator.push`.
        when : Tensor
            True on the device when the variance is to be learned from this frame.
        """
        noise = (image - averages).var(correction=0).to(torch.float64)
        strips = begin = start.T.expand(STRIPS, 2)
        prior = self._equations.prior(self._variance)
        covariance = prior
        images = self._images(torch.stack([image, averages]))
        for halvings in self._halvings:
            for _ in range(NONRIGID_SETTINGS.iterations):
                strips, covariance = self._improve(strips, halvings, images[halvings], noise, prior)
        differs = noise != 0
        self._learn(strips, covariance, when & differs)
        return torch.where(differs, strips.index_select(0, self._unordered), begin).T

    def _images(self, pair: Tensor) -> dict[int, Tensor]:
        """Return both images, smoothed, at each resolution of the search."""
        images = {}
        for halvings in range(max(self._halvings) + 1):
            pair = avg_pool2d(pair, 2) if halvings else pair
            if halvings in self._halvings:
                images[halvings] = _smooth(pair)
        return images

    def _improve(
        self, strips: Tensor, halvings: int, pair: Tensor, noise: Tensor, prior: Tensor
    ) -> tuple[Tensor, Tensor]:
        scale = self._scales[halvings]
        image, averages = pair
        shifts = scale.weights.T @ (strips @ scale.pitch)
        grid = scale.grid - shifts.to(torch.float32)[:, None]
        expected = grid_sample(averages[None, None], grid[None], padding_mode="border", align_corners=True)[0, 0]
        slope_y = pad(expected[:-2] - expected[2:], (0, 0, 1, 1))
        slope_x = pad(expected[:, :-2] - expected[:, 2:], (1, 1))
        factors = torch.stack([slope_y, slope_x, image - expected])
        first, second = (factors.index_select(0, places) for places in self._pairs)
        lines = (first * second).sum(dim=2, dtype=torch.float64)
        smoother = _smooth(slope_x[None]).square().sum(dtype=torch.float64)
        ratio = (smoother / lines[_XX].sum()).nan_to_num(1.0).clamp(min=1e-3)  # NaN is 0 / 0: an image without slopes
        sums = lines @ scale.weights.T * (scale.units / (noise * ratio))
        covariance = self._equations.invert(prior, sums[:3])
        step = covariance @ self._equations.pull(prior, sums[3:], strips)
        step_px, limit_px = NONRIGID_SETTINGS.step_px, NONRIGID_SETTINGS.limit_px
        return (strips + step.view(STRIPS, 2).clamp(-step_px, step_px)).clamp(-limit_px, limit_px), covariance

    def _learn(self, strips: Tensor, covariance: Tensor, when: Tensor) -> None:
        found = self._equations.roughness(strips, covariance)
        learned = torch.lerp(self._variance, found, NONRIGID_SETTINGS.variance_gain)
        learned = learned.clamp(min=NONRIGID_SETTINGS.least_variance)
        self._variance.copy_(torch.where(when, learned, self._variance))


class _Scale:
    """Tables for images at one resolution."""

    def __init__(self, size: tuple[int, int], halvings: int, order: NDArray[np.intp], device: torch.device) -> None:
        rows, columns = (side >> halvings for side in size)
        pitch = 2**halvings
        self.weights = torch.from_numpy(strip_weights(STRIPS, rows)[order]).to(device)
        """(K, Y): share of each strip in each line, strips in the order of the equations."""
        x, y = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(-1, 1, rows))
        self.grid = torch.from_numpy(np.stack([x, y], -1).astype(np.float32)).to(device)
        """(Y, X, 2): place of each pixel, x before y, from -1 to 1, as `grid_sample` takes it."""
        steps = np.array([[0, 2 / (rows - 1)], [2 / (columns - 1), 0]]) / pitch
        self.pitch = torch.from_numpy(steps).to(device)
        """(2, 2) factor from (dy, dx) in px of the full image to (x, y) of `grid`."""
        slope, noise = 0.5 / pitch, 1 / pitch**2
        units = np.array([slope**2 / noise] * 3 + [slope / noise] * 2)[:, None]
        self.units = torch.from_numpy(units).to(device)
        """(5, 1) factor of the products: from differences of pixels two apart to slopes per px of the full image, in
        units of the noise at this resolution."""


def _smooth(images: Tensor) -> Tensor:
    """Smooth images (N, Y, X) with the weights 1, 2, 1 along both axes, by averaging pairs of neighbours twice."""
    wide = pad(images, (1, 1, 1, 1), mode="replicate")
    return avg_pool2d(avg_pool2d(wide, 2, stride=1), 2, stride=1)
