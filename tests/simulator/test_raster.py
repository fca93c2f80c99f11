"""Raster: every pixel from the right place at the right time, along straight, deformed and resonant lines."""

import math

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.simulator.raster import Raster

MARGIN = 5
Y, X = np.mgrid[:30, :34].astype(np.float32)
COLLINEAR, ORDINARY = ScanGeometry("collinear"), ScanGeometry("ordinary")


def raster_of(scan: ScanGeometry = COLLINEAR, line_share: float | None = None, fill: float = 0.0) -> Raster:
    return Raster((20, 24), scan, line_share, fill)


def ramp(a: float, b: float) -> np.ndarray:
    return (a * Y + b * X).astype(np.float32)


@pytest.mark.parametrize("warped", [False, True])
@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_a_ramp_is_sampled_where_the_tissue_is(scan: ScanGeometry, warped: bool) -> None:
    raster = raster_of(scan)
    rng = np.random.default_rng(2)
    shift = rng.uniform(-2, 2, (2, raster.row.size))
    warp = rng.uniform(-2, 2, (2, raster.row.size, 24)).astype(np.float32) if warped else None
    places = np.stack(
        [np.broadcast_to(raster.row[:, None], (raster.row.size, 24)), np.mgrid[: raster.row.size, :24][1]]
    )
    places = places + shift[:, :, None] + (0 if warp is None else warp) + MARGIN
    for a, b in ((1, 0), (0, 1), (0.3, -2)):
        light = raster.sample([ramp(a, b)], MARGIN, shift, warp)
        np.testing.assert_allclose(light, a * places[0] + b * places[1], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("first", ["forward", "backward"])
@pytest.mark.parametrize("layout", ["collinear", "ordinary"])
@pytest.mark.parametrize("fill", [0.0, 0.9])
def test_a_line_phase_moves_backward_lines_to_the_right(layout: str, first: str, fill: float) -> None:
    scan = ScanGeometry(layout, first=first)
    backward = slice(1 if first == "forward" else 0, None, 2)
    plain, shifted = (Raster((20, 24), scan, None, fill, px) for px in (0.0, 1.5))
    still = np.zeros((2, plain.row.size))
    expected = plain.sample([ramp(0, 1)], MARGIN, still)
    expected[backward] -= 1.5  # the same brightness of a ramp lies 1.5 px further right
    np.testing.assert_allclose(shifted.sample([ramp(0, 1)], MARGIN, still), expected, atol=1e-4)


def test_unidirectional_scans_have_no_line_phase_and_it_is_at_most_a_quarter_line() -> None:
    scan = ScanGeometry("ordinary", bidirectional=False)
    plain, shifted = (Raster((20, 24), scan, None, 0.0, px) for px in (0.0, 3.0))
    still = np.zeros((2, 20))
    expected = plain.sample([ramp(0, 1)], MARGIN, still)
    np.testing.assert_array_equal(shifted.sample([ramp(0, 1)], MARGIN, still), expected)
    for px in (6.5, -6.5, math.nan):
        with pytest.raises(StreamError, match="a quarter of a line at most"):
            Raster((20, 24), COLLINEAR, None, 0.0, px)


def test_no_warp_equals_a_warp_of_zero() -> None:
    raster = raster_of()
    canvas = np.random.default_rng(0).random((30, 34), np.float32)
    shift = np.random.default_rng(1).uniform(-2, 2, (2, 40))
    warped = raster.sample([canvas], MARGIN, shift, np.zeros((2, 40, 24), np.float32))
    np.testing.assert_allclose(raster.sample([canvas], MARGIN, shift), warped, atol=1e-5)


def test_each_view_of_a_row_can_have_its_own_canvas() -> None:
    light = raster_of().sample(
        [np.zeros((30, 34), np.float32), np.ones((30, 34), np.float32)], MARGIN, np.zeros((2, 40))
    )
    assert not light[0::2].any()
    assert (light[1::2] == 1).all()


@pytest.mark.parametrize("first", ["forward", "backward"])
@pytest.mark.parametrize("scan", ["collinear", "ordinary"])
def test_the_clock_follows_the_beam(scan: str, first: str) -> None:
    geometry = ScanGeometry(scan, first=first)
    raster = raster_of(geometry, line_share=0.01)
    for view in range(raster.views):
        clock = raster.clock(MARGIN, view)
        for row in (0, 1, 19):
            line = row * raster.views + view
            ends = clock(np.array([row, row]) + MARGIN, np.array([0, 24]) + MARGIN)
            backward = (line % 2 == 1) == (first == "forward")
            expected = np.array([line + 1, line] if backward else [line, line + 1]) * 0.01
            np.testing.assert_allclose(ends, expected, atol=1e-12)
            assert raster.phase[line] == pytest.approx(line * 0.01)
            assert raster.row[line] == row


def test_without_a_line_duration_the_lines_fill_the_frame() -> None:
    raster = raster_of()
    np.testing.assert_allclose(raster.phase, np.arange(40) / 40)
    assert raster.clock(MARGIN, 1)(np.array([19 + MARGIN]), np.array([MARGIN]))[0] == pytest.approx(1.0)


def test_all_lines_of_a_unidirectional_scan_run_forward() -> None:
    raster = raster_of(ScanGeometry("ordinary", bidirectional=False))
    rows = np.arange(20) + MARGIN
    early, late = (raster.clock(MARGIN, 0)(rows, np.full(20, MARGIN + x)) for x in (0, 23))
    assert (late > early).all()


def test_a_resonant_mirror_is_fast_in_the_middle_and_slow_at_the_ends() -> None:
    """Pixels evenly spaced in time lie at the sine of their phase, and their range ends at the edges of the field."""
    light = raster_of(fill=0.9).sample([ramp(0, 1)], MARGIN, np.zeros((2, 40)))[0] - MARGIN
    swing = 0.9 * math.pi / 2
    phase = swing * (2 * np.arange(24) + 1 - 24) / 24
    np.testing.assert_allclose(light, 12 * np.sin(phase) / math.sin(swing) + 11.5, atol=1e-3)
    step = np.diff(light)
    assert step[11] > 1.3
    assert step[0] < 0.5
    assert light[0] > -0.5
    assert light[-1] < 23.5
