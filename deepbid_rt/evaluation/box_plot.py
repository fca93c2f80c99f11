"""Distributions side by side as boxes in one PNG. Knows no movie and no metric."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deepbid_rt.errors import FileError

_GROUND, _INK, _FAINT, _BOX = (18, 20, 24), (236, 238, 242), (80, 86, 96), (78, 140, 200)
_LEFT, _TOP, _ROW, _WIDTH = 300, 80, 44, 560


def box_plot(groups: Mapping[str, NDArray[Any]], path: Path, title: str) -> None:
    """Draw one row for each group: box from the lower to the upper quartile, median, whiskers to the extremes.

    Raises `FileError` when the PNG cannot be written.
    """
    five = {name: np.percentile(values, (0, 25, 50, 75, 100)) for name, values in groups.items()}
    low, high = min(0.0, *(v[0] for v in five.values())), max(1.0, *(v[4] for v in five.values()))
    picture = Image.new("RGB", (_LEFT + _WIDTH + 60, _TOP + _ROW * len(five) + 50), _GROUND)
    draw = ImageDraw.Draw(picture)
    large, small = ImageFont.load_default(22), ImageFont.load_default(16)
    draw.text((20, 24), title, _INK, large)
    bottom = _TOP + _ROW * len(five)
    for tick in np.linspace(low, high, 6):
        x = _place(tick, low, high)
        draw.line((x, _TOP, x, bottom), _FAINT)
        draw.text((x, bottom + 8), f"{tick:.2f}", _INK, small, anchor="mt")
    for row, (name, values) in enumerate(five.items()):
        y = _TOP + _ROW * row + _ROW // 2
        least, lower, middle, upper, most = (_place(v, low, high) for v in values)
        draw.text((_LEFT - 16, y), name, _INK, small, anchor="rm")
        draw.line((least, y, most, y), _INK, 2)
        draw.rectangle((lower, y - 12, upper, y + 12), _BOX, _INK)
        draw.line((middle, y - 12, middle, y + 12), _INK, 3)
    try:
        picture.save(path, format="PNG")
    except OSError as error:
        raise FileError(
            f"{path} cannot be written ({error.strerror or error})",
            expected="a folder that can be written",
            todo="check the path and its rights",
        ) from error


def _place(value: float, low: float, high: float) -> int:
    return _LEFT + round((value - low) / (high - low) * _WIDTH)
