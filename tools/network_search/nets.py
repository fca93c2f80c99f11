"""Networks that were tried for the stream engine, besides the shipped one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepbid_rt.nets.unet2d import UNet2D


class ConvPair(nn.Sequential):
    """Two 3x3 convolutions, each followed by ReLU, at constant resolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            nn.ReLU(inplace=True),
        )


class PlainUNet2D(nn.Module):
    """The network of the stream engine until 2026-11-27; it must learn averages from rectifiers and poolings.

    The first convolution maps blocks of 2x2 pixels to channels (space to depth and a 1x1 convolution in one), and the
    last one maps them back. A sum of the inputs with trained weights is added to the output, so that the temporal
    averages contribute from the first training step.

    Parameters
    ----------
    width : int
        Channels at half resolution, doubled at each level below.
    depth : int
        Number of input arrays (K).
    levels : int
        Number of resolutions, from half resolution downwards.
    """

    def __init__(self, width: int = 32, depth: int = 6, levels: int = 3) -> None:
        super().__init__()
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
            (N, K, Y, X) from `deepbid_rt.denoising.network_inputs.network_inputs`; Y and X multiples of 2**levels.

        Returns
        -------
        Tensor
            (N, 1, Y, X), same units.
        """
        inputs, skips = x, []
        x = self.fold(x)
        for level, encoder in enumerate(self.encoders):
            if level:
                skips.append(x)
                x = F.max_pool2d(x, 2)
            x = encoder(x)
        for decoder in self.decoders:
            x = decoder(torch.cat([skips.pop(), F.interpolate(x, scale_factor=2.0, mode="nearest")], dim=1))
        out: Tensor = self.unfold(x) + self.skip(inputs)
        return out


class Averages(nn.Module):
    """The features of the shipped network with trained weights, without the U-Net: a linear filter."""

    def __init__(self, gains: Sequence[float]) -> None:
        super().__init__()
        whole = UNet2D(1, gains)
        self.space, self.shares, self.skip = whole.space, whole.shares, whole.skip

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 1, Y, X)."""
        parts = [share(picture) for share, picture in zip(self.shares, self.space(x), strict=True)]
        out: Tensor = F.pixel_shuffle(torch.stack(parts).sum(0), 2) + self.skip(x)
        return out


class Ungated(UNet2D):
    """The shipped network without gates: the weights of its averages are the same everywhere."""

    def __init__(self, width: int, gains: Sequence[float], levels: int) -> None:
        super().__init__(width, gains, levels=levels)
        for name, values in self.gates.named_parameters():
            nn.init.constant_(values, float(name.endswith("bias")))
            values.requires_grad = False


class Blocks(PlainUNet2D):
    """`PlainUNet2D` with larger blocks of pixels mapped to channels."""

    def __init__(self, width: int, depth: int, block: int = 4) -> None:
        super().__init__(width, depth)
        self.fold = nn.Conv2d(depth, width, block, stride=block)
        self.unfold = nn.ConvTranspose2d(width, 1, block, stride=block)
        with torch.no_grad():
            self.unfold.weight.mul_(0.1)


class Mixture(PlainUNet2D):
    """`PlainUNet2D` that computes the weight of each input at each pixel; the output is their weighted mean."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(width, depth)
        self.unfold = nn.ConvTranspose2d(width, depth - 2, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted mean of view and temporal averages."""
        # The linear skip has one channel: it adds the same to all weights, which softmax removes.
        shares = super().forward(x).softmax(1)
        return (shares * torch.cat([x[:, :1], x[:, 3:]], 1)).sum(1, keepdim=True)


class Recurrent(nn.Module):
    """A gated recurrent unit of 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1)
        self.candidate = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """Return the next state."""
        update, reset = torch.sigmoid(self.gates(torch.cat([x, state], 1))).chunk(2, 1)
        return state + update * (torch.tanh(self.candidate(torch.cat([x, reset * state], 1))) - state)


class StatefulEncoder(nn.Module):
    """An encoder with a trained state that is added to its output."""

    def __init__(self, encoder: nn.Module, channels: int) -> None:
        super().__init__()
        self.encoder, self.unit = encoder, Recurrent(channels)
        self.state = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, and update the state."""
        x = self.encoder(x)
        self.state = self.unit(x, self.state)
        return x + self.state


class Stateful(PlainUNet2D):
    """`PlainUNet2D` with a trained state at one of its levels."""

    def __init__(self, width: int, depth: int, level: int) -> None:
        super().__init__(width, depth)
        self.level, self.channels = level, width * 2**level
        self.remembering = StatefulEncoder(self.encoders[level], self.channels)
        self.encoders[level] = self.remembering

    def initial_state(self, count: int, rows: int, columns: int) -> Tensor:
        """Return the state before the first frame."""
        step = 2 ** (self.level + 1)
        return torch.zeros(count, self.channels, rows // step, columns // step)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # additional state
        """Return the output and the next state."""
        self.remembering.state = state
        return super().forward(x), self.remembering.state


def separable(width: int, depth: int) -> PlainUNet2D:
    """Return a `PlainUNet2D` with each 3x3 convolution split into a depthwise and a pointwise one."""
    net = PlainUNet2D(width, depth)
    full_layers = {name: layer for name, layer in net.named_modules() if getattr(layer, "kernel_size", 0) == (3, 3)}
    for name, layer in full_layers.items():
        i, o = layer.in_channels, layer.out_channels
        net.set_submodule(name, nn.Sequential(nn.Conv2d(i, i, 3, padding=1, groups=i), nn.Conv2d(i, o, 1)))
    return net


def run(net: nn.Module, inputs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Run a network with or without a state on (N, K, Y, X); return its output and its next state."""
    if isinstance(net, Stateful):
        out: tuple[Tensor, Tensor] = net(
            inputs, net.initial_state(len(inputs), *inputs.shape[2:]) if state is None else state
        )
        return out
    output: Any = net(inputs)
    return output, None
