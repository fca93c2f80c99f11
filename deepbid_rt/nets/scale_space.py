"""View and memories side by side at several widths, in blocks of 2x2 pixels. Knows nothing of networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 4
"""Pixels of a block of 2x2; each image takes as many channels, its upper left pixel first."""
_NEAR_PX = 1.2
_FAR_PX = (2.0, 3.2, 4.8, 7.2)
"""Widths of the Gaussians that learning begins with, standard deviations in pixels."""


class ScaleSpace(nn.Module):
    """How view, quick memories and frames ahead differ from the slowest memory, and that memory, at several widths.

    Differences hold what changes and no brightness, and averages over space are what is known best of them; a network
    of rectifiers and poolings takes long to learn plain averages. These are convolutions that begin as Gaussians and
    are learned from there. Each difference is in units of its own noise at the start, so that one learning rate suits
    all of them.

    Parameters
    ----------
    gains : sequence of float
        Of the memories, the slowest last.
    look_ahead : int
        Frames ahead among the inputs.

    Attributes
    ----------
    channels : int
        Of each of the answers (B): `BLOCK` for each image, in the order view, quick memories, frames ahead, slowest
        memory.
    """

    def __init__(self, gains: Sequence[float], look_ahead: int) -> None:
        super().__init__()
        slowest = 2 + len(gains)
        depth = slowest + 1 + look_ahead
        compared = [0, *range(3, slowest), *range(slowest + 1, depth)]
        self.channels = BLOCK * (len(compared) + 1)
        self.compare = nn.Conv2d(depth, self.channels, 2, stride=2, bias=False)
        # Lines that are not seen differ by nothing: mask times slowest memory is what is taken off the view.
        self.seen = nn.Conv2d(depth, self.channels, 2, stride=2, bias=False).requires_grad_(requires_grad=False)
        self.slowest = nn.Conv2d(depth, self.channels, 2, stride=2, bias=False).requires_grad_(requires_grad=False)
        # Smoothing over lines of which one of two is not seen would halve the view: the other one counts twice.
        self.alone = nn.Conv2d(depth, self.channels, 2, stride=2).requires_grad_(requires_grad=False)
        self.near = nn.Conv2d(self.channels, self.channels, 3, padding=1, bias=False, padding_mode="replicate")
        self.far = nn.Conv2d(self.channels, self.channels, 5, padding=2, bias=False, padding_mode="replicate")
        for layer in (self.compare, self.seen, self.slowest, self.alone, self.near, self.far):
            nn.init.zeros_(layer.weight)
        with torch.no_grad():
            self._begin_comparing(compared, slowest, [1.0, *(1 / _noise(g) for g in gains[:-1]), *[1.0] * look_ahead])
            self._begin_smoothing(1 / _noise(gains[-1]))

    def _begin_comparing(self, compared: Sequence[int], slowest: int, units: Sequence[float]) -> None:
        for k in range(BLOCK):
            pixel = k // 2, k % 2
            for n, (image, unit) in enumerate(zip(compared, units, strict=True)):
                self.compare.weight[BLOCK * n + k, image, *pixel] = unit
                if image:
                    self.compare.weight[BLOCK * n + k, slowest, *pixel] = -unit
            self.compare.weight[k - BLOCK, slowest, *pixel] = 1
            self.seen.weight[k, 1, *pixel] = 1
            self.slowest.weight[k, slowest, *pixel] = 1
            self.alone.weight[k, 1, 1 - pixel[0], pixel[1]] = -1
        times = self.alone.get_parameter("bias")
        times[:BLOCK], times[BLOCK:] = 2, 1

    def _begin_smoothing(self, unit: float) -> None:
        near, far = _near(_NEAR_PX), torch.stack([_far(px) for px in _FAR_PX])[:, None] / BLOCK
        for first in range(0, self.channels - BLOCK, BLOCK):
            place = slice(first, first + BLOCK)
            self.near.weight[place, place] = near / _length(near)
            self.far.weight[place, place] = far / _length(far)
        # Of the slowest memory, what smoothing changes about it.
        own, middle = torch.eye(BLOCK)[:, :, None, None] * _at_centre(3), _at_centre(5) / BLOCK
        self.near.weight[-BLOCK:, -BLOCK:] = unit * (near - own)
        self.far.weight[-BLOCK:, -BLOCK:] = unit * BLOCK * (far - middle)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compare and smooth.

        Parameters
        ----------
        x : Tensor
            (N, K, Y, X) as `deepbid_rt.denoising.network_inputs.network_inputs` makes them; Y and X multiples of 4.

        Returns
        -------
        tuple of Tensor
            (N, B, Y/2, X/2) each: as they are, smoothed over about 6 pixels, and over about 20.
        """
        # A mask is 0 or 1; the clamps keep the products in the range of half precision whatever comes.
        own = (self.compare(x) - self.seen(x).clamp(0, 1) * self.slowest(x)) * self.alone(x).clamp(1, 2)
        far = self.far(F.avg_pool2d(own, 2))
        return own, self.near(own), F.interpolate(far, scale_factor=2.0, mode="nearest")


def _noise(gain: float) -> float:
    """Return the noise of an exponential average, in that of one frame."""
    return math.sqrt(gain / (2 - gain))


def _near(px: float) -> Tensor:
    """Return a Gaussian over pixels as a convolution over blocks, (4, 4, 3, 3): to each pixel of a block, from each."""
    block = torch.arange(BLOCK)
    pixel = torch.stack([block // 2, block % 2])
    blocks = 2 * (torch.arange(3) - 1)
    apart = pixel[:, None, :] - pixel[:, :, None]  # (2, to, from)
    down, right = (apart[axis][:, :, None] + blocks for axis in (0, 1))
    weights = torch.exp(-(down[..., :, None] ** 2 + right[..., None, :] ** 2) / (2 * px**2))
    return weights / weights.sum((1, 2, 3), keepdim=True)


def _far(px: float) -> Tensor:
    """Return a Gaussian over blocks of 4x4 pixels, (5, 5)."""
    line = torch.exp(-((4 * (torch.arange(5) - 2)) ** 2) / (2 * px**2))
    return torch.outer(line, line) / line.sum() ** 2


def _at_centre(side: int) -> Tensor:
    weights = torch.zeros(side, side)
    weights[side // 2, side // 2] = 1
    return weights


def _length(weights: Tensor) -> Tensor:
    """Return the noise that each output of a convolution has when its inputs have 1 and are independent."""
    return weights.square().sum((1, 2, 3), keepdim=True).sqrt()
