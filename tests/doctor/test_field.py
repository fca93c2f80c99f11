from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.doctor.field import edges, masked
from tests.doctor.scenes import DARK, movie

PRESETS = ("calcium-vibrating", "vessels-flow", "heart-beating")


@pytest.mark.parametrize("photons", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_clean_movie_raises_no_alarm(preset, photons: float) -> None:
    frames = movie(preset=preset, photons=photons)
    assert masked([frames]).level == "ok"
    assert edges([frames]).level in ("ok", "not known"), edges([frames]).answer


def test_photons_that_are_counted_one_by_one_are_no_mask() -> None:
    frames = np.random.default_rng(0).poisson(0.02, (12, 64, 64)).astype(np.uint16)
    assert masked([frames]).level == "ok"


@pytest.mark.parametrize("photons", [0.1, 3.0])
def test_a_round_field_is_found(photons: float) -> None:
    frames = movie(photons=photons).copy()
    y, x = np.indices(frames.shape[1:]) - 47.5
    frames[:, np.hypot(y, x) > 48] = 0
    finding = masked([frames])
    assert finding.level == "note", finding.answer
    assert abs(finding.figures["share"] - (1 - np.pi / 4)) < 0.03
    assert "as in a round field" in finding.answer
    assert len(finding.panels) == 2


def test_a_picture_that_never_changes_is_found() -> None:
    assert masked([np.repeat(movie()[:1], 10, axis=0)]).level == "attention"


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("preset", ["calcium-vibrating", "vessels-flow"])
def test_blanked_columns_are_found(preset, side: str) -> None:
    frames = movie(preset=preset, photons=3.0, motion_px=2.0).copy()
    dark = np.random.default_rng(0).normal(DARK, 15.0, (len(frames), 96, 6)).round().astype(np.uint16)
    frames[..., slice(0, 6) if side == "left" else slice(-6, None)] = dark
    finding = edges([frames])
    assert finding.level == "note", finding.answer
    assert finding.answer == f"6 columns at the {side} show nothing"


def test_columns_that_differ_between_lines_are_found() -> None:
    frames = movie().copy()
    frames[:, 1::2, :5] += 2000
    finding = edges([frames])
    assert finding.level == "note"
    assert finding.answer == "5 columns at the left differ between even and odd lines"


@pytest.mark.parametrize(
    "runs",
    [
        [np.zeros((1, 64, 64), np.int16)],
        [np.zeros((20, 8, 8), np.int16)],
    ],
    ids=["one frame", "tiny"],
)
def test_what_cannot_be_told(runs: list[np.ndarray]) -> None:
    assert masked(runs).level == "not known"
    assert edges(runs).level == "not known"


@pytest.mark.parametrize("value", [5, np.nan])
def test_constant_frames(value: float) -> None:
    frames = np.full((20, 64, 64), value, np.float32)
    assert edges([frames]).level == "not known"
    assert masked([frames]).level != "note"
