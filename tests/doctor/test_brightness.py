from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.doctor.brightness import flicker, stripes
from tests.doctor.scenes import DARK, movie

PRESETS = ("calcium-vibrating", "vessels-flow", "heart-beating")


@pytest.mark.parametrize("photons", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_clean_movie_raises_no_alarm(preset, photons: float) -> None:
    for question in (flicker, stripes):
        finding = question([movie(preset=preset, photons=photons)])
        assert finding.level in ("ok", "not known"), finding.answer


@pytest.mark.parametrize("photons", [1.0, 3.0, 30.0])
def test_flicker_is_found(photons: float) -> None:
    frames = movie(photons=photons)
    light = 1 + 0.1 * np.random.default_rng(1).standard_normal(len(frames))
    finding = flicker([((frames - DARK) * light[:, None, None] + DARK).astype(np.float32)])
    assert finding.level == "attention", finding.answer


@pytest.mark.parametrize("photons", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("cycles", [0.3137, 0.061])
def test_interference_is_found(cycles: float, photons: float) -> None:
    frames = movie(photons=photons, preset="vessels-flow").astype(np.float64)
    noise = float(np.std(frames[1] - frames[0])) / np.sqrt(2)
    pixel = np.arange(frames.size).reshape(frames.shape)
    finding = stripes([frames + 0.6 * noise * np.sin(2 * np.pi * cycles * pixel)])
    assert finding.level == "attention", finding.answer
    assert abs(finding.figures["cycles_per_pixel_x"] - cycles) < 0.02
    assert len(finding.panels) == 2


def test_lines_that_are_brighter_as_a_whole_are_found() -> None:
    frames = movie(photons=1.0) + np.random.default_rng(0).normal(0, 40, (40, 96, 1))
    finding = stripes([frames])
    assert finding.level == "attention"
    assert "whole lines" in finding.answer


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [np.zeros((3, 64, 64), np.int16)],
        [np.full((20, 64, 64), 5, np.int16)],
        [np.full((20, 64, 64), np.nan, np.float32)],
        [np.zeros((20, 8, 8), np.int16)],
    ],
    ids=["none", "few", "constant", "NaN", "tiny"],
)
def test_what_cannot_be_told(runs: list[np.ndarray]) -> None:
    assert flicker(runs).level == "not known"
    assert stripes(runs).level == "not known"
