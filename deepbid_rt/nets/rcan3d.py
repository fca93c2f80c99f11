"""A 3D residual channel attention network, for the window engine.

It keeps full resolution throughout and weighs its channels by what the whole window holds. It knows nothing of scan
directions, offsets or files.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

GRID = 8
"""Windows are padded as for the U-Net. The convolutions commute with every shift; the channels' weights are means over
the whole window, so that they follow its content."""


def _conv(channels_in: int, channels_out: int) -> nn.Conv3d:
    return nn.Conv3d(channels_in, channels_out, 3, padding=1)


class ChannelAttention(nn.Module):
    """Weighs each channel by a number between 0 and 1, made of the means of all channels over (T, Y, X)."""

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
        """Return (N, C, T, Y, X), weighed."""
        weighed: Tensor = x * self.weigh(x)
        return weighed


class Residual(nn.Sequential):
    """Layers whose answer is added to what they were given."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, T, Y, X)."""
        added: Tensor = x + super().forward(x)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return added


class RCAN3D(nn.Module):
    """3D RCAN without upsampling, that predicts the image itself.

    Parameters
    ----------
    width : int
        Channels throughout.
    groups, blocks : int
        Residual groups, and residual blocks with channel attention in each. The papers' sizes: 64 channels, 10 groups
        of 16 (DeepBID, 36,723,457 parameters); 64 channels, 3 groups of 5 (rDL).

    Notes
    -----
    Source: residual in residual and channel attention of RCAN (ECCV 2018), in 3D as DeepBID and rDL (Nat Biotechnol
    2023) use it; channels are squeezed to a sixteenth of 64, and to no less than 4.
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
        self._start()

    def _start(self) -> None:
        # He's start keeps the signal's size through rectifiers. Layers that end a residual branch begin at a tenth, so
        # that the sum over all branches stays near what it was given.
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
