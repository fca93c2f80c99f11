"""The line phase: right in size and sign for every scan, silent where there is nothing, and not misled."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepbid_rt.frame import DTYPES, ScanGeometry, StreamInfo
from deepbid_rt.scan import line_phase
from deepbid_rt.scan.line_phase import LEAST_PIXELS, LOOK_PIXELS_HZ, MEMORY_BLOCKS, LinePhaseEstimator
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings
from tests.jagged import frames, info_of, tissue

COLLINEAR, ORDINARY = ScanGeometry("collinear"), ScanGeometry("ordinary")
GEOMETRIES = [
    ScanGeometry(layout, first=first, mirrored=mirrored)
    for layout, first, mirrored in product(("collinear", "ordinary"), ("forward", "backward"), (True, False))
]


def after(info: StreamInfo, *parts: list[np.ndarray]) -> LinePhaseEstimator:
    phase = LinePhaseEstimator(info)
    for part in parts:
        for frame in part:
            phase.push(frame.astype(info.dtype, copy=False))
    return phase


@pytest.mark.parametrize("scan", GEOMETRIES, ids=lambda s: f"{s.layout}-{s.first}-{s.mirrored}")
@pytest.mark.parametrize("px", [0.0, 1.5, -0.7])
def test_every_scan_is_measured_with_its_sign(scan: ScanGeometry, px: float) -> None:
    info = info_of(scan=scan)
    assert after(info, frames(info, px, 3)).px == pytest.approx(px, abs=0.05)


@given(px=st.floats(-5, 5), seed=st.integers(0, 1000), layout=st.sampled_from([COLLINEAR, ORDINARY]))
@settings(deadline=None, max_examples=30)
def test_any_offset_and_any_tissue(px: float, seed: int, layout: ScanGeometry) -> None:
    info = info_of((128, 128), layout)
    assert after(info, frames(info, px, 2, seed=seed)).px == pytest.approx(px, abs=0.1)


@pytest.mark.parametrize("slope", [0.6, -1.0])
@pytest.mark.parametrize("first", ["forward", "backward"])
def test_slanted_streaks_are_no_offset(slope: float, first: str) -> None:
    info = info_of(scan=ScanGeometry("ordinary", first=first))
    assert after(info, frames(info, 0.0, 3, slope=slope)).px == pytest.approx(0, abs=0.05)
    assert after(info, frames(info, 1.0, 3, slope=slope)).px == pytest.approx(1, abs=0.05)


def test_one_direction_has_no_line_phase() -> None:
    info = info_of(scan=ScanGeometry("ordinary", bidirectional=False))
    phase = after(info, frames(info, 1.5, 3))
    assert phase.blind
    assert phase.px is None


@pytest.mark.parametrize("photons", [0.3, 1.0])
def test_noise_of_a_slow_detector_is_not_taken_for_tissue(photons: float) -> None:
    """Correlated along each line, it would draw the answer to 0 if it were the same in any two lines."""
    scan = ScanSettings(size=(128, 128), photons=photons, x_correlation=0.45, line_phase_px=1.5)
    source = SyntheticSource(SceneSettings(seed=2), scan)
    assert after(source.info, [source.render(t)[0] for t in range(90)]).px == pytest.approx(1.5, abs=0.12)


@pytest.mark.parametrize("size", [(64, 64), (33, 300)])
@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_noise_alone_says_nothing(scan: ScanGeometry, correlated: bool, size: tuple[int, int]) -> None:
    info = info_of(size, scan)
    noise = np.random.default_rng(3).standard_normal((60, *info.shape)).astype(np.float32)
    if correlated:
        noise[..., 1:] += noise[..., :-1]
    phase = after(info, [50 + 10 * frame for frame in noise])
    assert phase.px is None


def test_a_bright_field_without_structure_says_nothing() -> None:
    """Light that falls off towards the corners is the same in both directions, wherever the lines lie."""
    info = info_of((128, 128), ORDINARY, dtype="<i2")
    y, x = np.linspace(-1, 1, 128)[:, None], np.linspace(-1, 1, 128)
    light = 400 * np.exp(-0.5 * (x * x + y * y)) * (1 + 0.2 * x)
    rng = np.random.default_rng(4)
    assert after(info, [rng.poisson(light)[None] for _ in range(40)]).px is None


@pytest.mark.parametrize("pixels", [128, 1024])
@pytest.mark.parametrize("px", [16.8, -17.2, 20.0, 40.0])
def test_what_lies_out_of_reach_is_not_called_small(px: float, pixels: int) -> None:
    info = info_of((96, pixels))
    assert after(info, frames(info, px, 5)).px is None


@pytest.mark.parametrize("pixels", [48, 64])
def test_short_lines_are_not_drawn_to_0(pixels: int) -> None:
    """Their taper is short too, and the same in both directions wherever the tissue lies."""
    info = info_of((400, pixels))
    assert after(info, frames(info, 4.0, 2)).px == pytest.approx(4, abs=0.1)


def nothing(info: StreamInfo) -> dict[str, np.ndarray]:
    empty = np.zeros(info.shape, np.float32)
    holes = frames(info, 0.0, 1)[0].copy()
    holes[:, ::2] = np.nan
    return {
        "dark": empty,
        "saturated": empty + np.float32(65535),
        "constant": empty + np.float32(33300.3),
        "stripes": empty + np.arange(info.shape[1], dtype=np.float32)[:, None] % 7,
        "nan": empty + np.float32(np.nan),
        "infinite": empty + np.float32(np.inf),
        "holes": holes,
        "huge": frames(info, 0.0, 1)[0] * np.float32(1e35),
        "squares overflow": frames(info, 0.0, 1)[0] * np.float32(1e25),
    }


@pytest.mark.parametrize("kind", nothing(info_of()))
def test_frames_that_show_nothing_poison_nothing(kind: str) -> None:
    info = info_of()
    empty, seen = nothing(info)[kind], frames(info, 1.2, 6)
    assert after(info, [empty] * 5).px is None
    for parts in ((seen, [empty] * 40), ([empty] * 5, seen), ([empty, *seen[:3], empty, *seen[3:]],)):
        assert after(info, *parts).px == pytest.approx(1.2, abs=0.05)


def test_the_answer_stays_while_it_is_dark() -> None:
    info, rng = info_of(), np.random.default_rng(5)
    phase = after(info, frames(info, 1.2, 3, photons=10))
    measured = phase.px
    for _ in range(60):
        phase.push(rng.normal(0, 1, info.shape).astype(np.float32))
    assert phase.px == pytest.approx(measured, abs=0.15)


def test_what_was_seen_before_the_shutter_closed_still_counts() -> None:
    info = info_of()
    dim = frames(info, 1.2, 6, photons=1.5)
    closed = [np.zeros(info.shape, np.float32)] * 100
    assert after(info, dim[:3]).px is None
    assert after(info, dim[3:]).px is None
    assert after(info, dim[:3], closed, dim[3:]).px == pytest.approx(1.2, abs=0.3)


def test_a_dead_pixel_of_a_float_stream_costs_its_line_and_no_more() -> None:
    info = info_of()
    seen = frames(info, 1.2, 4)
    for frame in seen:
        frame[0, 17, 30] = np.nan
    assert after(info, seen).px == pytest.approx(1.2, abs=0.05)


def test_a_flash_does_not_outshine_the_past() -> None:
    info = info_of()
    (flash,) = frames(info, -3.0, 1, seed=9)
    seen = frames(info, 1.2, 30, photons=3)
    block = StreamInfo(info.shape, info.dtype, 10.0, info.scan)  # one of ten frames of a block
    assert after(block, [*seen[:15], 1000 * flash, *seen[15:29]]).px == pytest.approx(1.2, abs=0.2)


def test_slow_drift_is_followed() -> None:
    info = info_of()
    drift = np.linspace(0, 1, 5 * MEMORY_BLOCKS)
    phase = after(info, [frames(info, px, 1, seed=3)[0] for px in drift.tolist()])
    assert phase.px == pytest.approx(1 - MEMORY_BLOCKS * drift[1], abs=0.1)
    for frame in frames(info, 1.0, 4 * MEMORY_BLOCKS, seed=3):
        phase.push(frame)
    assert phase.px == pytest.approx(1, abs=0.05)


def test_a_turn_of_the_knob_is_seen_at_once() -> None:
    info = info_of()
    phase = after(info, frames(info, 2.0, 20))
    for frame in frames(info, 0.4, 2):
        phase.push(frame)
    assert phase.px == pytest.approx(0.4, abs=0.05)


def test_a_dark_noisy_channel_beside_a_bright_one() -> None:
    info = info_of(channels=2)
    noise = np.random.default_rng(6).normal(0, 5000, (5, 1, *info.shape[1:])).astype(np.float32)
    seen = [np.concatenate(pair) for pair in zip(noise, frames(info, 1.2, 5), strict=True)]
    assert after(info, seen).px == pytest.approx(1.2, abs=0.1)


@pytest.mark.parametrize(("dtype", "gain", "offset"), [("<i2", 40, -600), ("<u2", 40, 33_300), ("|u1", 8, 20)])
def test_counts_of_any_kind_say_the_same(dtype: str, gain: float, offset: float) -> None:
    info, counts = info_of(), info_of(dtype=dtype)
    seen = frames(info, 1.2, 4)
    limits = np.iinfo(dtype)
    turned = [np.clip(np.rint(frame * gain + offset), limits.min, limits.max) for frame in seen]
    assert after(counts, turned).px == pytest.approx(after(info, seen).px, abs=0.03)


def test_saturation_at_12_bits_moves_nothing() -> None:
    info = info_of(dtype="<u2")
    seen = [np.minimum(frame * 250, 4095) for frame in frames(info, 1.2, 4, photons=14)]
    assert np.mean([frame == 4095 for frame in seen]) > 0.1
    assert after(info, seen).px == pytest.approx(1.2, abs=0.05)


@pytest.mark.parametrize("rate_hz", [1.0, 30.0, 400.0])
@pytest.mark.parametrize("shape", [(1, 512, 512), (1, 1024, 512), (2, 64, 64)])
def test_the_cost_is_bounded_and_all_lines_have_their_turn(
    shape: tuple[int, int, int], rate_hz: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[np.ndarray] = []
    transform = scipy.fft.rfft

    def spied(lines: np.ndarray) -> np.ndarray:
        looked.append(lines)
        return np.asarray(transform(lines))

    monkeypatch.setattr(line_phase.scipy.fft, "rfft", spied)
    phase = LinePhaseEstimator(StreamInfo(shape, np.dtype("<i2"), rate_hz, COLLINEAR))
    pixels = np.random.default_rng(0).integers(0, 99, shape, np.int16)
    count = 40
    for _ in range(count):
        phase.push(pixels)
    seconds = count / rate_hz
    assert sum(lines.size for lines in looked) <= 1.1 * LOOK_PIXELS_HZ * seconds + pixels.size
    assert len(looked) <= 40 * seconds + 1
    shares = {round(float(line[lines.shape[-1] // 4]), 4) for lines in looked for line in lines[0, 0]}
    if rate_hz <= 30:  # else more than a second is needed
        assert len(shares) > 0.9 * shape[1] / 2


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_no_frame_is_refused(data: st.DataObject) -> None:
    """Any size, scan, type and content: an answer or none, finite, and the frame is left as it was."""
    shape = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 9), st.sampled_from([1, 2, 7, 31, 32, 33, 64])))
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    layout = data.draw(st.sampled_from(["collinear", "ordinary"]))
    scan = ScanGeometry(layout, True, data.draw(st.sampled_from(["forward", "backward"])), data.draw(st.booleans()))
    phase = LinePhaseEstimator(StreamInfo(shape, dtype, data.draw(st.sampled_from([0.1, 1.0, 1000.0])), scan))
    frame = data.draw(hnp.arrays(dtype, shape))
    frame.flags.writeable = False
    for _ in range(3):
        phase.push(frame)
    assert phase.px is None or abs(phase.px) < 20
    if shape[2] < LEAST_PIXELS or shape[1] < 2:
        assert phase.blind
        assert phase.px is None


@pytest.mark.parametrize("first", ["forward", "backward"])
@pytest.mark.parametrize("lines", [2, 3, 4, 5, 6, 7])
def test_few_lines_are_paired_with_their_neighbours(lines: int, first: str) -> None:
    """Line n shows tissue moved by n pixels: the mean of two neighbours lies where the line between them does."""
    scan = ScanGeometry("ordinary", first=first)
    line = tissue((1, 600), 3)[0]
    image = np.stack([line[40 - n : 552 - n] for n in range(lines)])[None].astype(np.float32)
    phase = after(StreamInfo(image.shape, image.dtype, 1.0, scan), [image])
    if lines == 2 or (lines == 3 and first == "backward"):  # no backward line between two others
        assert phase.blind
    else:
        assert phase.px == pytest.approx(0, abs=0.02)
