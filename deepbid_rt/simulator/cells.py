"""Ground truth about the cells of a simulated movie: their pixels and their activity in every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.simulator.tissue import Tissue

_EDGE = 0.3
"""A pixel belongs to a cell if the cell's light there exceeds this share of that in its brightest pixel."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell whose soma lies in the field of view."""

    label: int
    """Number in `Cells.labels`, from 1."""
    y_px: float
    """Centre of its pixels in the field of view while the tissue does not move."""
    x_px: float
    area_px: int
    share: float
    """Share of the light in its pixels that is its own while nothing is active; the rest is background."""


class Cells:
    """Labels and traces of the cells of a tissue.

    Parameters
    ----------
    tissue : Tissue
        The tissue.
    size : (int, int)
        Lines and pixels of its field of view.
    columns : ndarray, (pixels,), optional
        Column of the field of view that each pixel of a line shows, see
        `deepbid_rt.simulator.raster.Raster.pixel_columns`; pixel x shows column x by default.
    """

    def __init__(self, tissue: Tissue, size: tuple[int, int], columns: NDArray[np.float32] | None = None) -> None:
        anatomy, margin = tissue.anatomy, tissue.margin
        owner = np.zeros(anatomy.rest.shape, np.intp)
        brightest = np.zeros(anatomy.rest.shape, np.float32)
        for footprint in anatomy.footprints:
            if not footprint.is_soma:
                continue
            height, width = footprint.image.shape
            here = np.s_[footprint.y : footprint.y + height, footprint.x : footprint.x + width]
            owned = (footprint.image > _EDGE * footprint.image.max()) & (footprint.image > brightest[here])
            owner[here][owned] = footprint.unit + 1
            brightest[here][owned] = footprint.image[owned]
        shown = np.arange(size[1]) if columns is None else np.rint(columns).astype(np.intp).clip(0, size[1] - 1)
        inside = np.ix_(margin + np.arange(size[0]), margin + shown)
        units, inverse = np.unique(owner[inside], return_inverse=True)
        first = int(units[0] != 0)  # 0 means no cell; it is missing if cells cover everything
        self.labels: NDArray[np.uint16] = (inverse.reshape(size) + first).astype(np.uint16)
        """(Y, X) label of the cell that each pixel belongs to while the tissue does not move; 0 for none."""
        self._units = units[1 - first :] - 1
        self._tissue = tissue
        self.cells = tuple(
            _cell(self.labels == label, label, brightest[inside], anatomy.rest[inside])
            for label in range(1, self._units.size + 1)
        )
        """The cells in the order of their labels."""

    def traces(self, index: int) -> NDArray[np.float32]:
        """Return the activity (cells,) during frame `index`: light above that at rest, relative to that at rest."""
        return np.asarray(self._tissue.activity(index)[self._units])


def _cell(mask: NDArray[np.bool_], label: int, own: NDArray[np.float32], rest: NDArray[np.float32]) -> Cell:
    rows, columns = np.nonzero(mask)
    light = float(rest[mask].sum())
    return Cell(
        label=label,
        y_px=round(float(rows.mean()), 2),
        x_px=round(float(columns.mean()), 2),
        area_px=rows.size,
        share=round(float(own[mask].sum()) / light, 4) if light > 0 else 0.0,
    )
