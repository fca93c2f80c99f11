"""The papers' 3D U-Net, the network of the window engine.

Layer by layer as DeepBID and DeepCAD-RT publish it: convolution and ReLU only, three poolings, nearest-neighbour
upsampling, skip connections by concatenation, no normalisation layer and no residual output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 4
GRID = 2 ** (LEVELS - 1)
"""The network commutes only with shifts by multiples of this many frames, rows or columns."""


class ConvPair(nn.Sequential):
    """Two 3x3x3 convolutions, each followed by ReLU, at constant resolution."""

    def __init__(self, channels_in: int, channels_mid: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv3d(channels_in, channels_mid, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels_mid, channels_out, 3, padding=1),
            nn.ReLU(inplace=True),
        )


class UNet3D(nn.Module):
    """3D U-Net that predicts the image itself (not the noise).

    Parameters
    ----------
    width : int
        Channels after the first level (``f`` in the papers). With 16 it has the published 1,020,337 parameters.

    Notes
    -----
    Source: DeepBID (PhotoniX 2023) and DeepCAD-RT (Nat Biotechnol 2022), whose released networks agree.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        outs = [width * 2**level for level in range(LEVELS)]  # 16, 32, 64, 128
        ins = [1, *outs[:-1]]
        self.encoders = nn.ModuleList(ConvPair(i, max(i, o // 2), o) for i, o in zip(ins, outs, strict=True))
        self.decoders = nn.ModuleList(
            ConvPair(skip + below, skip, skip) for skip, below in zip(outs[-2::-1], outs[:0:-1], strict=True)
        )
        self.head = nn.Conv3d(outs[0], 1, 1)
        self._initialize()

    def _initialize(self) -> None:
        # torch's default initialisation makes the signal smaller at every layer. The deep levels, which have the long
        # receptive field in time, then contribute only after many thousand steps. He initialisation for rectifiers
        # keeps the size of the signal.
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if module is self.head else "relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # If the initial output is about as large as the noise of the input, the network first learns an output of zero,
        # by changes in all layers, and on dark recordings it may stay there, see
        # docs/lab-notes/2026-11-21-paper-table.md. So it starts small.
        with torch.no_grad():
            self.head.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise a window.

        Parameters
        ----------
        x : Tensor
            (N, 1, T, Y, X), in the units stated on the model card. T, Y, X should be multiples of ``GRID``; with other
            sizes, features are displaced, as in the papers' network.

        Returns
        -------
        Tensor
            (N, 1, T, Y, X), same units.
        """
        skips = []
        for level, encoder in enumerate(self.encoders):
            if level:
                skips.append(x)
                x = F.max_pool3d(x, 2)
            x = encoder(x)
        for decoder in self.decoders:
            skip = skips.pop()
            x = decoder(torch.cat([skip, _upsample_to(x, skip)], dim=1))
        out: Tensor = self.head(x)
        return out


def _upsample_to(x: Tensor, skip: Tensor) -> Tensor:
    # With a scale factor, this is exported as a Resize without shape arithmetic, which every runtime can reshape.
    if all(big == 2 * small for big, small in zip(skip.shape[2:], x.shape[2:], strict=True)):
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    return F.interpolate(x, size=skip.shape[2:], mode="nearest")
