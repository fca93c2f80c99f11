"""A network in torch as an engine, to look at it before it is exported; the live path runs exported files.

Knows nothing of training.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepbid_rt.card import ModelCard


class TorchEngine:
    """Runs a network in float32 on the CPU.

    Parameters
    ----------
    net : Module
        In evaluation mode; takes (1, 1, T, Y, X), or (1, K, Y, X) for a card of kind stream.
    card : ModelCard
    """

    def __init__(self, net: nn.Module, card: ModelCard) -> None:
        self._net, self._card = net, card

    @property
    def card(self) -> ModelCard:
        """What the engine expects and promises."""
        return self._card

    @property
    def description(self) -> str:
        """Runtime, device and precision."""
        return "torch cpu float32"

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Do nothing: torch needs no preparation."""

    @torch.no_grad()
    def infer(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Denoise a window (K, Y, X), or the inputs of a stream engine, which are answered by (1, Y, X)."""
        given = torch.from_numpy(window)[None]
        stream = self._card.kind == "stream"
        answers: NDArray[np.float32] = self._net(given if stream else given[None]).numpy()
        return answers.reshape(-1, *window.shape[1:])

    def close(self) -> None:
        """Do nothing; may be called twice."""
