from __future__ import annotations

from typing import Any

import pytest

from deepbid_rt.viewer.camera import Camera, place_panels
from deepbid_rt.viewer.controls import Controls
from deepbid_rt.viewer.pointer import Pointer

PANELS = place_panels(2, 804, 400)


@pytest.fixture
def drawn() -> list[Any]:
    return []


@pytest.fixture
def pointer(drawn: list[Any]) -> Pointer:
    camera = Camera()
    camera.fit((400, 400), (100, 100))
    return Pointer(Controls(), camera, lambda shape, points: drawn.append((shape, points)))


def drag(pointer: Pointer, *path: tuple[float, float]) -> None:
    pointer.press(path[0], PANELS)
    for at in path[1:]:
        pointer.move(at)
    pointer.release(path[-1])


def test_dragging_moves_the_picture(pointer: Pointer, drawn: list[Any]) -> None:
    drag(pointer, (100, 100), (140, 80))
    assert pointer._camera.center == (40, 55)
    assert not drawn
    assert not pointer.move((0, 0))


@pytest.mark.parametrize("panel", [0, 1])
def test_a_region_is_drawn_in_image_pixels_in_whichever_panel(pointer: Pointer, drawn: list[Any], panel: int) -> None:
    pointer._controls.act("rectangle")
    x = PANELS[panel].x
    drag(pointer, (x + 40, 80), (x + 90, 90), (x + 200, 160))
    assert drawn == [("rectangle", ((10, 20), (50, 40)))]
    assert pointer._controls.tool is None


def test_a_lasso_keeps_all_its_points(pointer: Pointer, drawn: list[Any]) -> None:
    pointer._controls.act("lasso")
    drag(pointer, (0, 0), (40, 0), (40, 40))
    assert drawn == [("lasso", ((0, 0), (10, 0), (10, 10), (10, 10)))]


def test_a_click_draws_nothing_and_keeps_the_tool(pointer: Pointer, drawn: list[Any]) -> None:
    pointer._controls.act("ellipse")
    drag(pointer, (50, 50), (50, 50))
    assert not drawn
    assert pointer._controls.tool == "ellipse"
    assert pointer.points == []


def test_only_a_drag_that_starts_at_the_dividing_line_moves_it(pointer: Pointer) -> None:
    (panel,) = place_panels(1, 804, 400)
    pointer._controls.act("swipe")
    pointer.press((404, 10), [panel])
    pointer.move((201, 300))
    pointer.release((201, 300))
    assert pointer._controls.split == 0.25
    pointer.press((600, 10), [panel])
    pointer.move((640, 10))
    pointer.release((640, 10))
    assert pointer._controls.split == 0.25
    assert pointer._camera.center[0] < 50


def test_the_wheel_zooms_about_the_pointer(pointer: Pointer) -> None:
    before = pointer._camera.to_image((96, 300), (400, 400))
    pointer.wheel((500, 300), 2, PANELS)
    assert pointer._camera.scale > 4
    assert pointer._camera.to_image((96, 300), (400, 400)) == pytest.approx(before)


def test_nothing_happens_between_the_panels(pointer: Pointer) -> None:
    drag(pointer, (402, 100), (300, 100))
    pointer.wheel((402, 100), 1, PANELS)
    assert pointer._camera.fitted
