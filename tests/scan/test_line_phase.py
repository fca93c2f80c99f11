"""The measured line phase has the right size and sign, and is None when frames do not show it."""

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
from deepbid_rt.scan.line_phase import AVERAGED_BLOCKS, MEASURED_PIXELS_HZ, MIN_PIXELS, LinePhaseEstimator
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings
from tests.jagged import frames, info_of, tissue

COLLINEAR, ORDINARY = ScanGeometry("collinear"), ScanGeometry("ordinary")
GEOMETRIES = [
    ScanGeometry(layout, first=first, mirrored=mirrored)
    for layout, first, mirrored in product(("collinear", "ordinary"), ("forward", "backward"), (True, False))
]


def after(info: StreamInfo, *parts: list[np.ndarray]) -> LinePhaseEstimator:
    """Return an estimator that has measured the given frames."""
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
def test_any_offset_is_measured_on_any_tissue(px: float, seed: int, layout: ScanGeometry) -> None:
    info = info_of((128, 128), layout)
    assert after(info, frames(info, px, 2, seed=seed)).px == pytest.approx(px, abs=0.1)


@pytest.mark.parametrize("slope", [0.6, -1.0])
@pytest.mark.parametrize("first", ["forward", "backward"])
def test_slanted_streaks_are_not_taken_for_an_offset(slope: float, first: str) -> None:
    info = info_of(scan=ScanGeometry("ordinary", first=first))
    assert after(info, frames(info, 0.0, 3, slope=slope)).px == pytest.approx(0, abs=0.05)
    assert after(info, frames(info, 1.0, 3, slope=slope)).px == pytest.approx(1, abs=0.05)


def test_a_unidirectional_scan_has_no_line_phase() -> None:
    info = info_of(scan=ScanGeometry("ordinary", bidirectional=False))
    phase = after(info, frames(info, 1.5, 3))
    assert not phase.measurable
    assert phase.px is None


@pytest.mark.parametrize("photons", [0.3, 1.0])
def test_noise_of_a_slow_detector_is_not_taken_for_tissue(photons: float) -> None:
    """It is correlated along each line, but not between lines, so it must not draw the estimate to 0."""
    scan = ScanSettings(size=(128, 128), photons=photons, x_correlation=0.45, line_phase_px=1.5)
    source = SyntheticSource(SceneSettings(seed=2), scan)
    assert after(source.info, [source.render(t)[0] for t in range(90)]).px == pytest.approx(1.5, abs=0.12)


@pytest.mark.parametrize("size", [(64, 64), (33, 300)])
@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_noise_alone_gives_no_estimate(scan: ScanGeometry, correlated: bool, size: tuple[int, int]) -> None:
    info = info_of(size, scan)
    noise = np.random.default_rng(3).standard_normal((60, *info.shape)).astype(np.float32)
    if correlated:
        noise[..., 1:] += noise[..., :-1]
    phase = after(info, [50 + 10 * frame for frame in noise])
    assert phase.px is None


def test_a_bright_field_without_structure_gives_no_estimate() -> None:
    """Vignetting is the same in both directions, whatever the line phase."""
    info = info_of((128, 128), ORDINARY, dtype="<i2")
    y, x = np.linspace(-1, 1, 128)[:, None], np.linspace(-1, 1, 128)
    light = 400 * np.exp(-0.5 * (x * x + y * y)) * (1 + 0.2 * x)
    rng = np.random.default_rng(4)
    assert after(info, [rng.poisson(light)[None] for _ in range(40)]).px is None


@pytest.mark.parametrize("pixels", [128, 1024])
@pytest.mark.parametrize("px", [16.8, -17.2, 20.0, 40.0])
def test_an_offset_beyond_the_range_gives_no_estimate(px: float, pixels: int) -> None:
    info = info_of((96, pixels))
    assert after(info, frames(info, px, 5)).px is None


@pytest.mark.parametrize("pixels", [48, 64])
def test_estimates_of_short_lines_are_not_drawn_to_0(pixels: int) -> None:
    """The taper of short lines is short too, and it is the same in both directions wherever the tissue lies."""
    info = info_of((400, pixels))
    assert after(info, frames(info, 4.0, 2)).px == pytest.approx(4, abs=0.1)


def unusable_frames(info: StreamInfo) -> dict[str, np.ndarray]:
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


@pytest.mark.parametrize("kind", unusable_frames(info_of()))
def test_unusable_frames_do_not_disturb_the_estimate(kind: str) -> None:
    info = info_of()
    unusable, usable = unusable_frames(info)[kind], frames(info, 1.2, 6)
    assert after(info, [unusable] * 5).px is None
    for parts in (
        (usable, [unusable] * 40),
        ([unusable] * 5, usable),
        ([unusable, *usable[:3], unusable, *usable[3:]],),
    ):
        assert after(info, *parts).px == pytest.approx(1.2, abs=0.05)


def test_the_estimate_stays_while_it_is_dark() -> None:
    info, rng = info_of(), np.random.default_rng(5)
    phase = after(info, frames(info, 1.2, 3, photons=10))
    measured = phase.px
    for _ in range(60):
        phase.push(rng.normal(0, 1, info.shape).astype(np.float32))
    assert phase.px == pytest.approx(measured, abs=0.15)


def test_frames_from_before_a_dark_period_still_count() -> None:
    info = info_of()
    dim = frames(info, 1.2, 6, photons=1.5)
    closed = [np.zeros(info.shape, np.float32)] * 100
    assert after(info, dim[:3]).px is None
    assert after(info, dim[3:]).px is None
    assert after(info, dim[:3], closed, dim[3:]).px == pytest.approx(1.2, abs=0.3)


def test_a_nan_pixel_excludes_its_line_only() -> None:
    info = info_of()
    usable = frames(info, 1.2, 4)
    for frame in usable:
        frame[0, 17, 30] = np.nan
    assert after(info, usable).px == pytest.approx(1.2, abs=0.05)


def test_a_flash_does_not_dominate_the_estimate() -> None:
    info = info_of()
    (flash,) = frames(info, -3.0, 1, seed=9)
    tissue_frames = frames(info, 1.2, 30, photons=3)
    block = StreamInfo(info.shape, info.dtype, 10.0, info.scan)  # a block has ten frames
    assert after(block, [*tissue_frames[:15], 1000 * flash, *tissue_frames[15:29]]).px == pytest.approx(1.2, abs=0.2)


def test_slow_drift_is_followed() -> None:
    info = info_of()
    drift = np.linspace(0, 1, 5 * AVERAGED_BLOCKS)
    phase = after(info, [frames(info, px, 1, seed=3)[0] for px in drift.tolist()])
    assert phase.px == pytest.approx(1 - AVERAGED_BLOCKS * drift[1], abs=0.1)
    for frame in frames(info, 1.0, 4 * AVERAGED_BLOCKS, seed=3):
        phase.push(frame)
    assert phase.px == pytest.approx(1, abs=0.05)


def test_a_step_of_the_line_phase_is_measured_within_two_blocks() -> None:
    info = info_of()
    phase = after(info, frames(info, 2.0, 20))
    for frame in frames(info, 0.4, 2):
        phase.push(frame)
    assert phase.px == pytest.approx(0.4, abs=0.05)


def test_a_dark_noisy_channel_does_not_disturb_a_bright_one() -> None:
    info = info_of(channels=2)
    noise = np.random.default_rng(6).normal(0, 5000, (5, 1, *info.shape[1:])).astype(np.float32)
    both = [np.concatenate(pair) for pair in zip(noise, frames(info, 1.2, 5), strict=True)]
    assert after(info, both).px == pytest.approx(1.2, abs=0.1)


@pytest.mark.parametrize(("dtype", "gain", "offset"), [("<i2", 40, -600), ("<u2", 40, 33_300), ("|u1", 8, 20)])
def test_pixel_type_gain_and_offset_do_not_change_the_estimate(dtype: str, gain: float, offset: float) -> None:
    info, counts = info_of(), info_of(dtype=dtype)
    floats = frames(info, 1.2, 4)
    limits = np.iinfo(dtype)
    integers = [np.clip(np.rint(frame * gain + offset), limits.min, limits.max) for frame in floats]
    assert after(counts, integers).px == pytest.approx(after(info, floats).px, abs=0.03)


def test_saturation_at_12_bits_does_not_change_the_estimate() -> None:
    info = info_of(dtype="<u2")
    saturated = [np.minimum(frame * 250, 4095) for frame in frames(info, 1.2, 4, photons=14)]
    assert np.mean([frame == 4095 for frame in saturated]) > 0.1
    assert after(info, saturated).px == pytest.approx(1.2, abs=0.05)


@pytest.mark.parametrize("rate_hz", [1.0, 30.0, 400.0])
@pytest.mark.parametrize("shape", [(1, 512, 512), (1, 1024, 512), (2, 64, 64)])
def test_the_cost_is_bounded_and_all_lines_are_measured(
    shape: tuple[int, int, int], rate_hz: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[np.ndarray] = []
    transform = scipy.fft.rfft

    def spied(lines: np.ndarray) -> np.ndarray:
        measured.append(lines)
        return np.asarray(transform(lines))

    monkeypatch.setattr(line_phase.scipy.fft, "rfft", spied)
    phase = LinePhaseEstimator(StreamInfo(shape, np.dtype("<i2"), rate_hz, COLLINEAR))
    pixels = np.random.default_rng(0).integers(0, 99, shape, np.int16)
    count = 40
    for _ in range(count):
        phase.push(pixels)
    seconds = count / rate_hz
    assert sum(lines.size for lines in measured) <= 1.1 * MEASURED_PIXELS_HZ * seconds + pixels.size
    assert len(measured) <= 40 * seconds + 1
    distinct = {round(float(line[lines.shape[-1] // 4]), 4) for lines in measured for line in lines[0, 0]}
    if rate_hz <= 30:  # at higher rates the 40 frames are too few to measure all lines
        assert len(distinct) > 0.9 * shape[1] / 2


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_frames_of_any_size_scan_type_and_content_are_accepted(data: st.DataObject) -> None:
    """The estimate is None or finite, and the frame is not written to."""
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
    if shape[2] < MIN_PIXELS or shape[1] < 2:
        assert not phase.measurable
        assert phase.px is None


@pytest.mark.parametrize("first", ["forward", "backward"])
@pytest.mark.parametrize("lines", [2, 3, 4, 5, 6, 7])
def test_few_lines_are_paired_with_their_neighbours(lines: int, first: str) -> None:
    """Line n shows tissue moved by n pixels, so the mean of two neighbours lies where the line between them does."""
    scan = ScanGeometry("ordinary", first=first)
    line = tissue((1, 600), 3)[0]
    image = np.stack([line[40 - n : 552 - n] for n in range(lines)])[None].astype(np.float32)
    phase = after(StreamInfo(image.shape, image.dtype, 1.0, scan), [image])
    if lines == 2 or (lines == 3 and first == "backward"):  # no backward line between two others
        assert not phase.measurable
    else:
        assert phase.px == pytest.approx(0, abs=0.02)
