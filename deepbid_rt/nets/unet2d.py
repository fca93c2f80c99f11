"""The 2D U-Net of the stream engine: from a view, its temporal averages and later frames to the denoised view.

It has no state; the temporal averages are computed outside, see `deepbid_rt.motion.history`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepbid_rt.nets.scale_space import BLOCK, ScaleSpace


class Conv(nn.Sequential):
    """A 3x3 convolution and a leaky rectifier, at constant resolution.

    The rectifier is leaky because plain ones die at a high learning rate: at 3.2e-3, after 10,000 to 24,000 steps, half
    to nine tenths of them returned 0 for every input.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.LeakyReLU(0.1, inplace=True))


class UNet2D(nn.Module):
    """2D U-Net, at half resolution and below, that computes how view and temporal averages are weighted at each place.

    The output is the slowest temporal average plus, for each block of 2x2 pixels, a weighted sum of the features of
    `ScaleSpace`. Each weight is a trained number (`shares`) times a gate between 0 and 2 (`gates`), which the U-Net
    computes for this place. The U-Net also adds an image of its own (`own`). So a plain average over space and time,
    the best estimate for most of a dim picture, takes one number to learn, and the gates adapt it to flashes, flow and
    edges.

    Parameters
    ----------
    width : int
        Channels at half resolution, doubled at each level below.
    gains : sequence of float
        Weight of the newest frame in each temporal average, the slowest last.
    look_ahead : int
        Number of later frames among the inputs.
    levels : int
        Number of resolutions of the U-Net, from half resolution downwards.

    Attributes
    ----------
    depth : int
        Number of input arrays (K).
    grid : int
        The network commutes only with shifts by multiples of this many rows or columns.
    """

    def __init__(
        self, width: int = 32, gains: Sequence[float] = (0.4, 0.15, 0.03), look_ahead: int = 0, levels: int = 1
    ) -> None:
        super().__init__()
        self.depth, self.grid = 3 + len(gains) + look_ahead, grid_of(levels)
        outs = [width * 2**level for level in range(levels)]  # 32, 64, 128
        self.space = ScaleSpace(gains, look_ahead)
        features = self.space.channels
        self.fold = nn.Conv2d(self.depth, width, 2, stride=2)
        self.near = nn.Conv2d(features, width, 1, bias=False)
        self.far = nn.Conv2d(features, width, 1, bias=False)
        self.encoders = nn.ModuleList(Conv(i, o) for i, o in zip([width, *outs[:-1]], outs, strict=True))
        self.ups = nn.ModuleList(nn.Conv2d(2 * o, o, 1) for o in outs[-2::-1])
        self.decoders = nn.ModuleList(Conv(o, o) for o in outs[::-1])
        self.gates = nn.ModuleList(_scaled(nn.Conv2d(width, features, 1), 0.3, bias=1.0) for _ in range(3))
        self.shares = nn.ModuleList(_scaled(nn.Conv2d(features, BLOCK, 1, bias=False), 0.0) for _ in range(3))
        self.own = _scaled(nn.Conv2d(width, BLOCK, 1), 0.1)
        self.skip = _scaled(nn.Conv2d(self.depth, 1, 1), 0.0)
        with torch.no_grad():
            self.skip.weight[:, 2 + len(gains)] = 1

    def forward(self, x: Tensor) -> Tensor:
        """Denoise a view.

        Parameters
        ----------
        x : Tensor
            (N, K, Y, X) from `deepbid_rt.denoising.network_inputs.network_inputs`; Y and X multiples of `grid`.

        Returns
        -------
        Tensor
            (N, 1, Y, X), same units.
        """
        inputs, skips = x, []
        features = self.space(x)
        x = self.fold(x) + self.near(features[1]) + self.far(features[2])
        for level, encoder in enumerate(self.encoders):
            if level:
                skips.append(x)
                x = F.avg_pool2d(x, 2)
            x = encoder(x)
        for level, decoder in enumerate(self.decoders):
            if level:
                x = skips.pop() + F.interpolate(self.ups[level - 1](x), scale_factor=2.0, mode="nearest")
            x = decoder(x)
        blocks = self.own(x)
        for gate, share, feature in zip(self.gates, self.shares, features, strict=True):
            blocks = blocks + share(gate(x).clamp(0, 2) * feature)
        out: Tensor = F.pixel_shuffle(blocks, 2) + self.skip(inputs)
        return out


def grid_of(levels: int) -> int:
    """Return the grid of a network with this many levels; at least 4, the grid of `ScaleSpace`."""
    grid: int = 2 ** max(levels, 2)
    return grid


def _scaled(layer: nn.Conv2d, factor: float, bias: float = 0.0) -> nn.Conv2d:
    """Multiply the random initial weights of a layer by a factor, and set its bias."""
    with torch.no_grad():
        layer.weight.mul_(factor)
        if layer.bias is not None:
            layer.bias.fill_(bias)
    return layer
