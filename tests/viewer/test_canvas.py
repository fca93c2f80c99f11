"""The drawn pixels, read back from an OpenGL context without a screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from deepbid_rt.viewer.camera import Camera
from deepbid_rt.viewer.colors import BACKGROUND
from deepbid_rt.viewer.panels import Panel, Scene

pytest.importorskip("vispy", reason="the viewer extra is not installed", exc_type=ImportError)

from deepbid_rt.viewer.canvas import MARK_COLOR

SIZE = (64 + 4 + 64, 48)
rng = np.random.default_rng(0)


@pytest.fixture
def canvas() -> Iterator[Any]:
    if sys.platform != "linux":
        pytest.skip("drawing without a screen is tested with EGL, which is Linux's")
    os.environ.setdefault("EGL_PLATFORM", "surfaceless")
    from vispy import app

    from deepbid_rt.viewer.canvas import Canvas

    try:
        surface = app.Canvas(app="egl", size=SIZE, show=False)
    except (RuntimeError, OSError) as error:
        pytest.skip(f"no GL without a screen ({error}); Debian: apt-get install libegl1 libgl1-mesa-dri")
    surface.set_current()
    yield Canvas()
    surface.close()
    # An EGL context that stays current would keep Qt from making its own current in this thread.
    from vispy.app.backends import _egl

    egl = _egl.egl
    egl.eglMakeCurrent(_egl._EGL_DISPLAY, egl.EGL_NO_SURFACE, egl.EGL_NO_SURFACE, egl.EGL_NO_CONTEXT)


def a_picture(lines: int, pixels: int, color: tuple[int, int, int] | None = None) -> np.ndarray:
    """Return a picture of one colour, or of random colours."""
    picture = rng.integers(0, 256, (lines, pixels, 4)).astype(np.uint8)
    picture[..., 3] = 255
    if color is not None:
        picture[..., :3] = color
    return picture


def a_scene(panels: list[Panel], image: tuple[int, int] = (48, 64), **more: Any) -> Scene:
    camera = Camera()
    camera.fit((64 if len(panels) == 2 else 132, 48), image)
    return Scene(panels, camera, image, **more)


def render(canvas: Any, scene: Scene | None) -> np.ndarray:
    """Draw, and return the pixels (height, width, 3) from 0 to 1."""
    from vispy import gloo

    canvas.draw(scene, SIZE)
    return gloo.read_pixels((0, 0, *SIZE), alpha=False).astype(float) / 255


SIDE = [Panel("raw", "raw"), Panel("denoised", "denoised")]
WHITE, RED, BLUE = (255, 255, 255), (255, 0, 0), (0, 0, 255)


def same(got: np.ndarray, expected: Any) -> None:
    np.testing.assert_allclose(got, np.broadcast_to(expected, got.shape), atol=0.6 / 255)


def test_each_pixel_of_each_picture_is_on_the_screen(canvas: Any) -> None:
    raw, den = a_picture(48, 64), a_picture(48, 64)
    got = render(canvas, a_scene(SIDE, pictures={"raw": raw, "denoised": den}))
    same(got[:, :64], raw[..., :3] / 255)
    same(got[:, 68:], den[..., :3] / 255)
    same(got[:, 64:68], np.array(BACKGROUND))


def test_a_new_picture_replaces_the_old_one(canvas: Any) -> None:
    for _ in range(3):
        raw, den = a_picture(48, 64), a_picture(48, 64)
        got = render(canvas, a_scene(SIDE, pictures={"raw": raw, "denoised": den}))
        same(got[:, :64], raw[..., :3] / 255)
        same(got[:, 68:], den[..., :3] / 255)


def test_a_picture_that_is_the_same_array_is_not_sent_again(canvas: Any) -> None:
    picture = a_picture(48, 64, RED)
    scene = a_scene(SIDE, pictures={"raw": picture, "denoised": picture})
    render(canvas, scene)
    picture[:] = 0
    same(render(canvas, scene)[:, :64], (1, 0, 0))


def test_swipe_shows_one_picture_on_each_side_of_the_line(canvas: Any) -> None:
    pictures = {"raw": a_picture(48, 132, RED), "denoised": a_picture(48, 132, BLUE)}
    scene = a_scene([Panel("", "raw", "denoised", "swipe")], (48, 132), pictures=pictures, split=0.25)
    got = render(canvas, scene)
    same(got[:, :32], (1, 0, 0))
    same(got[:, 32:34], 1)
    same(got[:, 34:], (0, 0, 1))
    got = render(canvas, a_scene(SIDE, (48, 132), pictures=pictures))
    same(got[20:28, :64], (1, 0, 0))
    same(got[0], np.array(BACKGROUND))  # not the white of the line


def test_a_difference_is_one_picture_of_two(canvas: Any) -> None:
    panels = [Panel("", "raw", "denoised", "difference")]
    got = render(canvas, a_scene(panels, (48, 132), pictures={"difference": a_picture(48, 132, BLUE)}))
    same(got, (0, 0, 1))


@pytest.mark.parametrize("shape", [(1, 1), (256, 1024), (1024, 256), (3, 5)])
def test_unusual_sizes_are_drawn_one_after_the_other(canvas: Any, shape: tuple[int, int]) -> None:
    for size in (shape, (48, 64), shape):
        picture = a_picture(*size, WHITE)
        got = render(canvas, a_scene(SIDE, size, pictures={"raw": picture, "denoised": picture}))
        same(got[24, 32], 1)
        same(got[24, 100], 1)


def test_a_thinned_picture_fills_the_place_of_its_image(canvas: Any) -> None:
    picture = a_picture(5, 7, WHITE)
    got = render(canvas, a_scene(SIDE, (48, 64), pictures={"raw": picture, "denoised": picture}))
    same(got[:, :64], 1)


def test_zooming_shows_fewer_and_larger_pixels(canvas: Any) -> None:
    picture = a_picture(48, 64)
    scene = a_scene(SIDE, pictures={"raw": picture, "denoised": picture})
    scene.camera.zoom(8, (0, 0), (64, 48))
    got = render(canvas, scene)
    expected = picture[:6, :8, :3].repeat(8, 0).repeat(8, 1) / 255
    same(got[:, :64], expected)
    same(got[:, 68:], expected)


def test_outside_the_image_is_background(canvas: Any) -> None:
    picture = a_picture(48, 16, WHITE)
    got = render(canvas, a_scene(SIDE, (48, 16), pictures={"raw": picture, "denoised": picture}))
    same(got[:, :24], np.array(BACKGROUND))
    same(got[:, 24:40], 1)
    same(got[:, 40:68], np.array(BACKGROUND))


def test_a_missing_picture_leaves_its_panel_empty(canvas: Any) -> None:
    picture = a_picture(48, 64, WHITE)
    render(canvas, a_scene(SIDE, pictures={"raw": picture, "denoised": picture}))
    got = render(canvas, a_scene(SIDE, pictures={"denoised": picture}))
    same(got[:, :68], np.array(BACKGROUND))
    same(got[:, 68:], 1)


def test_regions_are_outlined_in_every_panel(canvas: Any) -> None:
    black = a_picture(48, 64, (0, 0, 0))
    outline = [(10.5, 10.5), (30.5, 10.5), (30.5, 30.5), (10.5, 30.5), (10.5, 10.5)]
    pictures = {"raw": black, "denoised": black}
    got = render(canvas, a_scene(SIDE, pictures=pictures, outlines=[(outline, (1.0, 0.0, 0.0))]))
    red = (got[..., 0] > 0.9) & (got[..., 1] < 0.1)
    assert red[10, 12:29].all()
    assert red[12:29, 68 + 30].all()
    assert not red[20, 20]


def test_before_the_first_scene_there_is_background(canvas: Any) -> None:
    same(render(canvas, None), np.array(BACKGROUND))


def test_a_marked_picture_has_a_frame_and_words_that_stay_when_the_image_is_moved(canvas: Any) -> None:
    black = a_picture(48, 64, (0, 0, 0))
    canvas._words["NOT DENOISED: raw"] = a_picture(6, 20, WHITE)
    scene = a_scene(SIDE, pictures={"raw": black, "denoised": black}, marks={"denoised": "NOT DENOISED: raw"})
    for _ in range(2):
        got = render(canvas, scene)
        same(got[:, :64], 0)
        for edge in (got[-1, 68:], got[10:, 68], got[10:, -1], got[0, 90:]):
            same(edge, np.array(MARK_COLOR))
        same(got[:6, 68:88], 1)
        same(got[20, 100], 0)
        scene.camera.zoom(4, (0, 0), (64, 48))
    same(render(canvas, a_scene(SIDE, pictures={"raw": black, "denoised": black}))[:, 68:], 0)


def test_only_its_own_side_of_the_dividing_line_is_marked(canvas: Any) -> None:
    pictures = {"raw": a_picture(48, 132, (0, 0, 0)), "denoised": a_picture(48, 132, BLUE)}
    panels = [Panel("", "raw", "denoised", "swipe")]
    for split in (0.25, 0.0, 1.0):
        scene = a_scene(panels, (48, 132), pictures=pictures, split=split, marks={"denoised": "words"})
        got = render(canvas, scene)
        marked = np.isclose(got, np.array(MARK_COLOR), atol=1 / 255).all(axis=2)
        at = round(split * 132)
        assert not marked[:, :at].any()
        assert marked[:, -1].all() == (split < 1)


def test_outlines_are_drawn_where_they_belong_on_a_marked_picture(canvas: Any) -> None:
    black = a_picture(48, 64, (0, 0, 0))
    outline = [(10.5, 10.5), (30.5, 10.5), (30.5, 30.5), (10.5, 30.5), (10.5, 10.5)]
    lines = [(outline, (0.0, 1.0, 0.0))]
    pictures = {"raw": black, "denoised": black}
    scene = a_scene(SIDE, pictures=pictures, outlines=lines, marks={"raw": "words", "denoised": "words"})
    got = render(canvas, scene)
    green = (got[..., 1] > 0.9) & (got[..., 0] < 0.1)
    assert green[12:29, 68 + 30].all()
    assert green[12:29, 30].all()
