"""What the card really draws, read back pixel by pixel, without a screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from deepbid_rt.viewer.camera import Camera
from deepbid_rt.viewer.colors import BACKGROUND, MAPS, NOT_A_NUMBER, compose
from deepbid_rt.viewer.panels import Panel, Scene
from deepbid_rt.viewer.view import NOT_FINITE

pytest.importorskip("vispy", reason="the viewer extra is not installed", exc_type=ImportError)

SIDE = "raw", "denoised"
rng = np.random.default_rng(0)


@pytest.fixture
def canvas() -> Iterator[Any]:
    if sys.platform != "linux":
        pytest.skip("drawing without a screen is tested with EGL, which is Linux's")
    os.environ.setdefault("EGL_PLATFORM", "surfaceless")
    from deepbid_rt.viewer.canvas import ImageCanvas

    try:
        canvas = ImageCanvas("egl", size=(64 + 4 + 64, 48))
    except (RuntimeError, OSError) as error:
        pytest.skip(f"no GL without a screen ({error}); Debian: apt-get install libegl1 libgl1-mesa-dri")
    yield canvas
    canvas.close()
    # An EGL context that stays current would keep Qt from making its own current in this thread.
    from vispy.app.backends import _egl

    egl = _egl.egl
    egl.eglMakeCurrent(_egl._EGL_DISPLAY, egl.EGL_NO_SURFACE, egl.EGL_NO_SURFACE, egl.EGL_NO_CONTEXT)


def a_scene(
    image: np.ndarray, panels: list[Panel], limits: Any = ((0, 100),), maps: Any = ("gray",), **more: Any
) -> Scene:
    camera = Camera()
    camera.fit((64 if len(panels) == 2 else 132, 48), image.shape[1:])
    sources = ("raw", "average", "denoised")
    return Scene(panels, camera, list(maps), {source: list(limits) for source in sources}, **more)


def render(canvas: Any, images: dict, scene: Scene) -> np.ndarray:
    canvas.upload({name: np.ascontiguousarray(image, np.float32) for name, image in images.items()})
    canvas._scene = scene
    return canvas.render(alpha=False).astype(float) / 255


def both(**more: Any) -> list[Panel]:
    return [Panel("raw", "raw", **more), Panel("denoised", "denoised", **more)]


@pytest.mark.parametrize("name", MAPS)
def test_each_pixel_has_the_colour_of_its_count(canvas: Any, name: str) -> None:
    raw = rng.uniform(-20, 120, (1, 48, 64)).astype(np.float32)
    den = rng.uniform(-20, 120, (1, 48, 64)).astype(np.float32)
    got = render(canvas, {"raw": raw, "denoised": den}, a_scene(raw, both(), maps=[name]))
    np.testing.assert_allclose(got[:, :64], compose(raw, [(0, 100)], [name]), atol=1.6 / 255)
    np.testing.assert_allclose(got[:, 68:], compose(den, [(0, 100)], [name]), atol=1.6 / 255)
    np.testing.assert_allclose(got[:, 64:68], np.broadcast_to(BACKGROUND, (48, 4, 3)), atol=1.6 / 255)


def test_channels_are_merged_as_the_reference_does(canvas: Any) -> None:
    image = rng.uniform(0, 100, (3, 48, 64)).astype(np.float32)
    limits, maps = [(0, 100), (20, 60), (-50, 300)], ["green", "magenta", "fire"]
    got = render(canvas, {"raw": image, "denoised": image}, a_scene(image, both(), limits, maps))
    np.testing.assert_allclose(got[:, :64], compose(image, limits, maps), atol=3 / 255)


def test_what_is_not_finite_is_marked(canvas: Any) -> None:
    image = np.zeros((1, 48, 64), np.float32)
    image[0, 5, 7] = NOT_FINITE
    got = render(canvas, {"raw": image, "denoised": image}, a_scene(image, both()))
    np.testing.assert_allclose(got[5, 7], NOT_A_NUMBER, atol=1.6 / 255)
    assert got[5, 8].sum() == 0


def test_swipe_shows_one_left_and_one_right_of_the_line(canvas: Any) -> None:
    raw, den = np.full((1, 48, 132), 25), np.full((1, 48, 132), 75)
    panels = [Panel("", "raw", "denoised", "swipe")]
    got = render(canvas, {"raw": raw, "denoised": den}, a_scene(raw, panels, split=0.25))
    assert got[24, 20, 0] == pytest.approx(0.25, abs=0.01)
    assert got[24, 33].min() == 1
    assert got[24, 100, 0] == pytest.approx(0.75, abs=0.01)


def test_a_difference_is_gray_where_both_are_equal(canvas: Any) -> None:
    raw, den = np.full((1, 48, 132), 50.0), np.full((1, 48, 132), 50.0)
    den[0, :, 66:] += 50
    panels = [Panel("", "raw", "denoised", "difference")]
    got = render(canvas, {"raw": raw, "denoised": den}, a_scene(raw, panels))
    assert got[24, 30, 0] == pytest.approx(0.5, abs=0.01)
    assert got[24, 100, 0] == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 256, 1024), (1, 1024, 256), (8, 3, 5)])
def test_odd_sizes_one_after_the_other(canvas: Any, shape: tuple) -> None:
    for size in (shape, (1, 48, 64), shape):
        image = np.full(size, 100.0)
        count = min(size[0], 4)
        scene = a_scene(image, both(), [(0, 100)] * count, ["gray"] * count)
        got = render(canvas, {"raw": image[:count], "denoised": image[:count]}, scene)
        assert got[24, 32].min() == 1


def test_an_image_larger_than_the_card_takes_is_thinned_out(canvas: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepbid_rt.viewer.canvas.MAX_TEXTURE", 32)
    image = np.zeros((2, 48, 64))
    image[:, :, 32:] = 100
    scene = a_scene(image, both(), [(0, 100)] * 2, ["green", "magenta"])
    got = render(canvas, {"raw": image, "denoised": image}, scene)
    assert got[:, 1:30].max() == 0
    assert got[:, 34:64].min() == 1


def test_zooming_shows_fewer_and_larger_pixels(canvas: Any) -> None:
    image = rng.uniform(0, 100, (1, 48, 64)).astype(np.float32)
    scene = a_scene(image, both())
    scene.camera.zoom(8, (0, 0), (64, 48))
    got = render(canvas, {"raw": image, "denoised": image}, scene)
    expected = compose(image, [(0, 100)], ["gray"])[:6, :8].repeat(8, 0).repeat(8, 1)
    np.testing.assert_allclose(got[:, :64], expected, atol=1.6 / 255)
    np.testing.assert_allclose(got[:, 68:], expected, atol=1.6 / 255)


def test_outside_the_image_is_background(canvas: Any) -> None:
    image = np.full((1, 48, 16), 100.0)
    got = render(canvas, {"raw": image, "denoised": image}, a_scene(image, both()))
    np.testing.assert_allclose(got[24, 10], BACKGROUND, atol=1.6 / 255)
    assert got[24, 32].min() == 1


def test_a_picture_that_is_missing_leaves_its_panel_empty(canvas: Any) -> None:
    image = np.full((1, 48, 64), 100.0)
    render(canvas, {"raw": image, "denoised": image}, a_scene(image, both()))
    got = render(canvas, {"denoised": image}, a_scene(image, both()))
    np.testing.assert_allclose(got[24, 32], BACKGROUND, atol=1.6 / 255)
    assert got[24, 100].min() == 1


def test_regions_are_outlined_in_every_panel(canvas: Any) -> None:
    image = np.zeros((1, 48, 64))
    outline = [(10.5, 10.5), (30.5, 10.5), (30.5, 30.5), (10.5, 30.5), (10.5, 10.5)]
    scene = a_scene(image, both(), outlines=[(outline, (1.0, 0.0, 0.0))])
    got = render(canvas, {"raw": image, "denoised": image}, scene)
    red = (got[..., 0] > 0.9) & (got[..., 1] < 0.1)
    assert red[10, 12:29].all()
    assert red[12:29, 68 + 30].all()
    assert not red[20, 20]


def test_before_the_first_scene_there_is_background(canvas: Any) -> None:
    got = canvas.render(alpha=False).astype(float) / 255
    np.testing.assert_allclose(got, np.broadcast_to(BACKGROUND, got.shape), atol=1.6 / 255)
