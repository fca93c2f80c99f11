"""The engine that answers what it was asked: for tests, demos and measuring everything but a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard, Normalization

ECHO_CARD = ModelCard(name="echo", kind="echo", normalization=Normalization(rule="fixed"))


class EchoEngine:
    """Returns every window unchanged.

    Parameters
    ----------
    card : ModelCard
        Window, hop and look-ahead to pretend; the default answers each frame at once.
    """

    description = "echo (no network)"

    def __init__(self, card: ModelCard = ECHO_CARD) -> None:
        self.card = card

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Accept any shape."""

    def infer(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `window` (T, Y, X) itself."""
        return window

    def close(self) -> None:
        """Do nothing."""
