from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.card import ModelCard
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.leakage import leakage
from deepbid_rt.runtimes.echo import EchoEngine
from tests.fakes import echo_card, stream

INFO = stream((1, 16, 16))
FRAMES = np.random.default_rng(0).integers(0, 300, (40, 1, 16, 16)).astype(np.int16)


class MeanEngine(EchoEngine):
    """Returns the mean of the window for each of its frames."""

    def infer(self, window: np.ndarray) -> np.ndarray:
        return np.broadcast_to(window.mean(0), window.shape).astype(np.float32)


def curve(engine: EchoEngine) -> dict[int, float]:
    return leakage(lambda info: Denoiser(engine, info), INFO, FRAMES, 500, range(16, 20), 8)


def card(look_ahead: int) -> ModelCard:
    return echo_card(window=4, hop=1, look_ahead=look_ahead)


def test_an_engine_that_copies_its_input_does_not_leak() -> None:
    assert curve(EchoEngine()) == {k: float(k <= 0) for k in range(-8, 9)}


def test_a_running_mean_leaks_over_its_look_ahead() -> None:
    for ahead in (0, 2):
        found = curve(MeanEngine(card(ahead)))
        for k, response in found.items():
            assert response == pytest.approx(np.clip((ahead - k + 1) / 4, 0, 1), abs=0.01)


def test_refuses_steps_too_close_to_the_first_or_last_frame() -> None:
    with pytest.raises(StreamError, match="steps at least 8 frames away from either end"):
        leakage(lambda info: Denoiser(EchoEngine(), info), INFO, FRAMES, 500, range(3, 5), 8)
