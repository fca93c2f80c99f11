"""What is known beside a movie that is judged, checked before anything is computed. Knows no file format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.figures import Need
from deepbid_rt.evaluation.movie import Movie
from deepbid_rt.evaluation.traces import Cells, cells_of, traces_of

_EDGE_PX = 3  # from a cell, at most, lies its edge while it moves


@dataclass(frozen=True, slots=True)
class References:
    """What is known; all of one shape (T, C, Y, X), None where it is not.

    ``raw``: the recording. ``cells``, ``traces``: places (C, Y, X) and true traces (R, T). ``reference``: a sharp and
    quiet picture (Y, X). ``edges_near``: pixels (C, Y, X) at which moving edges count; None for all.
    """

    truth: Movie | None = None
    raw: Movie | None = None
    cells: Cells | None = None
    traces: NDArray[np.float64] | None = None
    reference: NDArray[np.float64] | None = None
    edges_near: NDArray[np.bool_] | None = None

    @property
    def needs(self) -> set[Need]:
        """The needs of figures that are met."""
        met: dict[Need, bool] = {
            "truth": self.truth is not None,
            "raw": self.raw is not None,
            "traces": self.traces is not None,
            "reference": self.truth is not None or self.reference is not None,
        }
        return {need for need, there in met.items() if there}


def gather(
    shape: tuple[int, int, int, int],
    truth: Movie | None,
    raw: Movie | None,
    cells: NDArray[Any] | None,
    traces: NDArray[np.float64] | None,
    reference: NDArray[Any] | None,
) -> References:
    """Check cells (Y, X), traces (R, T) and reference (Y, X) against a movie's shape, and put all together.

    Cells and traces that are not given are those of the truth; cells that are found there, and not given, do not say
    where edges count.

    Raises
    ------
    StreamError
        When something does not fit.
    """
    if traces is not None and cells is None:
        raise StreamError("true traces without cells", expected="both", todo="give --cells with --traces")
    for name, picture in {"cells": cells, "a reference": reference}.items():
        if picture is not None and picture.shape != shape[2:]:
            raise StreamError(
                f"{name} of shape {picture.shape} for frames of {shape[2]} x {shape[3]} pixels",
                expected="a picture (Y, X) of the size of a frame",
                todo="give the picture of this recording",
            )
    if reference is not None and not np.isfinite(reference).all():
        raise StreamError("a reference with pixels that are not finite", expected="counts", todo="give another one")
    places, near = None, None
    if cells is not None:
        if not cells.any():
            raise StreamError(
                "cells of which there are none", expected="pixels above 0", todo="give the numbered cells"
            )
        places = np.zeros(shape[1:], np.intp)
        places[0] = cells
        near = np.zeros(shape[1:], np.bool_)
        near[0] = binary_dilation(places[0] > 0, iterations=_EDGE_PX)
    elif truth is not None:
        places = cells_of(truth)
    if traces is not None and places is not None:
        expected = (int(places.max()), shape[0])
        if traces.shape != expected:
            raise StreamError(
                f"true traces of {traces.shape[0]} cells in {traces.shape[1]} frames",
                expected=f"{expected[0]} cells in {expected[1]} frames, as the cells and the movie have",
                todo="give the traces of this recording",
            )
    elif truth is not None and places is not None:
        traces = traces_of(truth, places)
    quiet = None if reference is None else reference.astype(np.float64)
    return References(truth, raw, places, traces, quiet, near)
