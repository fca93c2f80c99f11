"""The programs that run on the graphics card, as text (GLSL 1.20, which every card and software renderer has).

vispy finds a variable only when it is declared by itself.
"""

from __future__ import annotations

from deepbid_rt.viewer.panels import Mix

IMAGE_VERTEX = """
attribute vec2 a_position;
uniform vec2 u_panel;
varying vec2 v_at;  // screen pixels within the panel, y downwards
void main() {
    v_at = vec2(0.5 + 0.5 * a_position.x, 0.5 - 0.5 * a_position.y) * u_panel;
    gl_Position = vec4(a_position, 0.0, 1.0);
}
"""

_FRAGMENT_HEAD = """
uniform sampler2D u_first;
uniform sampler2D u_second;
uniform sampler2D u_tables;
uniform vec4 u_first_black;   // counts of black of each channel
uniform vec4 u_first_gain;    // 1 / (white - black)
uniform vec4 u_second_black;
uniform vec4 u_second_gain;
uniform vec4 u_map;           // number of the colour map of each channel
uniform float u_split;
uniform float u_scale;
uniform vec2 u_panel;
uniform vec2 u_center;
uniform vec2 u_image;         // pixels and lines of the image
uniform vec2 u_texels;        // pixels and lines of each channel in the texture
uniform vec2 u_steps;         // steps of a colour map, number of maps
uniform vec3 u_background;
uniform vec3 u_odd;
varying vec2 v_at;

const float ODD = -1e38;      // below: not finite

float value(sampler2D image, vec2 texel, float channel) {
    float line = texel.y + channel * u_texels.y;
    return texture2D(image, (vec2(texel.x, line) + 0.5) / (u_texels * vec2(1.0, float(CHANNELS)))).r;
}

vec3 color(float number, float bright) {
    float step = floor(clamp(bright, 0.0, 1.0) * (u_steps.x - 1.0) + 0.5);
    return texture2D(u_tables, (vec2(step, number) + 0.5) / u_steps).rgb;
}

vec3 merged(sampler2D image, vec2 texel, vec4 black, vec4 gain) {
    vec3 sum = vec3(0.0);
    float least = 0.0;
    for (int c = 0; c < CHANNELS; c++) {
        float v = value(image, texel, float(c));
        least = min(least, v);
        sum += color(u_map[c], (v - black[c]) * gain[c]);
    }
    return least < ODD ? u_odd : min(sum, 1.0);
}
"""

_PICTURES = {
    "first": "vec3 picture(vec2 texel) { return merged(u_first, texel, u_first_black, u_first_gain); }",
    "swipe": """
vec3 picture(vec2 texel) {
    float line = u_split * u_panel.x;
    vec3 left = merged(u_first, texel, u_first_black, u_first_gain);
    vec3 right = merged(u_second, texel, u_second_black, u_second_gain);
    return abs(v_at.x - line) <= 1.0 ? vec3(1.0) : v_at.x > line ? right : left;
}
""",
    "difference": """
vec3 picture(vec2 texel) {
    float sum = 0.0;
    float least = 0.0;
    for (int c = 0; c < CHANNELS; c++) {
        float a = value(u_first, texel, float(c));
        float b = value(u_second, texel, float(c));
        least = min(least, min(a, b));
        sum += (b - a) * u_second_gain[c] / float(CHANNELS);
    }
    return least < ODD ? u_odd : vec3(clamp(0.5 + 0.5 * sum, 0.0, 1.0));
}
""",
}

_FRAGMENT_MAIN = """
void main() {
    vec2 place = u_center + (v_at - 0.5 * u_panel) / u_scale;
    vec3 shown = picture(clamp(floor(place * u_texels / u_image), vec2(0.0), u_texels - 1.0));
    bool outside = place.x < 0.0 || place.y < 0.0 || place.x >= u_image.x || place.y >= u_image.y;
    gl_FragColor = vec4(outside ? u_background : shown, 1.0);
}
"""


def image_fragment(mix: Mix, channels: int) -> str:
    """Return the program that colours a panel.

    One for each mix and number of channels: a software renderer walks through every branch of a program, taken or not,
    so one program for all would cost the time of all.
    """
    return f"#define CHANNELS {channels}\n{_FRAGMENT_HEAD}{_PICTURES[mix]}{_FRAGMENT_MAIN}"


LINE_VERTEX = """
attribute vec2 a_place;    // image pixels
uniform vec2 u_panel;
uniform vec2 u_center;
uniform float u_scale;
void main() {
    vec2 at = (a_place - u_center) * u_scale / (0.5 * u_panel);
    gl_Position = vec4(at.x, -at.y, 0.0, 1.0);
}
"""

LINE_FRAGMENT = """
uniform vec3 u_color;
void main() {
    gl_FragColor = vec4(u_color, 1.0);
}
"""
