"""Presets: the noise of the papers' data for every seed, the tissue of their names, and refused wrong values."""

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.directions import split_scan
from deepbid_rt.simulator.presets import PRESET_NAMES, PresetName, movie_preset
from deepbid_rt.simulator.synthetic import SyntheticSource


def raw_correlation(name: PresetName, seed: int, size: int = 96, **more: object) -> float:
    source = SyntheticSource(*movie_preset(name, (size, size), seed, **more))  # type: ignore[arg-type]  # keywords by name
    frames = [source.render(index) for index in range(0, 300, 10)]
    collinear = source.info.scan.layout == "collinear"
    raw = [np.mean(split_scan(p, source.info.scan), axis=0) if collinear else p for p, _ in frames]
    return float(np.corrcoef(np.ravel(raw), np.ravel([truth for _, truth in frames]))[0, 1])


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_raw_movies_are_as_noisy_as_those_of_the_papers(name: PresetName) -> None:
    correlations = [raw_correlation(name, seed) for seed in range(3)]
    assert np.mean(correlations) == pytest.approx(0.44, abs=0.015)
    assert np.ptp(correlations) < 0.06


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_digitisers_of_fewer_bits_give_the_same_noise(bits: int) -> None:
    assert raw_correlation("calcium-vibrating", 1, bits=bits) == pytest.approx(0.44, abs=0.03)


@pytest.mark.parametrize("wanted", [0.2, 0.7])
@pytest.mark.parametrize("layout", ["collinear", "ordinary"])
def test_the_noise_level_can_be_chosen(wanted: float, layout: str) -> None:
    found = raw_correlation("calcium-vibrating", 2, correlation=wanted, scan=ScanGeometry(layout))
    assert found == pytest.approx(wanted, abs=0.04)


def test_photons_and_motion_can_be_chosen() -> None:
    scene, scan = movie_preset("calcium-vibrating", photons=2.5, motion_px=0.0)
    assert (scan.photons, scene.motion_px) == (2.5, 0.0)


def test_lines_take_64_us_and_the_rate_leaves_time_for_them() -> None:
    for size, rate_hz in (((256, 512), 30.0), ((512, 512), 1e6 / 1024 / 64)):
        scan = movie_preset("calcium-vibrating", size, photons=1.0)[1]
        assert scan.line_us == 64
        assert scan.rate_hz == pytest.approx(rate_hz)


def test_each_preset_has_the_tissue_of_its_name() -> None:
    calcium, vessels, heart = (movie_preset(name, (128, 128), 1, photons=1.0)[0] for name in PRESET_NAMES)
    assert calcium.motion_px >= 1.5
    assert (vessels.kind, vessels.flow_mm_s) == ("flow", 30.0)
    assert (heart.kind, heart.beat_px) == ("heart", 4.0)


@pytest.mark.parametrize("changes", [{"name": "snow"}, {"bits": 10}, {"correlation": 1.0}])
def test_wrong_values_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(StreamError, match="expected one of calcium-vibrating, vessels-flow, heart-beating with 8, 12"):
        movie_preset(**({"name": "vessels-flow"} | changes))  # type: ignore[arg-type]  # wrong on purpose
