"""The simulated microscope: reproducible, with correct noise, moving tissue and every scan layout."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import DTYPES, Frame, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.scan.directions import split_scan
from deepbid_rt.simulator.frame_stamp import read_stamp
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings

SCENE = SceneSettings(kind="dense", seed=7, motion_px=1.5)
STILL = SceneSettings(kind="dense", seed=7, motion_px=0, activity=0, blood=False)
COLLINEAR = ScanSettings(size=(32, 40))
ORDINARY = ScanSettings(size=(33, 40), scan=ScanGeometry(layout="ordinary"))


def scope_of(scene: SceneSettings = SCENE, scan: ScanSettings = COLLINEAR, **more: Any) -> SyntheticSource:
    return SyntheticSource(scene, scan, **more)


def change(settings: ScanSettings, **fields: Any) -> ScanSettings:
    return dataclasses.replace(settings, **fields)


def test_events_come_in_the_order_of_a_source() -> None:
    scope = scope_of(n_frames=3, source="scope2")
    assert scope.read(0.0) is None
    for _ in range(2):
        scope.open()
        events = [scope.read(0.0) for _ in range(7)]
        assert events[0] == scope.info
        assert [event.index for event in events[1:4] if isinstance(event, Frame)] == [0, 1, 2]
        assert events[4:] == [StreamEnd("done"), None, None]
        scope.close()
        scope.close()
        assert scope.read(0.0) is None


def test_the_stream_describes_its_frames() -> None:
    for scan, shape in ((COLLINEAR, (1, 64, 40)), (ORDINARY, (1, 33, 40))):
        scope = scope_of(scan=scan, n_frames=5, source="scope2")
        scope.open()
        info, frame = scope.read(0.0), scope.read(0.0)
        assert isinstance(info, StreamInfo)
        assert isinstance(frame, Frame)
        assert info.shape == frame.pixels.shape == shape
        assert info.dtype == frame.pixels.dtype == np.dtype("<i2")
        assert (info.n_expected, info.source, info.rate_hz) == (5, "scope2", 30.0)
        assert scope.render(0)[1].shape == (1, *scan.size)
        assert scope.render(0)[1].dtype == np.float32


@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY], ids=lambda scan: scan.scan.layout)
def test_the_truth_has_no_line_phase(scan: ScanSettings) -> None:
    scope = scope_of(scan=change(scan, line_phase_px=2.0, photons=1e3, gain=1.0))
    pixels, truth = scope.render(2)
    forward, backward = split_scan(pixels[0].astype(np.float64), scan.scan)
    own = (truth[0], truth[0]) if scan.scan.layout == "collinear" else split_scan(truth[0], scan.scan)
    inner = np.s_[:, 4:-4]
    assert np.corrcoef(forward[inner].ravel(), own[0][inner].ravel())[0, 1] > 0.99
    assert np.corrcoef(backward[:, 6:-2].ravel(), own[1][inner].ravel())[0, 1] > 0.99
    assert np.corrcoef(backward[inner].ravel(), own[1][inner].ravel())[0, 1] < 0.98


def test_the_truth_of_each_frame_that_is_read_is_passed_on() -> None:
    truths = {}
    scope = scope_of(n_frames=2, on_truth=truths.__setitem__)
    scope.open()
    while not isinstance(scope.read(0.0), StreamEnd):
        pass
    assert list(truths) == [0, 1]
    np.testing.assert_array_equal(truths[1], scope.render(1)[1])


def test_a_movie_is_the_stack_of_its_frames() -> None:
    pixels, truth = scope_of().render_movie(3)
    for index in range(3):
        frame, clean = scope_of().render(index)
        np.testing.assert_array_equal(pixels[index], frame)
        np.testing.assert_array_equal(truth[index], clean)
    assert (pixels.shape, pixels.dtype, truth.dtype) == ((3, 1, 64, 40), np.dtype("<i2"), np.float32)


def test_frames_do_not_depend_on_those_rendered_before() -> None:
    forward = scope_of()
    frames = [forward.render(index) for index in range(12)]
    for index in (11, 4, 0):
        pixels, truth = scope_of().render(index)
        np.testing.assert_array_equal(pixels, frames[index][0])
        np.testing.assert_array_equal(truth, frames[index][1])


def test_the_scan_seed_changes_only_the_noise() -> None:
    one, two = scope_of().render(3), scope_of(scan=change(COLLINEAR, seed=1)).render(3)
    np.testing.assert_array_equal(one[1], two[1])
    assert (one[0] != two[0]).mean() > 0.9


@pytest.mark.parametrize("x_correlation", [0.0, 0.3])
@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_noise_has_mean_0_and_the_expected_variance(scan: ScanSettings, x_correlation: float) -> None:
    scan = change(scan, dtype="<f4", size=(16, 24), photons=0.7, x_correlation=x_correlation)
    scope = scope_of(scan=scan)
    truth = scope.render(2)[1]
    total = np.zeros(scope.info.shape)
    n = 600
    for seed in range(n):
        again = scope_of(scan=change(scan, seed=seed))
        again.__dict__["tissue"] = scope.tissue
        total += again.render(2)[0]
    mean = total / n
    if scan.scan.layout == "collinear":
        mean = np.mean(split_scan(mean, scan.scan), axis=0)
    views = 2 if scan.scan.layout == "collinear" else 1
    spread = np.sqrt(((truth - 100) / 100 * 1.2 + 0.15**2) / n / views) * 100
    z = (mean - truth) / spread
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    assert z.std() == pytest.approx(1.0, abs=0.15)
    assert np.abs(z).max() < 5


@pytest.mark.parametrize(("photons", "excess"), [(0.3, 0.0), (5.0, 0.0), (2.0, 0.5)])
def test_the_variance_is_proportional_to_the_photons(photons: float, excess: float) -> None:
    scan = change(ORDINARY, size=(96, 96), dtype="<f4", photons=photons, excess=excess, read_noise=0.0, gain=50.0)
    scope = scope_of(scan=scan)
    pixels, truth = scope.render(1)
    variance_per_count = np.square(pixels - truth).sum() / (truth - 100).sum()
    assert variance_per_count == pytest.approx(50.0 * (1 + excess), rel=0.1)


def test_without_light_there_is_read_noise_alone() -> None:
    scan = change(ORDINARY, size=(96, 96), dtype="<f4", photons=0.0, read_noise=20.0, offset=-30.0)
    pixels, truth = scope_of(scan=scan).render(0)
    assert (truth == -30).all()
    assert pixels.mean() == pytest.approx(-30, abs=1.0)
    assert pixels.std() == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("rho", [0.0, 0.2, 0.5])
def test_noise_is_correlated_along_lines_and_only_there(rho: float) -> None:
    pixels, truth = scope_of(scan=change(ORDINARY, size=(160, 160), dtype="<f4", x_correlation=rho)).render(0)
    noise = ((pixels - truth) / np.sqrt((truth - 100) * 120 + 225))[0]
    assert np.square(noise).mean() == pytest.approx(1.0, rel=0.08)
    assert (noise[:, 1:] * noise[:, :-1]).mean() == pytest.approx(rho, abs=0.04)
    assert (noise[:, 2:] * noise[:, :-2]).mean() == pytest.approx(0.0, abs=0.04)
    assert (noise[1:] * noise[:-1]).mean() == pytest.approx(0.0, abs=0.04)


def test_the_noise_of_both_lines_of_a_pair_is_independent() -> None:
    scan = change(COLLINEAR, size=(96, 96), dtype="<f4")
    pixels, truth = scope_of(STILL, scan).render(0)
    forward, backward = (view - truth for view in split_scan(pixels, scan.scan))
    assert np.corrcoef(forward.ravel(), backward.ravel())[0, 1] == pytest.approx(0.0, abs=0.05)


def test_every_line_shows_the_tissue_at_its_time() -> None:
    scan = change(ORDINARY, vignette=0.0, photons=1.0, gain=1.0, offset=0.0)
    scope = scope_of(dataclasses.replace(SCENE, motion_px=3.0), scan)
    canvas, margin = scope.tissue.render(9), scope.tissue.margin
    truth = scope.render(9)[1][0]
    displacements = []
    for line in (0, 10, 32):
        (dy,), (dx,) = scope.tissue.motion.displacement(9, np.array([line / 33]))
        place, columns = line + margin + dy, np.arange(40) + margin + dx
        below = int(np.floor(place))
        row = canvas[below] + (place - below) * (canvas[below + 1] - canvas[below])
        np.testing.assert_allclose(truth[line], np.interp(columns, np.arange(row.size), row), rtol=1e-3, atol=1e-3)
        displacements.append((dy, dx))
    assert np.ptp(displacements, axis=0).max() > 0.5


def test_both_lines_of_a_collinear_pair_show_the_same_place() -> None:
    scan = change(COLLINEAR, photons=1e5, read_noise=0.0, excess=0.0, gain=0.1, dtype="<f4", offset=0.0)
    forward, backward = split_scan(scope_of(scan=scan).render(4)[0][0], scan.scan)
    same_pair = np.abs(forward - backward).mean()
    neighbours = np.abs(forward[1:] - backward[:-1]).mean()
    assert same_pair < 0.3 * neighbours


def test_still_silent_tissue_has_a_constant_truth() -> None:
    scope = scope_of(STILL)
    np.testing.assert_array_equal(scope.render(0)[1], scope.render(1234)[1])


def test_noise_differs_from_frame_to_frame() -> None:
    scope = scope_of(STILL, change(COLLINEAR, dtype="<f4"))
    noise = [scope.render(index)[0].ravel() - 100 for index in (0, 1)]
    assert (noise[0] != noise[1]).all()


@pytest.mark.parametrize("first", ["forward", "backward"])
@pytest.mark.parametrize("layout", ["collinear", "ordinary"])
def test_unmirrored_backward_lines_are_exactly_reversed(layout: Any, first: Any) -> None:
    upright = ScanGeometry(layout=layout, first=first)
    sampled = dataclasses.replace(upright, mirrored=False)
    pictures = [scope_of(scan=change(ORDINARY, scan=scan)).render(2) for scan in (upright, sampled)]
    backward = 1 if first == "forward" else 0
    np.testing.assert_array_equal(pictures[0][1], pictures[1][1])
    np.testing.assert_array_equal(pictures[0][0][0, 1 - backward :: 2], pictures[1][0][0, 1 - backward :: 2])
    np.testing.assert_array_equal(pictures[0][0][0, backward::2], pictures[1][0][0, backward::2, ::-1])


def test_a_unidirectional_scan_has_no_reversed_lines() -> None:
    one_way = [ScanGeometry(bidirectional=False, mirrored=mirrored) for mirrored in (True, False)]
    pictures = [scope_of(scan=change(ORDINARY, scan=scan)).render(2)[0] for scan in one_way]
    np.testing.assert_array_equal(pictures[0], pictures[1])


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_stamps_can_be_read_from_every_type_and_view(dtype: str, mirrored: bool) -> None:
    scan = ScanGeometry(layout="collinear", mirrored=mirrored)
    scope = scope_of(scan=change(COLLINEAR, dtype=dtype, scan=scan), stamped=True)
    pixels = scope.render(4321)[0]
    assert pixels.dtype == np.dtype(dtype)
    forward, backward = split_scan(pixels, scan)
    for view in (pixels, forward, backward, np.mean([forward, backward], axis=0)):
        assert read_stamp(view) == 4321


def test_counts_are_clipped_to_the_type() -> None:
    pixels = scope_of(scan=change(COLLINEAR, dtype="|u1", photons=50.0)).render(0)[0]
    assert (pixels == 255).mean() > 0.95


def test_default_settings_give_a_raw_correlation_of_0_3_to_0_5() -> None:
    correlations = []
    for seed in range(3):
        scope = scope_of(SceneSettings(kind="dense", seed=seed), ScanSettings(size=(96, 96)))
        frames = [scope.render(index) for index in range(0, 60, 5)]
        raw = np.concatenate([np.mean(split_scan(pixels, scope.info.scan), axis=0) for pixels, _ in frames])
        truth = np.concatenate([truth for _, truth in frames])
        correlations.append(np.corrcoef(raw.ravel(), truth.ravel())[0, 1])
    assert 0.3 < np.mean(correlations) < 0.5


def test_the_mean_is_the_requested_photons() -> None:
    scans = [change(COLLINEAR, photons=photons, size=(64, 64)) for photons in (0.2, 4.0)]
    means = [np.mean([scope_of(scan=scan).render(i)[1].mean() - 100 for i in range(0, 300, 30)]) for scan in scans]
    assert means[1] / means[0] == pytest.approx(20.0, rel=1e-3)
    assert means[0] == pytest.approx(20.0, rel=0.3)


def test_dark_counts_raise_mean_and_noise_without_light() -> None:
    scan = change(ORDINARY, size=(96, 96), dtype="<f4", photons=0.0, dark=0.5, excess=0.0, read_noise=0.0, gain=10.0)
    pixels, truth = scope_of(scan=scan).render(0)
    assert (truth == 105).all()
    assert pixels.mean() == pytest.approx(105, abs=0.4)
    assert pixels.var() == pytest.approx(0.5 * 10**2, rel=0.05)


def test_a_12_bit_digitiser_clips_at_4095() -> None:
    scan = change(COLLINEAR, dtype="<u2", bits=12, photons=30.0)
    pixels = scope_of(scan=scan).render(0)[0]
    assert pixels.max() == 4095
    assert (pixels == 4095).mean() > 0.05


def test_a_fast_scan_shows_less_motion_within_a_frame() -> None:
    scene = dataclasses.replace(SCENE, motion_px=4.0)
    quick = change(ORDINARY, line_us=1.0, photons=1e5, read_noise=0.0, excess=0.0, gain=0.01, dtype="<f4")
    tissue = scope_of(scene, quick).tissue
    (pixels, _), margin = scope_of(scene, quick).render(5), tissue.margin
    dy, dx = tissue.motion.displacement(5, np.zeros(1))
    canvas = tissue.render(5) * 1000 + 100
    y, x = np.arange(33) + margin + dy, np.arange(40) + margin + dx
    top, left = int(y[0]), int(x[0])
    down, right = y[0] - top, x[0] - left
    block = canvas[top : top + 34, left : left + 41]
    rows = block[:-1] + down * (block[1:] - block[:-1])
    still = rows[:, :-1] + right * (rows[:, 1:] - rows[:, :-1])
    assert np.corrcoef(pixels[0].ravel(), still.ravel())[0, 1] > 0.97


def test_fast_blood_differs_between_the_two_lines_of_a_pair() -> None:
    correlation = {}
    for flow in (0.3, 30.0):
        scene = SceneSettings(kind="flow", seed=3, motion_px=0, activity=0, soma_radius_px=5.0, flow_mm_s=flow)
        scan = change(COLLINEAR, size=(96, 96), line_us=64.0, photons=1e5, gain=0.01, dtype="<f4", vignette=0.0)
        scope = scope_of(scene, scan)
        forward, backward = (view[0] for view in split_scan(scope.render(4)[0], scan.scan))
        moved = np.abs(scope.render(4)[1][0] - scope.render(5)[1][0]) > 20
        assert moved.mean() > 0.02
        correlation[flow] = np.corrcoef(forward[moved], backward[moved])[0, 1]
    assert correlation[0.3] > 0.99
    assert correlation[30.0] < 0.98


def test_a_beating_heart_deforms_the_frames() -> None:
    scene = SceneSettings(kind="heart", seed=3, motion_px=0, activity=0, soma_radius_px=3.0, beat_px=4.0, blood=False)
    scan = change(COLLINEAR, size=(96, 96), line_us=64.0)
    scope = scope_of(scene, scan)
    assert scope.tissue.beat is not None
    still = scope_of(dataclasses.replace(scene, beat_px=0.0), scan)
    assert np.ptp([scope.render(t)[1] for t in range(10)], axis=0).max() > 20
    assert np.ptp([still.render(t)[1] for t in range(10)], axis=0).max() == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"photons": -1.0},
            (
                "photons -1.0, gain 100.0, dark counts 0.0, read noise 15.0, excess 0.2; expected none of them "
                "negative and a gain above 0; check the scan settings."
            ),
        ),
        (
            {"line_us": 200.0},
            (
                "256 lines of 200.0 us at 30 frames per second; expected lines that fit into the frame period; lower "
                "the rate, the lines or their duration."
            ),
        ),
        (
            {"bits": 16},
            (
                "a mirror that samples in 0.0 of its swing, 16 bits in pixels of type <i2; expected 0 to less than 1 "
                "of the swing and, for this type, 1 to 15 bits or none; check the scan settings."
            ),
        ),
        (
            {"x_correlation": 0.6},
            (
                "a noise correlation of 0.6; expected 0 to 0.5, the largest possible in an average of two pixels; "
                "check the scan settings."
            ),
        ),
        (
            {"vignette": 1.0},
            (
                "a vignette of 1.0; expected at least 0 and less than 1, the share of light lost in the corners; check "
                "the scan settings."
            ),
        ),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(StreamError) as caught:
        ScanSettings(**fields)  # type: ignore[arg-type]
    assert str(caught.value) == message
