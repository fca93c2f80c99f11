"""Box plots of several distributions in one PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deepbid_rt.evaluation.picture import BACKGROUND, TEXT, save_png

_GRID, _BOX = (80, 86, 96), (78, 140, 200)
_LEFT, _TOP, _ROW, _WIDTH = 300, 80, 44, 560  # pixels: margins, height of a row, width of the axis


def box_plot(groups: Mapping[str, NDArray[Any]], path: Path, title: str) -> None:
    """Draw one row for each group: a box from the lower to the upper quartile, the median, whiskers to the extremes.

    Parameters
    ----------
    groups : mapping of str to ndarray
        Values of each group, in any shape. The axis covers at least 0 to 1.
    path : Path
        The PNG to write; overwritten when it exists.
    title : str
        A line above the plot.

    Raises
    ------
    FileError
        When the PNG cannot be written.
    """
    five = {name: np.percentile(values, (0, 25, 50, 75, 100)) for name, values in groups.items()}
    low, high = min(0.0, *(v[0] for v in five.values())), max(1.0, *(v[4] for v in five.values()))
    picture = Image.new("RGB", (_LEFT + _WIDTH + 60, _TOP + _ROW * len(five) + 50), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    large, small = ImageFont.load_default(22), ImageFont.load_default(16)
    draw.text((20, 24), title, TEXT, large)
    bottom = _TOP + _ROW * len(five)
    for value in np.linspace(low, high, 6):
        x = _x_of(value, low, high)
        draw.line((x, _TOP, x, bottom), _GRID)
        draw.text((x, bottom + 8), f"{value:.2f}", TEXT, small, anchor="mt")
    for row, (name, values) in enumerate(five.items()):
        y = _TOP + _ROW * row + _ROW // 2
        least, lower, middle, upper, most = (_x_of(v, low, high) for v in values)
        draw.text((_LEFT - 16, y), name, TEXT, small, anchor="rm")
        draw.line((least, y, most, y), TEXT, 2)
        draw.rectangle((lower, y - 12, upper, y + 12), _BOX, TEXT)
        draw.line((middle, y - 12, middle, y + 12), TEXT, 3)
    save_png(picture, path)


def _x_of(value: float, low: float, high: float) -> int:
    return _LEFT + round((value - low) / (high - low) * _WIDTH)
