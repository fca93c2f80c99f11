"""`EchoEngine`: returns its input; for tests, demos, and timing everything except a network."""

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
        Window, hop and look-ahead of the engine; with the default each frame is answered at once.
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
