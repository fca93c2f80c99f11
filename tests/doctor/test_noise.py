from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.doctor.noise import inverted, noise, noise_correlation, photon_gain, photons
from tests.doctor.scenes import DARK, movie

PRESETS = ("calcium-vibrating", "vessels-flow", "heart-beating")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("light", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("motion_px", [0.3, 2.0])
def test_independent_noise_raises_no_alarm(preset, light: float, motion_px: float) -> None:
    finding = noise(noise_correlation([movie(photons=light, preset=preset, motion_px=motion_px)]))
    assert finding.level in ("ok", "not known"), finding.answer


@pytest.mark.parametrize("correlation", [0.1, 0.4])
def test_correlation_along_the_line_is_measured_and_is_no_alarm(correlation: float) -> None:
    measured = noise_correlation([movie(x_correlation=correlation, photons=1.0)])
    assert abs(measured.x - correlation) < 0.05
    assert abs(measured.y) < 0.03
    assert noise(measured).level == "ok"


def test_smoothed_lines_are_found() -> None:
    frames = movie(photons=1.0).astype(np.float32)
    smooth = (frames[:, :-2] + 2 * frames[:, 1:-1] + frames[:, 2:]) / 4
    finding = noise(noise_correlation([smooth]))
    assert finding.level == "attention", finding.answer
    assert "lines were resampled" in finding.answer


def test_averaged_frames_are_found() -> None:
    frames = movie(photons=1.0).astype(np.float32)
    finding = noise(noise_correlation([(frames[1:] + frames[:-1]) / 2]))
    assert finding.level == "attention", finding.answer
    assert "frames were averaged" in finding.answer
    assert abs(finding.figures["correlation_t"] - 0.5) < 0.1


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [np.zeros((1, 64, 64), np.int16)],
        [np.full((9, 64, 64), 5, np.int16)],
        [np.zeros((9, 8, 8), np.int16)],
        [np.full((9, 64, 64), np.nan, np.float32)],
    ],
    ids=["none", "one frame", "constant", "tiny", "NaN"],
)
def test_nothing_to_measure(runs: list[np.ndarray]) -> None:
    assert noise_correlation(runs) is None
    gain = photon_gain(runs)
    for finding in (noise(None), photons(gain), inverted(gain)):
        assert (finding.level, finding.confidence) == ("not known", "none")


@pytest.mark.parametrize("light", [0.1, 0.3, 1.0, 3.0])
def test_photons_and_gain_are_measured(light: float) -> None:
    frames = movie(photons=light, motion_px=0.3)
    measured = photon_gain([frames])
    # Excess noise makes 1.2 of one photon; the median of the field is a little below its mean.
    assert 100 < measured.gain < 150
    assert abs(measured.offset - DARK) < 25
    truth = (float(np.median(frames.mean(0))) - DARK) / 120
    assert abs(measured.photons / truth - 1) < (0.3 if light > 0.1 else 0.5)
    assert photons(measured).level == "ok"
    assert inverted(measured).level == "ok"


def test_next_to_no_light_needs_attention_or_is_not_known() -> None:
    assert photons(photon_gain([movie(photons=0.02)])).level in ("attention", "not known")


def test_inverted_counts_are_found() -> None:
    finding = inverted(photon_gain([np.uint16(65535) - movie(photons=1.0)]))
    assert finding.level == "attention", finding.answer
    assert photons(photon_gain([np.uint16(65535) - movie(photons=1.0)])).level == "not known"


def test_noise_of_the_amplifier_alone_has_no_gain() -> None:
    frames = np.random.default_rng(0).normal(100, 15, (40, 64, 64)).astype(np.int16)
    assert photons(photon_gain([frames])).level == "not known"
    assert inverted(photon_gain([frames])).level == "not known"
