"""Regions of interest: their shapes, their pixels, and the JSON file that stores them."""

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

RoiShape = Literal["rectangle", "ellipse", "lasso"]
Vertex = tuple[float, float]
"""(x, y) in image pixels; (0, 0) is the outer corner of the first pixel."""
_ELLIPSE_SIDES = 48
"""Sides of the polygon that stands for an ellipse; its area is 0.3 % smaller."""


@dataclass(frozen=True, slots=True)
class Roi:
    """A region of interest in one plane."""

    name: str
    shape: RoiShape
    points: tuple[Vertex, ...]
    """Two opposite corners of the rectangle, or of the box around the ellipse; all vertices of a lasso."""
    plane: int = 0

    def outline(self) -> list[Vertex]:
        """Return the vertices of a closed polygon around the region; the last one equals the first."""
        if self.shape == "lasso":
            return [*self.points, self.points[0]]
        (x0, y0), (x1, y1) = self.points
        if self.shape == "rectangle":
            return [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
        angles = [2 * math.pi * n / _ELLIPSE_SIDES for n in range(_ELLIPSE_SIDES + 1)]
        return [((x0 + x1 + (x1 - x0) * math.cos(t)) / 2, (y0 + y1 + (y1 - y0) * math.sin(t)) / 2) for t in angles]

    def contains(self, point: Vertex) -> bool:
        """Return whether a point lies inside."""
        return bool(_inside(np.array([point[0]]), np.array([point[1]]), self.outline())[0])


@dataclass(frozen=True, slots=True, eq=False)
class RoiMask:
    """The pixels of a region in frames of one size: a box, and a mask of that box."""

    rows: slice
    columns: slice
    inside: NDArray[np.bool_]
    """Mask of the box; its shape is that of rows and columns."""

    def means(self, image: NDArray[Any]) -> NDArray[np.float64]:
        """Return the mean of each channel of an image (C, Y, X) over the region, (C,); NaN if it covers no pixel."""
        if not self.inside.any():
            return np.full(image.shape[0], np.nan)
        means: NDArray[np.float64] = image[:, self.rows, self.columns][:, self.inside].mean(axis=1, dtype=np.float64)
        return means


def mask_of(roi: Roi, shape: tuple[int, int]) -> RoiMask:
    """Return the mask of a region for frames of `shape` (lines, pixels): the pixels whose centres lie inside it."""
    outline = roi.outline()
    xs, ys = [x for x, _ in outline], [y for _, y in outline]
    rows, columns = _span(ys, shape[0]), _span(xs, shape[1])
    y, x = np.mgrid[rows, columns] + 0.5
    return RoiMask(rows, columns, _inside(x, y, outline))


def _span(values: Sequence[float], size: int) -> slice:
    low = min(max(math.floor(min(values)), 0), size)
    return slice(low, min(max(math.ceil(max(values)), low), size))


def _inside(x: NDArray[Any], y: NDArray[Any], outline: Sequence[Vertex]) -> NDArray[np.bool_]:
    """Return which points lie inside a closed polygon: those from which a ray crosses it an odd number of times."""
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in itertools.pairwise(outline):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def save_rois(path: Path, rois: Sequence[Roi]) -> None:
    """Write regions to a JSON file and replace what it held. Raises `FileError` when it cannot be written."""
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
    """Read regions from a file of `save_rois`. Raises `FileError` when it cannot be read or has other content."""
    try:
        return [_read(entry) for entry in json.loads(path.read_text(encoding="utf-8"))["rois"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"regions cannot be read from {path} ({error})",
            expected="a file that the viewer wrote",
            todo="choose another with --rois",
        ) from error


def _read(entry: Mapping[str, Any]) -> Roi:
    """Return the region of one entry. Raises ValueError, KeyError or TypeError when the entry is malformed."""
    points = tuple((float(x), float(y)) for x, y in entry["points"])
    enough = len(points) >= 3 if entry["shape"] == "lasso" else len(points) == 2
    if entry["shape"] not in get_args(RoiShape) or not enough or not np.isfinite(points).all():
        raise ValueError(f"a {entry['shape']} of the points {points}")
    return Roi(str(entry["name"]), entry["shape"], points, int(entry["plane"]))
