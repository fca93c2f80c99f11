"""A torch network as an engine, to test it before it is exported. The live path runs exported files."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepbid_rt.card import ModelCard


class NetEngine:
    """Runs a network in float32 on the CPU.

    Parameters
    ----------
    net : Module
        In evaluation mode; takes (1, 1, T, Y, X), or (1, K, Y, X) if the card is of kind stream.
    card : ModelCard
    """

    def __init__(self, net: nn.Module, card: ModelCard) -> None:
        self._net, self._card = net, card

    @property
    def card(self) -> ModelCard:
        """The model card."""
        return self._card

    @property
    def description(self) -> str:
        """Runtime, device and precision."""
        return "torch cpu float32"

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Do nothing: torch needs no preparation."""

    @torch.no_grad()
    def infer(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the network's output: for a window (T, Y, X) the same shape, for stream inputs (K, Y, X) (1, Y, X)."""
        inputs = torch.from_numpy(window)[None]
        stream = self._card.kind == "stream"
        output: NDArray[np.float32] = self._net(inputs if stream else inputs[None]).numpy()
        return output.reshape(-1, *window.shape[1:])

    def close(self) -> None:
        """Do nothing; may be called twice."""
