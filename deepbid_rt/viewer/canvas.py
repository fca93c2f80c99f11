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
from deepbid_rt.viewer.panels import Mix, Panel, Scene, Source
from deepbid_rt.viewer.shaders import IMAGE_VERTEX, LINE_FRAGMENT, LINE_VERTEX, image_fragment

MAX_TEXTURE = 8192
"""Sides that every card takes; larger images are thinned out for drawing."""
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
        # A widget is put on the screen by Qt, which needs no second swap of buffers.
        super().__init__(keys=None, size=size, app=backend, parent=parent, show=False, autoswap=False)
        self._scene: Scene | None = None
        self._shape: tuple[int, int] = (1, 1)
        self._textures: dict[Source, gloo.Texture2D] = {}
        self._shown: set[Source] = set()
        self._programs: dict[tuple[Mix, int], gloo.Program] = {}
        tables = np.stack([color_table(name) for name in MAPS])
        self._tables = gloo.Texture2D(
            np.rint(tables * 255).astype(np.uint8), interpolation="nearest", wrapping="clamp_to_edge"
        )
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
        channels, camera = len(scene.maps), scene.camera
        program = self._program(panel.mix, channels)
        program["u_panel"] = (place.width, place.height)
        program["u_center"], program["u_scale"] = camera.center, camera.scale
        program["u_image"] = (self._shape[1], self._shape[0])
        program["u_map"] = _four([float(MAPS.index(name)) for name in scene.maps])
        sources = {"first": panel.first, "second": second}
        for name, source in sources.items():
            texture, limits = self._textures[source], scene.limits[source]
            gains = _four([1.0 / (white - black) for black, white in limits])
            if name == "second" or panel.mix != "difference":
                program[f"u_{name}_gain"] = gains
            if panel.mix != "difference":
                program[f"u_{name}_black"] = _four([black for black, _ in limits])
            program[f"u_{name}"] = texture
            program["u_texels"] = (texture.shape[1], texture.shape[0] / channels)
        if panel.mix == "swipe":
            program["u_split"] = scene.split
        gloo.set_state(blend=False, depth_test=False)
        program.draw("triangle_strip")
        self._lines["u_panel"] = (place.width, place.height)
        self._lines["u_center"], self._lines["u_scale"] = camera.center, camera.scale
        for outline, color in scene.outlines:
            self._lines["a_place"] = np.array(outline, np.float32)
            self._lines["u_color"] = color
            self._lines.draw("line_strip")

    def _program(self, mix: Mix, channels: int) -> gloo.Program:
        """Return the program for a mix and number of channels; made when first needed."""
        program = self._programs.get((mix, channels))
        if program is None:
            program = self._programs[mix, channels] = gloo.Program(IMAGE_VERTEX, image_fragment(mix, channels))
            program["a_position"] = _CORNERS
            program["u_tables"] = self._tables
            program["u_steps"] = (float(STEPS), float(len(MAPS)))
            program["u_background"], program["u_odd"] = BACKGROUND, NOT_A_NUMBER
        return program


def _four(values: list[float]) -> tuple[float, ...]:
    return tuple([*values, *[0.0] * _CHANNELS][:_CHANNELS])
