"""A 3D residual channel attention network for the window engine.

It works at full resolution throughout, and weights its channels by their means over the whole window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

GRID = 8
"""Windows are padded to multiples of this, as for the U-Net.

The convolutions would not need it: they commute with every shift. (The channels' weights depend on the whole window.)
"""


def _conv(channels_in: int, channels_out: int) -> nn.Conv3d:
    return nn.Conv3d(channels_in, channels_out, 3, padding=1)


class ChannelAttention(nn.Module):
    """Multiplies each channel by a number between 0 and 1, computed from the means of all channels over (T, Y, X)."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool3d(1),
            nn.Conv3d(channels, squeeze, 1),
            nn.ReLU(inplace=True),
            nn.Conv3d(squeeze, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted channels, (N, C, T, Y, X)."""
        weighted: Tensor = x * self.weigh(x)
        return weighted


class Residual(nn.Sequential):
    """Layers whose output is added to their input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, T, Y, X)."""
        added: Tensor = x + super().forward(x)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return added


class RCAN3D(nn.Module):
    """3D RCAN without upsampling that predicts the image itself (not the noise).

    Parameters
    ----------
    width : int
        Number of channels of all layers.
    groups, blocks : int
        Residual groups, and residual blocks with channel attention in each. The papers' sizes: 64 channels, 10 groups
        of 16 (DeepBID, 36,723,457 parameters); 64 channels, 3 groups of 5 (rDL).

    Notes
    -----
    Source: residual in residual and channel attention of RCAN (ECCV 2018), in 3D as DeepBID and rDL (Nat Biotechnol
    2023) use it. Channel attention squeezes the channels to a sixteenth, but not to less than 4.
    """

    def __init__(self, width: int = 16, groups: int = 3, blocks: int = 5) -> None:
        super().__init__()
        squeeze = max(width // 16, 4)
        self.first = _conv(1, width)
        self.body = Residual(
            *(
                Residual(
                    *(
                        Residual(
                            _conv(width, width),
                            nn.ReLU(inplace=True),
                            _conv(width, width),
                            ChannelAttention(width, squeeze),
                        )
                        for _ in range(blocks)
                    ),
                    _conv(width, width),
                )
                for _ in range(groups)
            ),
            _conv(width, width),
        )
        self.head = _conv(width, 1)
        self._initialize()

    def _initialize(self) -> None:
        # He initialisation keeps the size of the signal through rectifiers. The last layer of each residual branch is
        # scaled to a tenth, so that the sum over all branches stays close to their input.
        for module in self.modules():
            if isinstance(module, nn.Conv3d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Residual):
                last = [layer for layer in module if isinstance(layer, nn.Conv3d)][-1]
                with torch.no_grad():
                    last.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise a window.

        Parameters
        ----------
        x : Tensor
            (N, 1, T, Y, X), offset removed and scaled as the model card says; any size.

        Returns
        -------
        Tensor
            (N, 1, T, Y, X), same units.
        """
        out: Tensor = self.head(self.body(self.first(x)))
        return out
