from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.viewer.camera import Camera, place_panels

sides = st.integers(1, 3000)
points = st.tuples(st.floats(0, 800), st.floats(0, 600))


@given(st.integers(1, 4), sides, sides)
def test_panels_are_equal_and_do_not_touch(count: int, width: int, height: int) -> None:
    panels = place_panels(count, width, height)
    assert len({(p.width, p.height) for p in panels}) == 1
    assert all(a.x + a.width < b.x for a, b in itertools.pairwise(panels))
    if width > 50:
        assert panels[-1].x + panels[-1].width <= width


@given(sides, sides)
def test_the_whole_image_fits(lines: int, pixels: int) -> None:
    camera = Camera()
    camera.fit((640, 560), (lines, pixels))
    x0, y0 = camera.to_panel((0, 0), (640, 560))
    x1, y1 = camera.to_panel((pixels, lines), (640, 560))
    assert min(x0, y0) >= -1e-6
    assert x1 <= 640 + 1e-6
    assert y1 <= 560 + 1e-6
    assert max((x1 - x0) / 640, (y1 - y0) / 560) == pytest.approx(1)


@given(points, st.floats(0.1, 10), points)
def test_zooming_keeps_the_image_point_under_the_pointer(at: tuple, factor: float, other: tuple) -> None:
    camera, panel = Camera(), (800, 600)
    camera.fit(panel, (512, 512))
    camera.pan(*other)
    before = camera.to_image(at, panel)
    camera.zoom(factor, at, panel)
    assert camera.to_image(at, panel) == pytest.approx(before, abs=1e-6)
    assert camera.to_panel(before, panel) == pytest.approx(at, abs=1e-5)
    assert not camera.fitted


def test_zoom_has_limits() -> None:
    camera = Camera()
    camera.fit((100, 100), (1, 1))
    for _ in range(100):
        camera.zoom(2, (50, 50), (100, 100))
    assert camera.scale == 400
    for _ in range(100):
        camera.zoom(0.5, (50, 50), (100, 100))
    assert camera.scale == 25
