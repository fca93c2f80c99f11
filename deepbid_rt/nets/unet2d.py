"""The 2D U-Net of the stream engine: one view and what is remembered in, one denoised view out, no state.

It knows nothing of motion, scan directions, offsets or files.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepbid_rt.nets.scale_space import BLOCK, ScaleSpace


class Conv(nn.Sequential):
    """A 3x3 convolution and a leaky rectifier; resolution is kept.

    Plain rectifiers fall silent one after the other at a high learning rate: at 3.2e-3, after 10,000 to 24,000 steps,
    half to nine tenths of them answered 0 to everything.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.LeakyReLU(0.1, inplace=True))


class UNet2D(nn.Module):
    """2D U-Net at half resolution and below, that decides place by place how view and memories are averaged.

    The answer is the slowest memory, to which is added, for each block of 2x2 pixels, a sum of all that `ScaleSpace`
    shows, each part weighed by a learned number (`shares`) times a gate between 0 and 2 (`gates`) that the U-Net sets
    there, and what the U-Net adds of its own (`own`). So plain averages over space and time, which are most of what can
    be known of a dim picture, take one number each to learn; where it flashes, flows or has an edge, the gates say so.

    Parameters
    ----------
    width : int
        Channels at half resolution, doubled at each level below.
    gains : sequence of float
        Of the memories, the slowest last.
    look_ahead : int
        Frames ahead among the inputs.
    levels : int
        Resolutions that the U-Net works at, from half downwards.

    Attributes
    ----------
    depth : int
        Input arrays (K).
    grid : int
        Shifts commute with the network only in multiples of this many rows or columns.
    """

    def __init__(
        self, width: int = 32, gains: Sequence[float] = (0.4, 0.15, 0.03), look_ahead: int = 0, levels: int = 1
    ) -> None:
        super().__init__()
        self.depth, self.grid = 3 + len(gains) + look_ahead, grid_of(levels)
        outs = [width * 2**level for level in range(levels)]  # 32, 64, 128
        self.space = ScaleSpace(gains, look_ahead)
        shown = self.space.channels
        self.fold = nn.Conv2d(self.depth, width, 2, stride=2)
        self.near = nn.Conv2d(shown, width, 1, bias=False)
        self.far = nn.Conv2d(shown, width, 1, bias=False)
        self.encoders = nn.ModuleList(Conv(i, o) for i, o in zip([width, *outs[:-1]], outs, strict=True))
        self.ups = nn.ModuleList(nn.Conv2d(2 * o, o, 1) for o in outs[-2::-1])
        self.decoders = nn.ModuleList(Conv(o, o) for o in outs[::-1])
        self.gates = nn.ModuleList(_begun(nn.Conv2d(width, shown, 1), 0.3, bias=1.0) for _ in range(3))
        self.shares = nn.ModuleList(_begun(nn.Conv2d(shown, BLOCK, 1, bias=False), 0.0) for _ in range(3))
        self.own = _begun(nn.Conv2d(width, BLOCK, 1), 0.1)
        self.skip = _begun(nn.Conv2d(self.depth, 1, 1), 0.0)
        with torch.no_grad():
            self.skip.weight[:, 2 + len(gains)] = 1

    def forward(self, x: Tensor) -> Tensor:
        """Denoise a view.

        Parameters
        ----------
        x : Tensor
            (N, K, Y, X) as `deepbid_rt.denoising.network_inputs.network_inputs` makes them; Y and X multiples of `grid`.

        Returns
        -------
        Tensor
            (N, 1, Y, X), same units.
        """
        given, skips = x, []
        shown = self.space(x)
        x = self.fold(x) + self.near(shown[1]) + self.far(shown[2])
        for level, encoder in enumerate(self.encoders):
            if level:
                skips.append(x)
                x = F.avg_pool2d(x, 2)
            x = encoder(x)
        for level, decoder in enumerate(self.decoders):
            if level:
                x = skips.pop() + F.interpolate(self.ups[level - 1](x), scale_factor=2.0, mode="nearest")
            x = decoder(x)
        answer = self.own(x)
        for gate, share, picture in zip(self.gates, self.shares, shown, strict=True):
            answer = answer + share(gate(x).clamp(0, 2) * picture)
        out: Tensor = F.pixel_shuffle(answer, 2) + self.skip(given)
        return out


def grid_of(levels: int) -> int:
    """Return the grid of a network of so many levels; `ScaleSpace` alone goes down to a quarter of the resolution."""
    grid: int = 2 ** max(levels, 2)
    return grid


def _begun(layer: nn.Conv2d, share: float, bias: float = 0.0) -> nn.Conv2d:
    """Let a layer begin with a share of the weights that it was drawn with."""
    with torch.no_grad():
        layer.weight.mul_(share)
        if layer.bias is not None:
            layer.bias.fill_(bias)
    return layer
