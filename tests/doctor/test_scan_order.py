from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from deepbid_rt.doctor.line_pairs import measure_line_pairs
from deepbid_rt.doctor.noise import noise_correlation
from deepbid_rt.doctor.scan_order import axes, is_reversed, layout, line_phase, mirrored, reversal_panels
from deepbid_rt.frame import ScanGeometry
from tests.doctor.scenes import info_of, movie

PHOTONS = (0.3, 1.0, 3.0, 30.0)
PRESETS = ("calcium-vibrating", "vessels-flow", "heart-beating")
UNMIRRORED = ScanGeometry(mirrored=False)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("photons", PHOTONS)
def test_lines_in_image_order_raise_no_alarm(preset, photons: float) -> None:
    finding = mirrored(measure_line_pairs([movie(photons=photons, preset=preset)]), ScanGeometry())
    assert finding.level == "ok", finding.answer
    assert finding.options == {}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("photons", PHOTONS)
def test_lines_in_sampling_order_are_found(preset, photons: float) -> None:
    lines = measure_line_pairs([movie(photons=photons, preset=preset, mirrored=False)])
    finding = mirrored(lines, ScanGeometry())
    assert finding.level == "attention", finding.answer
    assert finding.options == {"unmirrored": True}
    assert "--unmirrored" in finding.todo
    assert mirrored(lines, UNMIRRORED).level == "ok"
    assert is_reversed(lines, ScanGeometry())


def test_mirrored_lines_that_are_stated_as_unmirrored_are_found() -> None:
    lines = measure_line_pairs([movie()])
    finding = mirrored(lines, UNMIRRORED)
    assert (finding.level, finding.options) == ("attention", {})
    assert not is_reversed(lines, UNMIRRORED)


@pytest.mark.parametrize("frames", [None, np.random.default_rng(0).poisson(2, (20, 64, 64)).astype(np.uint16)])
def test_noise_and_nothing_are_not_known_and_the_stated_order_stays(frames) -> None:
    lines = None if frames is None else measure_line_pairs([frames])
    for stated in (ScanGeometry(), UNMIRRORED):
        assert mirrored(lines, stated).level == "not known"
        assert layout(lines, stated, False).level == "not known"
        assert is_reversed(lines, stated) == (not stated.mirrored)


def test_a_wrong_line_length_is_noticed() -> None:
    frames = movie("ordinary", size=128, photons=30.0)
    halves = frames.reshape(len(frames), 256, 64)  # each line of the scan fills two lines
    finding = mirrored(measure_line_pairs([halves]), ScanGeometry())
    assert finding.level == "attention"
    assert "neighbouring lines are unlike" in finding.answer


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("true", ["ordinary", "collinear"])
@pytest.mark.parametrize("photons", [0.3, 3.0, 30.0])
def test_the_layout_is_right_or_not_known(preset, true, photons: float) -> None:
    finding = layout(measure_line_pairs([movie(true, photons=photons, preset=preset)]), ScanGeometry(true), False)
    assert finding.level in ("ok", "not known"), finding.answer
    if photons > 1 and preset == "vessels-flow":
        assert finding.options == {"scan": true}


@pytest.mark.parametrize("true", ["ordinary", "collinear"])
def test_a_wrong_layout_is_found(true) -> None:
    stated = ScanGeometry({"ordinary": "collinear", "collinear": "ordinary"}[true])
    finding = layout(measure_line_pairs([movie(true, photons=30.0)]), stated, False)
    assert finding.level == "attention", finding.answer
    assert finding.options == {"scan": true}
    assert f"--scan {true}" in finding.todo


def test_the_layout_of_lines_in_sampling_order_is_found() -> None:
    lines = measure_line_pairs([movie("collinear", mirrored=False, preset="vessels-flow")])
    assert layout(lines, ScanGeometry(), True).options == {"scan": "collinear"}


def test_pairs_that_begin_with_the_second_line_are_found() -> None:
    finding = layout(measure_line_pairs([movie("collinear")[:, 1:-1]]), ScanGeometry("collinear"), False)
    assert finding.level == "attention"
    assert "the pairs begin with line 1" in finding.answer


@pytest.mark.parametrize("true", ["ordinary", "collinear"])
@pytest.mark.parametrize("px", [0.0, 1.5, -2.0])
def test_the_line_phase_is_measured(true, px: float) -> None:
    frames = movie(true, line_phase_px=px, photons=3.0)
    scan = ScanGeometry(true)
    finding = line_phase([[frames]], info_of(frames, scan), measure_line_pairs([frames]))
    assert abs(finding.figures["line_phase_px"] - px) < 0.2
    assert finding.level == ("attention" if px else "ok")
    assert bool(finding.panels) == bool(px)


def test_an_offset_beyond_the_range_is_found() -> None:
    frames = movie(size=192, photons=30.0, frames=16).copy()
    frames[:, 1::2] = np.roll(frames[:, 1::2], 20, axis=2)
    finding = line_phase([[frames]], info_of(frames), measure_line_pairs([frames]))
    assert finding.level == "attention"
    assert abs(finding.figures["line_phase_px"] - 20) <= 1
    assert "at most 16 px can be corrected" in finding.answer


def test_a_recording_of_few_frames_keeps_the_number() -> None:
    frames = movie(line_phase_px=1.5, photons=30.0)[:4]
    finding = line_phase([[frames]], info_of(frames))
    assert abs(float(finding.options["line-phase"]) - 1.5) < 0.2


def test_the_line_phase_of_darkness_small_frames_and_one_direction() -> None:
    dark = np.random.default_rng(0).poisson(2, (20, 64, 64)).astype(np.uint16)
    assert line_phase([[dark]], info_of(dark)).level == "not known"
    assert line_phase([[dark[..., :16]]], info_of(dark)).level == "not known"
    one_way = dataclasses.replace(info_of(dark), scan=ScanGeometry(bidirectional=False))
    assert line_phase([[dark]], one_way).level == "ok"


def axes_of(frames: np.ndarray):
    noise = noise_correlation([frames])
    known = (None, None) if noise is None else (noise.x, noise.y)
    return axes([frames], *known, measure_line_pairs([frames]))


@pytest.mark.parametrize("photons", PHOTONS)
@pytest.mark.parametrize("preset", PRESETS)
def test_right_axes_raise_no_alarm(photons: float, preset) -> None:
    assert axes_of(movie(photons=photons, preset=preset)).level != "attention"
    assert axes_of(movie("collinear", photons=photons, preset=preset)).level != "attention"


@pytest.mark.parametrize(
    ("frames", "sign"),
    [
        (lambda: movie(x_correlation=0.3), "correlated noise"),
        (lambda: movie(line_phase_px=1.5), "an offset of"),
        (lambda: movie(mirrored=False), "lines in sampling order"),
        (lambda: movie("collinear", preset="vessels-flow"), "pairs of lines"),
    ],
    ids=["noise", "line phase", "sampling order", "collinear"],
)
def test_exchanged_axes_are_found_and_right_ones_confirmed(frames, sign: str) -> None:
    upright = axes_of(frames())
    assert upright.level == "ok", upright.answer
    assert sign in upright.answer
    turned = axes_of(frames().transpose(0, 2, 1))
    assert turned.level == "attention", turned.answer
    assert sign in turned.answer


def test_reversal_is_drawn() -> None:
    (_, stored), (_, turned) = reversal_panels([movie()], ScanGeometry())
    np.testing.assert_array_equal(stored[1], turned[1, ::-1])
    np.testing.assert_array_equal(stored[0], turned[0])
