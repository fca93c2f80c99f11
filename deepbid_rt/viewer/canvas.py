"""Draws scenes with OpenGL: a textured rectangle for each picture, and the outlines of regions over it.

The only module that imports vispy. It draws into the OpenGL context that is current.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from vispy import gloo
from vispy.gloo.context import FakeCanvas, set_current_canvas

from deepbid_rt.viewer.camera import Rect, place_panels
from deepbid_rt.viewer.colors import BACKGROUND
from deepbid_rt.viewer.panels import Layer, Panel, Scene

MARK_COLOR = (0.8, 0.0, 0.2)
"""Colour of the frame around a picture with a mark; red, green, blue from 0 to 1."""
MARK_PIXELS = 5
"""Width of that frame, logical pixels."""

_CORNERS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)

# GLSL 1.20, which every card and software renderer supports. The shaders only copy a texture, because software GL is
# several times slower when a shader computes something for each pixel of the window.
_PICTURE_VERTEX = """
attribute vec2 a_corner;
uniform vec4 u_rect;       // left, top, width and height in clip coordinates, -1 to 1
varying vec2 v_at;
void main() {
    v_at = a_corner;
    gl_Position = vec4(u_rect.xy + a_corner * u_rect.zw, 0.0, 1.0);
}
"""
_PICTURE_FRAGMENT = """
uniform sampler2D u_picture;
varying vec2 v_at;
void main() {
    gl_FragColor = texture2D(u_picture, v_at);
}
"""
_LINE_VERTEX = """
attribute vec2 a_point;    // image pixels
uniform vec4 u_rect;       // as above, for the whole image
uniform vec2 u_image;      // width and height of the image in pixels
void main() {
    gl_Position = vec4(u_rect.xy + a_point / u_image * u_rect.zw, 0.0, 1.0);
}
"""
_LINE_FRAGMENT = """
uniform vec3 u_color;
void main() {
    gl_FragColor = vec4(u_color, 1.0);
}
"""


class Canvas:
    """Draws `Scene`s in one OpenGL context, which is first needed in `draw`.

    Parameters
    ----------
    words : mapping, optional
        Pictures of the words of marks: (Y, X, 4) uint8, one pixel for each logical pixel. Without its words, a mark is
        the frame alone.
    """

    def __init__(self, words: Mapping[str, NDArray[np.uint8]] | None = None) -> None:
        self._words, self._words_textures = words or {}, dict[str, gloo.Texture2D]()
        self._vispy = FakeCanvas()  # vispy requires a canvas, but not a window
        self._pictures: dict[Layer, NDArray[np.uint8]] = {}
        self._textures: dict[Layer, gloo.Texture2D] = {}
        self._program = gloo.Program(_PICTURE_VERTEX, _PICTURE_FRAGMENT)
        self._program["a_corner"] = _CORNERS
        self._lines = gloo.Program(_LINE_VERTEX, _LINE_FRAGMENT)

    def draw(self, scene: Scene | None, size: tuple[int, int], zoom: float = 1.0) -> None:
        """Draw a scene into the current context.

        Parameters
        ----------
        scene : Scene or None
            What to draw; None: only the background. A picture is sent to the graphics card only if it is another
            array than at the last call.
        size : tuple of int
            Width and height of the canvas in logical pixels, the unit of the camera.
        zoom : float
            Device pixels for one logical pixel.
        """
        set_current_canvas(self._vispy)
        gloo.set_viewport(0, 0, round(size[0] * zoom), round(size[1] * zoom))
        gloo.set_state(blend=False, depth_test=False, scissor_test=False, clear_color=(*BACKGROUND, 1.0))
        gloo.clear(color=True, depth=False)
        if scene is not None:
            for panel, rect in zip(scene.panels, place_panels(len(scene.panels), *size), strict=True):
                self._draw_panel(scene, panel, rect, zoom)
        self._vispy.flush()

    def _draw_panel(self, scene: Scene, panel: Panel, rect: Rect, zoom: float) -> None:
        if not {*panel.layers} <= {*scene.pictures}:
            return
        left, width = round(rect.x * zoom), round(rect.width * zoom)
        height = round(rect.height * zoom)
        gloo.set_viewport(left, 0, width, height)
        lines, pixels = scene.image
        x, y = scene.camera.to_panel((0.0, 0.0), (rect.width, rect.height))
        across, down = (2 * scene.camera.scale * n / side for n, side in ((pixels, rect.width), (lines, rect.height)))
        where = (2 * x / rect.width - 1, 1 - 2 * y / rect.height, across, -down)
        self._program["u_rect"] = where
        split = round(scene.split * width) if panel.mix == "swipe" else width
        parts = [(left, split), (left + split, width - split)][: len(panel.layers)]
        for layer, (begin, wide) in zip(panel.layers, parts, strict=True):
            self._program["u_picture"] = self._texture(layer, scene.pictures[layer])
            if panel.mix == "swipe":
                gloo.set_state(scissor_test=True)
                gloo.set_scissor(begin, 0, wide, height)
            self._program.draw("triangle_strip")
        if panel.mix == "swipe":
            gloo.set_scissor(max(left, left + split - 1), 0, 2, height)
            gloo.clear(color=(1.0, 1.0, 1.0, 1.0), depth=False)
            gloo.set_state(scissor_test=False, clear_color=(*BACKGROUND, 1.0))
        for layer, (begin, wide) in zip(panel.layers, parts, strict=True):
            if layer in scene.marks and wide > 0:
                self._mark(scene.marks[layer], begin, wide, height, zoom)
        gloo.set_viewport(left, 0, width, height)
        for outline, color in scene.outlines:
            self._lines["u_rect"], self._lines["u_image"] = where, (pixels, lines)
            self._lines["a_point"] = np.array(outline, np.float32)
            self._lines["u_color"] = color
            self._lines.draw("line_strip")

    def _mark(self, text: str, left: int, width: int, height: int, zoom: float) -> None:
        """Draw a frame and the words within a part of the canvas, in device pixels; they do not move with the image."""
        rim = min(max(1, round(MARK_PIXELS * zoom)), width, height)
        gloo.set_state(scissor_test=True, clear_color=(*MARK_COLOR, 1.0))
        for x, y, wide, high in (
            (left, 0, width, rim),
            (left, height - rim, width, rim),
            (left, 0, rim, height),
            (left + width - rim, 0, rim, height),
        ):
            gloo.set_scissor(x, y, wide, high)
            gloo.clear(color=True, depth=False)
        gloo.set_state(clear_color=(*BACKGROUND, 1.0))
        if (words := self._words.get(text)) is not None:
            if text not in self._words_textures:
                self._words_textures[text] = gloo.Texture2D(words, format="rgba", interpolation="nearest")
            high, wide = (round(side * zoom) for side in words.shape[:2])
            gloo.set_scissor(left, 0, width, height)
            gloo.set_viewport(left, 0, width, height)
            self._program["u_rect"] = (-1.0, 1.0, 2 * wide / width, -2 * high / height)
            self._program["u_picture"] = self._words_textures[text]
            self._program.draw("triangle_strip")
        gloo.set_state(scissor_test=False)

    def _texture(self, layer: Layer, picture: NDArray[np.uint8]) -> gloo.Texture2D:
        """Return the texture of a layer, after sending the picture to it if needed."""
        texture = self._textures.get(layer)
        if texture is None or texture.shape != picture.shape:
            if texture is not None:
                texture.delete()
            self._textures[layer] = texture = gloo.Texture2D(
                picture, format="rgba", interpolation="nearest", wrapping="clamp_to_edge"
            )
        elif self._pictures.get(layer) is not picture:
            texture.set_data(picture)
        self._pictures[layer] = picture
        return texture
