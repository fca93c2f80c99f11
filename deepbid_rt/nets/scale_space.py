"""Differences between the view and its temporal averages, smoothed to several widths: input features of `UNet2D`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 4
"""Pixels of a block of 2x2. Each image becomes so many channels at half resolution, the upper left pixel first."""
_NEAR_PX = 1.2
_FAR_PX = (2.0, 3.2, 4.8, 7.2)
"""Standard deviations in pixels of the Gaussians that the smoothing layers are initialised with."""


class ScaleSpace(nn.Module):
    """Differences of view, faster averages and later frames to the slowest average, at several spatial widths.

    The differences contain what changes, without the brightness. Where the signal is weak, their averages over space
    are the best estimate of it, and a network of rectifiers and poolings takes long to learn plain averages. Here they
    are convolutions, initialised as Gaussians and trained from there. At the start each difference is in units of its
    own noise, so that one learning rate suits all of them. The slowest average itself is the last part of each output.

    Parameters
    ----------
    gains : sequence of float
        Weight of the newest frame in each temporal average, the slowest last.
    look_ahead : int
        Number of later frames among the inputs.

    Attributes
    ----------
    channels : int
        Channels of each output (B): `BLOCK` for each image, in the order view, faster averages, later frames, slowest
        average.
    """

    def __init__(self, gains: Sequence[float], look_ahead: int) -> None:
        super().__init__()
        slowest = 2 + len(gains)
        depth = slowest + 1 + look_ahead
        compared = [0, *range(3, slowest), *range(slowest + 1, depth)]
        self.channels = BLOCK * (len(compared) + 1)
        self.compare = nn.Conv2d(depth, self.channels, 2, stride=2, bias=False)
        # Masked lines must have a difference of 0: what is subtracted from the view is the mask (`seen`) times the
        # slowest average (`slowest`).
        self.seen = nn.Conv2d(depth, self.channels, 2, stride=2, bias=False).requires_grad_(requires_grad=False)
        self.slowest = nn.Conv2d(depth, self.channels, 2, stride=2, bias=False).requires_grad_(requires_grad=False)
        # If one of the two lines of a block is masked, smoothing would halve the view, so the other one (`alone`) is
        # doubled.
        self.alone = nn.Conv2d(depth, self.channels, 2, stride=2).requires_grad_(requires_grad=False)
        self.near = nn.Conv2d(self.channels, self.channels, 3, padding=1, bias=False, padding_mode="replicate")
        self.far = nn.Conv2d(self.channels, self.channels, 5, padding=2, bias=False, padding_mode="replicate")
        for layer in (self.compare, self.seen, self.slowest, self.alone, self.near, self.far):
            nn.init.zeros_(layer.weight)
        with torch.no_grad():
            units = [1.0, *(1 / _noise(g) for g in gains[:-1]), *[1.0] * look_ahead]
            self._initialize_differences(compared, slowest, units)
            self._initialize_smoothing(1 / _noise(gains[-1]))

    def _initialize_differences(self, compared: Sequence[int], slowest: int, units: Sequence[float]) -> None:
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
        factor = self.alone.get_parameter("bias")
        factor[:BLOCK], factor[BLOCK:] = 2, 1

    def _initialize_smoothing(self, unit: float) -> None:
        near, far = _near(_NEAR_PX), torch.stack([_far(px) for px in _FAR_PX])[:, None] / BLOCK
        for first in range(0, self.channels - BLOCK, BLOCK):
            place = slice(first, first + BLOCK)
            self.near.weight[place, place] = near / _output_noise(near)
            self.far.weight[place, place] = far / _output_noise(far)
        # For the slowest average: the difference between the smoothed and the original average.
        identity, centre = torch.eye(BLOCK)[:, :, None, None] * _centre_pixel(3), _centre_pixel(5) / BLOCK
        self.near.weight[-BLOCK:, -BLOCK:] = unit * (near - identity)
        self.far.weight[-BLOCK:, -BLOCK:] = unit * BLOCK * (far - centre)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the differences and smooth them.

        Parameters
        ----------
        x : Tensor
            (N, K, Y, X) from `deepbid_rt.denoising.network_inputs.network_inputs`; Y and X multiples of 4.

        Returns
        -------
        tuple of Tensor
            Three times (N, B, Y/2, X/2): not smoothed, smoothed over about 6 pixels, and over about 20.
        """
        # The mask is 0 or 1. The clamps keep the products in the range of half precision for any input.
        own = (self.compare(x) - self.seen(x).clamp(0, 1) * self.slowest(x)) * self.alone(x).clamp(1, 2)
        far = self.far(F.avg_pool2d(own, 2))
        return own, self.near(own), F.interpolate(far, scale_factor=2.0, mode="nearest")


def _noise(gain: float) -> float:
    """Return the standard deviation of the noise of an exponential average, relative to that of one frame."""
    return math.sqrt(gain / (2 - gain))


def _near(px: float) -> Tensor:
    """Return a Gaussian over pixels as a convolution over 3x3 blocks, (4, 4, 3, 3): (to, from) pixels of a block."""
    block = torch.arange(BLOCK)
    pixel = torch.stack([block // 2, block % 2])
    blocks = 2 * (torch.arange(3) - 1)
    offset = pixel[:, None, :] - pixel[:, :, None]  # (2, to, from)
    down, right = (offset[axis][:, :, None] + blocks for axis in (0, 1))
    weights = torch.exp(-(down[..., :, None] ** 2 + right[..., None, :] ** 2) / (2 * px**2))
    return weights / weights.sum((1, 2, 3), keepdim=True)


def _far(px: float) -> Tensor:
    """Return a Gaussian over blocks of 4x4 pixels, (5, 5)."""
    line = torch.exp(-((4 * (torch.arange(5) - 2)) ** 2) / (2 * px**2))
    return torch.outer(line, line) / line.sum() ** 2


def _centre_pixel(side: int) -> Tensor:
    weights = torch.zeros(side, side)
    weights[side // 2, side // 2] = 1
    return weights


def _output_noise(weights: Tensor) -> Tensor:
    """Return the noise of each output of a convolution whose inputs have independent noise of 1."""
    return weights.square().sum((1, 2, 3), keepdim=True).sqrt()
