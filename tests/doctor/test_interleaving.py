from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.doctor.interleaving import interleaved
from tests.doctor.scenes import movie

PRESETS = ("calcium-vibrating", "vessels-flow", "heart-beating")


@pytest.mark.parametrize("photons", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("preset", PRESETS)
def test_one_channel_raises_no_alarm(preset, photons: float) -> None:
    assert interleaved([movie(preset=preset, photons=photons)]).level in ("ok", "not known")


def mixed(period: int, photons: float) -> np.ndarray:
    parts = [movie(photons=photons, seed=seed) for seed in range(1, period + 1)]
    return np.stack([parts[t % period][t] for t in range(len(parts[0]))])


@pytest.mark.parametrize("photons", [0.3, 1.0, 30.0])
@pytest.mark.parametrize("period", [2, 3, 5])
def test_the_period_of_alternating_pictures_is_found(period: int, photons: float) -> None:
    finding = interleaved([mixed(period, photons)])
    assert finding.level == "attention", finding.answer
    assert finding.figures["period"] == period
    assert f"--channels {period}" in finding.todo
    assert finding.options == {}  # channels or planes: the pixels do not say


def test_many_pictures_are_planes() -> None:
    finding = interleaved([mixed(10, 3.0)])
    assert finding.options == {"planes": 10}


def test_a_dark_channel_in_every_second_frame_is_found() -> None:
    frames = movie().copy()
    frames[1::2] = np.random.default_rng(0).normal(100, 15, frames[1::2].shape).astype(np.uint16)
    assert interleaved([frames]).figures.get("period") == 2


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [np.zeros((5, 32, 32), np.int16)],
        [np.zeros((40, 4, 4), np.int16)],
        [np.full((40, 32, 32), 3, np.int16)],
        [np.full((40, 32, 32), np.nan, np.float32)],
        [np.random.default_rng(0).normal(100, 15, (40, 32, 32)).astype(np.int16)],
    ],
    ids=["none", "few", "tiny", "constant", "NaN", "noise"],
)
def test_what_cannot_be_told(runs: list[np.ndarray]) -> None:
    assert interleaved(runs).level == "not known"
