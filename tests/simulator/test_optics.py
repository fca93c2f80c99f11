"""Optics: a focus of the published width that grows with depth, and sections with the right sum."""

import math

import numpy as np
import pytest

from deepbid_rt.simulator.optics import Optics


def test_the_focus_at_the_surface_has_the_published_width() -> None:
    """NA 0.5 at 920 nm in water: 1/e radii of 0.416 um sideways and 3.55 um along the beam."""
    fine = Optics(depth_um=0.0, pixel_um=0.01)
    assert fine.lateral_px * 0.01 == pytest.approx(0.416 / math.sqrt(2), rel=0.01)
    assert fine.axial_px * 0.01 == pytest.approx(3.55 / math.sqrt(2), rel=0.01)


def test_focus_and_haze_grow_with_depth() -> None:
    for name in ("lateral_px", "axial_px", "haze"):
        values = [getattr(Optics(depth, 0.5), name) for depth in (0.0, 200.0, 600.0)]
        assert values == sorted(values)
        assert values[0] < values[2]
    assert Optics(0.0, 0.5).haze == 0
    assert Optics(5000.0, 0.5).haze < 1


def test_the_focus_is_at_least_as_wide_as_the_area_of_a_pixel() -> None:
    assert Optics(0.0, 20.0).lateral_px >= 0.6


@pytest.mark.parametrize("away", [-7.0, 0.0, 3.0])
def test_sections_of_a_large_ball_sum_to_1_and_of_a_small_one_to_its_share(away: float) -> None:
    optics = Optics(200.0, 1.0)
    assert sum(share for _, share in optics.sections(60.0, away)) == pytest.approx(1.0, abs=1e-6)
    thin = 0.02 * optics.response(away) / (math.sqrt(2 * math.pi) * optics.axial_px)
    assert sum(share for _, share in optics.sections(0.01, away)) == pytest.approx(thin, rel=1e-4)


def test_the_nearer_half_of_a_ball_gives_more_light() -> None:
    sections = Optics(100.0, 1.0).sections(5.0, 4.0)
    distances, shares = np.array(sections).T
    assert (np.diff(distances) > 0).all()
    assert (np.diff(shares) > 0).all()
