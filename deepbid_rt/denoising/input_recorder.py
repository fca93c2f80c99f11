"""`InputRecorder`: an engine that keeps its inputs, to test or calibrate networks on what the denoiser gives them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.ports import Engine


class InputRecorder:
    """Keeps all of its inputs, or a random sample of them.

    Parameters
    ----------
    card : ModelCard
        What the denoiser is to prepare.
    engine : Engine, optional
        Gives the answers; not closed here. If left out, the answer to an input (K, Y, X) is its first image, the view.
    count : int, optional
        Inputs to keep; all if left out. Each input has the same chance (reservoir sampling, Vitter 1985), and the same
        inputs always give the same sample.
    """

    def __init__(self, card: ModelCard, engine: Engine | None = None, count: int | None = None) -> None:
        self.card = card
        self.description = engine.description if engine else "input recorder (no network)"
        self.inputs: list[NDArray[np.float32]] = []
        """(K, Y, X) each."""
        self._engine, self._count = engine, count
        self._pushed, self._rng = 0, np.random.default_rng(0)

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Prepare the engine. Without one, accept any shape."""
        if self._engine:
            self._engine.warm_up(shape)

    def infer(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keep an input (K, Y, X) and answer it."""
        full = self._count is not None and self._pushed >= self._count
        place = int(self._rng.integers(self._pushed + 1)) if full else self._pushed
        self._pushed += 1
        if self._count is None or place < self._count:
            self.inputs[place : place + 1] = [window.copy()]
        return self._engine.infer(window) if self._engine else window[:1]

    def close(self) -> None:
        """Do nothing."""
