"""The 2D U-Net of the stream engine: one view and what is remembered in, one denoised view out, no state.

It knows nothing of motion, scan directions, offsets or files.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvPair(nn.Sequential):
    """Two 3x3 convolutions, each followed by ReLU; resolution is kept."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            nn.ReLU(inplace=True),
        )


class UNet2D(nn.Module):
    """2D U-Net at half resolution and below.

    The first convolution takes blocks of 2x2 pixels to channels (space to depth and a 1x1 convolution in one), the
    last one gives them back. Beside it, a sum of the inputs with learned weights skips the network, so that what is
    remembered is there from the first training step.

    Parameters
    ----------
    width : int
        Channels at half resolution, doubled at each level below.
    depth : int
        Input arrays (K).
    levels : int
        Resolutions that it works at, from half downwards.

    Attributes
    ----------
    grid : int
        Shifts commute with the network only in multiples of this many rows or columns.
    """

    def __init__(self, width: int = 32, depth: int = 6, levels: int = 3) -> None:
        super().__init__()
        self.depth, self.grid = depth, 2**levels
        outs = [width * 2**level for level in range(levels)]  # 32, 64, 128
        self.fold = nn.Conv2d(depth, outs[0], 2, stride=2)
        self.encoders = nn.ModuleList(ConvPair(i, o) for i, o in zip([outs[0], *outs[:-1]], outs, strict=True))
        self.decoders = nn.ModuleList(
            ConvPair(skip + below, skip) for skip, below in zip(outs[-2::-1], outs[:0:-1], strict=True)
        )
        self.unfold = nn.ConvTranspose2d(outs[0], 1, 2, stride=2)
        self.skip = nn.Conv2d(depth, 1, 1)
        with torch.no_grad():
            self.skip.weight.zero_()
            self.skip.weight[:, 3:] = 1 / max(depth - 3, 1)
            self.unfold.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise a view.

        Parameters
        ----------
        x : Tensor
            (N, K, Y, X) as `deepbid_rt.past.inputs_of` makes them; Y and X multiples of `grid`.

        Returns
        -------
        Tensor
            (N, 1, Y, X), same units.
        """
        given, skips = x, []
        x = self.fold(x)
        for level, encoder in enumerate(self.encoders):
            if level:
                skips.append(x)
                x = F.max_pool2d(x, 2)
            x = encoder(x)
        for decoder in self.decoders:
            x = decoder(torch.cat([skips.pop(), F.interpolate(x, scale_factor=2.0, mode="nearest")], dim=1))
        out: Tensor = self.unfold(x) + self.skip(given)
        return out
