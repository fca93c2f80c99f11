"""What an engine would be given while a recording passes: a sample of its inputs, without running any network.

Goes through the `Denoiser` of the live path, so that inputs are those of use. Knows nothing of files or quantization.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.denoising.offline import denoise
from deepbid_rt.ports import FrameSource


def sampled_inputs(card: ModelCard, source: FrameSource, count: int) -> list[NDArray[np.float32]]:
    """Return inputs from all over a recording.

    Parameters
    ----------
    card : ModelCard
        Of an engine of kind stream.
    source : FrameSource
        Open; its first series is read to the end.
    count : int
        Inputs wanted; fewer come when the recording has no more.

    Returns
    -------
    list of ndarray
        (K, Y, X) float32, each input of the recording with the same chance; the same ones every time.

    Raises
    ------
    StreamError
        When the source does not begin with a series.
    EngineError
        When the engine cannot take this recording.
    """
    listener = _Listener(card, count)
    _, frames = denoise(source, lambda info: Denoiser(listener, info))
    for _ in frames:
        pass
    return listener.kept


class _Listener:
    """An engine that answers with the view itself and keeps a sample of what it was given (reservoir sampling)."""

    description = "listener (no network)"

    def __init__(self, card: ModelCard, count: int) -> None:
        self.card = card
        self.kept: list[NDArray[np.float32]] = []
        self._count, self._met, self._rng = count, 0, np.random.default_rng(0)

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Accept any shape."""

    def infer(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the view of the inputs (K, Y, X)."""
        place = self._met if self._met < self._count else int(self._rng.integers(self._met + 1))
        self._met += 1
        if place < self._count:
            self.kept[place : place + 1] = [window.copy()]
        return window[:1]

    def close(self) -> None:
        """Do nothing."""
