"""Draws scenes on the graphics card: textures that change only when a picture does, contrast and colour on the card.

The only module that imports vispy. Knows no window, stream or mouse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vispy import app, gloo

from deepbid_rt.viewer.camera import Rect, place_panels
from deepbid_rt.viewer.colors import BACKGROUND, MAPS, NOT_A_NUMBER, STEPS, color_table
from deepbid_rt.viewer.panels import Panel, Scene, Source
from deepbid_rt.viewer.shaders import IMAGE_FRAGMENT, IMAGE_VERTEX, LINE_FRAGMENT, LINE_VERTEX

MAX_TEXTURE = 8192
"""Sides that every card takes; larger images are thinned out for drawing."""
_MIXES = {"first": 0, "swipe": 1, "difference": 2}
_CORNERS = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)
_CHANNELS = 4


class ImageCanvas(app.Canvas):  # type: ignore[misc]  # vispy has no types
    """A canvas for `Scene`.

    Parameters
    ----------
    backend : str
        vispy's name of the toolkit: ``pyside6`` in a window, ``egl`` without a screen.
    size : tuple of int
        Width and height, pixels.
    parent : widget, optional
        Of the native widget.
    """

    def __init__(self, backend: str = "pyside6", size: tuple[int, int] = (800, 400), parent: Any = None) -> None:
        super().__init__(keys=None, size=size, app=backend, parent=parent, show=False)
        self._scene: Scene | None = None
        self._shape: tuple[int, int] = (1, 1)
        self._textures: dict[Source, gloo.Texture2D] = {}
        self._shown: set[Source] = set()
        self._images = gloo.Program(IMAGE_VERTEX, IMAGE_FRAGMENT)
        self._images["a_position"] = _CORNERS
        tables = np.stack([color_table(name) for name in MAPS])
        self._images["u_tables"] = gloo.Texture2D(
            tables, internalformat="rgb32f", interpolation="nearest", wrapping="clamp_to_edge"
        )
        self._images["u_steps"] = (float(STEPS), float(len(MAPS)))
        self._images["u_background"], self._images["u_odd"] = BACKGROUND, NOT_A_NUMBER
        self._lines = gloo.Program(LINE_VERTEX, LINE_FRAGMENT)

    def upload(self, images: Mapping[Source, NDArray[np.float32]]) -> None:
        """Take new pictures, (C, Y, X) each, all of one shape; those that are missing are not drawn any more."""
        self._shown = set(images)
        for source, image in images.items():
            channels, lines, pixels = image.shape
            self._shape = (lines, pixels)
            step = math.ceil(max(channels * lines, pixels) / MAX_TEXTURE)
            # Channels stand on top of each other in one texture: one upload, and no copy of a contiguous image.
            stack = np.ascontiguousarray(image[:, ::step, ::step]).reshape(-1, -(-pixels // step))
            texture = self._textures.get(source)
            if texture is None or texture.shape[:2] != stack.shape:
                if texture is not None:
                    texture.delete()
                self._textures[source] = gloo.Texture2D(
                    stack, internalformat="r32f", format="luminance", interpolation="nearest", wrapping="clamp_to_edge"
                )
            else:
                texture.set_data(stack)

    def draw_next(self, scene: Scene) -> None:
        """Draw this scene when the toolkit is ready."""
        self._scene = scene
        self.update()

    def on_draw(self, _event: Any) -> None:
        """Draw; called by vispy."""
        width, height = self.physical_size
        gloo.set_viewport(0, 0, width, height)
        gloo.clear((*BACKGROUND, 1.0))
        scene = self._scene
        if scene is None:
            return
        for panel, place in zip(scene.panels, place_panels(len(scene.panels), *self.size), strict=True):
            zoom = self.pixel_scale
            gloo.set_viewport(*(round(v * zoom) for v in (place.x, place.y, place.width, place.height)))
            self._draw_panel(scene, panel, place)

    def _draw_panel(self, scene: Scene, panel: Panel, place: Rect) -> None:
        second = panel.second or panel.first
        if not {panel.first, second} <= self._shown:
            return
        program, camera = self._images, scene.camera
        program["u_panel"] = (place.width, place.height)
        program["u_center"], program["u_scale"] = camera.center, camera.scale
        program["u_image"] = (self._shape[1], self._shape[0])
        program["u_channels"] = float(len(scene.maps))
        program["u_map"] = _four([float(MAPS.index(name)) for name in scene.maps])
        program["u_mix"], program["u_split"] = float(_MIXES[panel.mix]), scene.split
        for name, source in (("first", panel.first), ("second", second)):
            texture, limits = self._textures[source], scene.limits[source]
            program[f"u_{name}"] = texture
            program[f"u_{name}_black"] = _four([black for black, _ in limits])
            program[f"u_{name}_white"] = _four([white for _, white in limits])
            program["u_texels"] = (texture.shape[1], texture.shape[0] / len(scene.maps))
        gloo.set_state(blend=False, depth_test=False)
        program.draw("triangle_strip")
        self._lines["u_panel"] = (place.width, place.height)
        self._lines["u_center"], self._lines["u_scale"] = camera.center, camera.scale
        for outline, color in scene.outlines:
            self._lines["a_place"] = np.array(outline, np.float32)
            self._lines["u_color"] = color
            self._lines.draw("line_strip")


def _four(values: list[float]) -> tuple[float, ...]:
    return tuple([*values, *[0.0] * _CHANNELS][:_CHANNELS])
