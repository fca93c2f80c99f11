"""Regions of interest: shapes, their pixels, and the file that keeps them. Knows no mouse or screen."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError

Shape = Literal["rectangle", "ellipse", "lasso"]
Point = tuple[float, float]
_ROUND = 48
"""Corners of an ellipse's outline."""


@dataclass(frozen=True, slots=True)
class Roi:
    """A region of one plane."""

    name: str
    shape: Shape
    points: tuple[Point, ...]
    """(x, y) in image pixels, (0, 0) the outer corner of the first: two opposite corners, or a lasso's way."""
    plane: int = 0

    def outline(self) -> list[Point]:
        """Return the corners of a closed line around the region."""
        if self.shape == "lasso":
            return [*self.points, self.points[0]]
        (x0, y0), (x1, y1) = self.points
        if self.shape == "rectangle":
            return [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
        turns = [2 * math.pi * n / _ROUND for n in range(_ROUND + 1)]
        return [((x0 + x1 + (x1 - x0) * math.cos(t)) / 2, (y0 + y1 + (y1 - y0) * math.sin(t)) / 2) for t in turns]

    def contains(self, place: Point) -> bool:
        """Tell whether a place lies inside."""
        return bool(_inside(np.array([place[0]]), np.array([place[1]]), self.outline())[0])


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """The pixels of a region within frames of one size."""

    rows: slice
    columns: slice
    inside: NDArray[np.bool_]
    """Within the box of rows and columns."""

    def means(self, image: NDArray[Any]) -> NDArray[np.float64]:
        """Return the mean over the region of each channel of (C, Y, X); NaN where it covers no pixel."""
        if not self.inside.any():
            return np.full(image.shape[0], np.nan)
        means: NDArray[np.float64] = image[:, self.rows, self.columns][:, self.inside].mean(axis=1, dtype=np.float64)
        return means


def mask_of(roi: Roi, shape: tuple[int, int]) -> Mask:
    """Return the pixels (lines, pixels) = `shape` whose middles lie inside a region; none outside the frame."""
    outline = roi.outline()
    xs, ys = [x for x, _ in outline], [y for _, y in outline]
    rows, columns = _span(ys, shape[0]), _span(xs, shape[1])
    y, x = np.mgrid[rows, columns] + 0.5
    return Mask(rows, columns, _inside(x, y, outline))


def _span(values: Sequence[float], size: int) -> slice:
    low = min(max(math.floor(min(values)), 0), size)
    return slice(low, min(max(math.ceil(max(values)), low), size))


def _inside(x: NDArray[Any], y: NDArray[Any], outline: Sequence[Point]) -> NDArray[np.bool_]:
    """Tell which points a closed line goes round, by counting how often a ray from each crosses it."""
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in itertools.pairwise(outline):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def save_rois(path: Path, rois: Sequence[Roi]) -> None:
    """Write regions as JSON, replacing the file. Raises `FileError`."""
    entries = [{"name": r.name, "shape": r.shape, "plane": r.plane, "points": r.points} for r in rois]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"rois": entries}, indent=1), encoding="utf-8")
    except OSError as error:
        raise FileError(
            f"regions cannot be written to {path} ({error.strerror or error})",
            expected="a file that can be written",
            todo="choose another with --rois",
        ) from error


def load_rois(path: Path) -> list[Roi]:
    """Read regions that `save_rois` wrote. Raises `FileError` when the file cannot be read or says something else."""
    try:
        return [_read(entry) for entry in json.loads(path.read_text(encoding="utf-8"))["rois"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"regions cannot be read from {path} ({error})",
            expected="a file that the viewer wrote",
            todo="choose another with --rois",
        ) from error


def _read(entry: Mapping[str, Any]) -> Roi:
    """Read one region. Raises ValueError, KeyError or TypeError."""
    points = tuple((float(x), float(y)) for x, y in entry["points"])
    enough = len(points) >= 3 if entry["shape"] == "lasso" else len(points) == 2
    if entry["shape"] not in get_args(Shape) or not enough or not np.isfinite(points).all():
        raise ValueError(f"a {entry['shape']} of the points {points}")
    return Roi(str(entry["name"]), entry["shape"], points, int(entry["plane"]))
