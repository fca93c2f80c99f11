"""`deepbid_rt.motion.nonrigid.NonrigidMotionEstimator` on the device: no decision and no equation goes to the host.

Few and large operations, as each costs a GPU more than what it computes. The numpy class is the truth;
`tests/runtimes/gpu/test_nonrigid.py` compares.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, pad

from deepbid_rt.motion import nonrigid as truth
from deepbid_rt.runtimes.gpu.equations import Equations

STRIPS = truth._STRIPS  # noqa: SLF001  # one truth
_PAIRS = ([0, 0, 1, 2, 2], [0, 1, 1, 0, 1])
"""Of the slopes along y and x and the change: what is multiplied for yy, yx, xx and the pulls at dy and dx."""
_XX = 2
"""Place of xx."""


class GpuNonrigidMotionEstimator:
    """Most probable shift of each strip of lines.

    Parameters
    ----------
    size, device
        As of `deepbid_rt.runtimes.gpu.rigid.GpuRigidMotionEstimator`.
    """

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        plain = truth.NonrigidMotionEstimator(size)
        self.rigid = plain.rigid
        self._levels = () if self.rigid else plain._levels  # noqa: SLF001
        self._equations = Equations(plain._walk, truth._TETHER, device)  # noqa: SLF001
        order = self._equations.order
        self._back = torch.from_numpy(np.argsort(order)).to(device)
        self._pairs = [torch.tensor(places, device=device) for places in _PAIRS]
        self._spread = torch.from_numpy(truth._hats(STRIPS, size[0])).to(device)  # noqa: SLF001
        self._scales = {level: _Scale(size, level, order, device) for level in self._levels}
        # An array of one: what torch 2.13 compiles for a CPU writes to numbers without an axis is lost.
        self._variance = torch.zeros(1, dtype=torch.float64, device=device)
        self.reset()

    def reset(self) -> None:
        """Forget how much the tissue moves."""
        self._variance.fill_(truth._FIRST_VARIANCE)  # noqa: SLF001

    def spread(self, strips: Tensor) -> Tensor:
        """Return the shift of each line (2, Y) from those of the strips (2, K)."""
        return strips @ self._spread

    def push(self, image: Tensor, averages: Tensor, start: Tensor, when: Tensor) -> Tensor:
        """Say where the lines of a frame lie; arguments and answer as of the numpy class.

        Parameters
        ----------
        when : Tensor
            Whether to learn from this frame how much the tissue moves.
        """
        noise = (image - averages).var(correction=0).to(torch.float64)
        strips = begin = start.T.expand(STRIPS, 2)
        prior = self._equations.prior(self._variance)
        covariance = prior
        images = self._images(torch.stack([image, averages]))
        for level in self._levels:
            for _ in range(truth._ITERATIONS):  # noqa: SLF001
                strips, covariance = self._improve(strips, level, images[level], noise, prior)
        moves = noise != 0
        self._learn(strips, covariance, when & moves)
        return torch.where(moves, strips.index_select(0, self._back), begin).T

    def _images(self, pair: Tensor) -> dict[int, Tensor]:
        """Return both images, smooth, at each level."""
        images = {}
        for level in range(max(self._levels) + 1):
            pair = avg_pool2d(pair, 2) if level else pair
            if level in self._levels:
                images[level] = _smooth(pair)
        return images

    def _improve(self, strips: Tensor, level: int, pair: Tensor, noise: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        scale = self._scales[level]
        image, averages = pair
        shifts = scale.hats.T @ (strips @ scale.pitch)
        grid = scale.grid - shifts.to(torch.float32)[:, None]
        expected = grid_sample(averages[None, None], grid[None], padding_mode="border", align_corners=True)[0, 0]
        slope_y = pad(expected[:-2] - expected[2:], (0, 0, 1, 1))
        slope_x = pad(expected[:, :-2] - expected[:, 2:], (1, 1))
        seen = torch.stack([slope_y, slope_x, image - expected])
        first, second = (seen.index_select(0, places) for places in self._pairs)
        lines = (first * second).sum(dim=2, dtype=torch.float64)
        smoother = _smooth(slope_x[None]).square().sum(dtype=torch.float64)
        share = (smoother / lines[_XX].sum()).nan_to_num(1.0).clamp(min=1e-3)  # no slope at all: 0 / 0
        sums = lines @ scale.hats.T * (scale.units / (noise * share))
        covariance = self._equations.invert(prior, sums[:3])
        step = covariance @ self._equations.pull(prior, sums[3:], strips)
        reach, limit = truth._STEP_PX, truth._LIMIT_PX  # noqa: SLF001
        return (strips + step.view(STRIPS, 2).clamp(-reach, reach)).clamp(-limit, limit), covariance

    def _learn(self, strips: Tensor, covariance: Tensor, when: Tensor) -> None:
        found = self._equations.roughness(strips, covariance)
        learned = torch.lerp(self._variance, found, truth._VARIANCE_GAIN)  # noqa: SLF001
        learned = learned.clamp(min=truth._LEAST_VARIANCE)  # noqa: SLF001
        self._variance.copy_(torch.where(when, learned, self._variance))


class _Scale:
    """What is known beforehand of images at one resolution, strips in the order of the equations."""

    def __init__(self, size: tuple[int, int], level: int, order: NDArray[np.intp], device: torch.device) -> None:
        rows, columns = (side >> level for side in size)
        pitch = 2**level
        self.hats = torch.from_numpy(truth._hats(STRIPS, rows)[order]).to(device)  # noqa: SLF001
        x, y = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(-1, 1, rows))
        self.grid = torch.from_numpy(np.stack([x, y], -1).astype(np.float32)).to(device)
        """(Y, X, 2): where each pixel lies, x before y, from -1 to 1, as of `grid_sample`."""
        steps = np.array([[0, 2 / (rows - 1)], [2 / (columns - 1), 0]]) / pitch
        self.pitch = torch.from_numpy(steps).to(device)
        """(2, 2): from (dy, dx) in px of the full image to (x, y) of `grid`."""
        slope, noise = 0.5 / pitch, 1 / pitch**2
        units = np.array([slope**2 / noise] * 3 + [slope / noise] * 2)[:, None]
        self.units = torch.from_numpy(units).to(device)
        """(5, 1): from differences of pixels two apart to slopes per px of the full image, over the noise here."""


def _smooth(images: Tensor) -> Tensor:
    """Average images (N, Y, X) with the weights 1, 2, 1 along both axes: pairs of neighbours, twice."""
    wide = pad(images, (1, 1, 1, 1), mode="replicate")
    return avg_pool2d(avg_pool2d(wide, 2, stride=1), 2, stride=1)
