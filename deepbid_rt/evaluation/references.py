"""What a movie is evaluated against: ground truth, raw recording, cells and their traces, a sharp reference image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.metrics import ReferenceName
from deepbid_rt.evaluation.movie import MovieReader
from deepbid_rt.evaluation.traces import CellLabels, extract_traces, find_cells

_EDGE_PX = 3  # edges count within this distance of a cell: a moving edge stays within it


@dataclass(frozen=True, slots=True)
class References:
    """References of one movie (T, C, Y, X); None where one is not given."""

    truth: MovieReader | None = None
    """The clean movie, same shape."""
    raw: MovieReader | None = None
    """The recording, same shape."""
    cells: CellLabels | None = None
    """(C, Y, X) number of the cell at each pixel."""
    traces: NDArray[np.float64] | None = None
    """(R, T) true traces of the cells."""
    reference: NDArray[np.float64] | None = None
    """(Y, X) a sharp image with little noise."""
    edges_near: NDArray[np.bool_] | None = None
    """(C, Y, X) True where moving edges count; None: everywhere."""

    @property
    def available(self) -> set[ReferenceName]:
        """Names of the given references, as `Metric.requires` uses them."""
        given: dict[ReferenceName, bool] = {
            "truth": self.truth is not None,
            "raw": self.raw is not None,
            "traces": self.traces is not None,
            "reference": self.truth is not None or self.reference is not None,
        }
        return {name for name, there in given.items() if there}


def make_references(
    shape: tuple[int, int, int, int],
    truth: MovieReader | None,
    raw: MovieReader | None,
    cells: NDArray[Any] | None,
    traces: NDArray[np.float64] | None,
    reference: NDArray[Any] | None,
) -> References:
    """Check cells (Y, X), traces (R, T) and reference (Y, X) against a movie's shape, and complete them.

    If cells are not given, they are found in the truth; if traces are not given, they are computed from the truth. Only
    given cells restrict where edges count.

    Raises
    ------
    StreamError
        When cells, traces or reference do not fit the movie.
    """
    if traces is not None and cells is None:
        raise StreamError("true traces without cells", expected="both", todo="give --cells with --traces")
    for name, picture in {"cells": cells, "a reference": reference}.items():
        if picture is not None and picture.shape != shape[2:]:
            raise StreamError(
                f"{name} of shape {picture.shape} for frames of {shape[2]} x {shape[3]} pixels",
                expected="an image (Y, X) of the size of a frame",
                todo="give the image of this recording",
            )
    if reference is not None and not np.isfinite(reference).all():
        raise StreamError(
            "a reference with pixels that are not finite", expected="finite counts", todo="give another reference"
        )
    labels, near = None, None
    if cells is not None:
        if not cells.any():
            raise StreamError(
                "an image of cells with 0 in every pixel",
                expected="cell numbers above 0",
                todo="give the image of numbered cells",
            )
        labels = np.zeros(shape[1:], np.intp)
        labels[0] = cells
        near = np.zeros(shape[1:], np.bool_)
        near[0] = binary_dilation(labels[0] > 0, iterations=_EDGE_PX)
    elif truth is not None:
        labels = find_cells(truth)
    if traces is not None and labels is not None:
        expected = (int(labels.max()), shape[0])
        if traces.shape != expected:
            raise StreamError(
                f"true traces of {traces.shape[0]} cells in {traces.shape[1]} frames",
                expected=f"{expected[0]} cells in {expected[1]} frames, as the cells and the movie have",
                todo="give the traces of this recording",
            )
    elif truth is not None and labels is not None:
        traces = extract_traces(truth, labels)
    sharp = None if reference is None else reference.astype(np.float64)
    return References(truth, raw, labels, traces, sharp, near)
