"""Networks tried for the stream engine beside the shipped one. They know nothing of movies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deepbid_rt.nets.unet2d import UNet2D


class Blocks(UNet2D):
    """The shipped network with larger blocks of pixels taken to channels."""

    def __init__(self, width: int, depth: int, block: int = 4) -> None:
        super().__init__(width, depth)
        self.fold = nn.Conv2d(depth, width, block, stride=block)
        self.unfold = nn.ConvTranspose2d(width, 1, block, stride=block)
        with torch.no_grad():
            self.unfold.weight.mul_(0.1)


class Mixture(UNet2D):
    """The shipped network, but it says how much each input counts at each pixel, and answers with their mean."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(width, depth)
        self.unfold = nn.ConvTranspose2d(width, depth - 2, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted mean of view and memories."""
        # What the linear skip adds has one channel: it moves all weights alike, and so none.
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


class Remembering(nn.Module):
    """An encoder whose answer has a learned state added to it."""

    def __init__(self, encoder: nn.Module, channels: int) -> None:
        super().__init__()
        self.encoder, self.unit = encoder, Recurrent(channels)
        self.state = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """Answer, and change the state."""
        x = self.encoder(x)
        self.state = self.unit(x, self.state)
        return x + self.state


class Stateful(UNet2D):
    """The shipped network with a learned state at one of its levels."""

    def __init__(self, width: int, depth: int, level: int) -> None:
        super().__init__(width, depth)
        self.level, self.channels = level, width * 2**level
        self.remembering = Remembering(self.encoders[level], self.channels)
        self.encoders[level] = self.remembering

    def begin(self, count: int, rows: int, columns: int) -> Tensor:
        """Return the state before the first frame."""
        step = 2 ** (self.level + 1)
        return torch.zeros(count, self.channels, rows // step, columns // step)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # it has a state
        """Return answer and next state."""
        self.remembering.state = state
        return super().forward(x), self.remembering.state


def separable(width: int, depth: int) -> UNet2D:
    """Return the shipped network with each 3x3 convolution split into a depthwise and a pointwise one."""
    net = UNet2D(width, depth)
    wholes = {name: layer for name, layer in net.named_modules() if getattr(layer, "kernel_size", 0) == (3, 3)}
    for name, whole in wholes.items():
        i, o = whole.in_channels, whole.out_channels
        net.set_submodule(name, nn.Sequential(nn.Conv2d(i, i, 3, padding=1, groups=i), nn.Conv2d(i, o, 1)))
    return net


def run(net: nn.Module, inputs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Run a network (N, K, Y, X) with or without a state."""
    if isinstance(net, Stateful):
        out: tuple[Tensor, Tensor] = net(inputs, net.begin(len(inputs), *inputs.shape[2:]) if state is None else state)
        return out
    answer: Any = net(inputs)
    return answer, None
