"""Reading traces of cells from a CSV file with the header ``frame,t_s,cell_1,cell_2,...`` and one row per frame.

The column ``t_s``, time in seconds, is optional.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError


def read_traces(path: Path) -> NDArray[np.float64]:
    """Return the traces (R, T) of R cells, cell 1 first.

    Raises `FileError` when the file is missing, has another header, or has a row that is not numeric.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise FileError(
            f"{path} cannot be read as a table ({reason})",
            expected="a CSV file with the header frame,cell_1,...",
            todo="check the path",
        ) from error
    before = ["frame", "t_s"] if header[1:2] == ["t_s"] else ["frame"]
    cells = [f"cell_{number}" for number in range(1, len(header) - len(before) + 1)]
    if header != before + cells or not cells:
        raise FileError(
            f"{path} with the header {','.join(header)[:80]!r}",
            expected="frame,cell_1,cell_2,...",
            todo="name the columns like this; cell_n belongs to the pixels with value n in the cell masks",
        )
    try:
        table = np.array([[float(value) for value in row] for row in rows]).reshape(len(rows), -1)
        whole = table.shape[1] == len(header) and bool(np.isfinite(table).all())
        in_order = whole and np.array_equal(table[:, 0], np.arange(len(table)))
    except ValueError:
        in_order = False
    if not in_order:
        raise FileError(
            f"{path} with rows that are not numbers for the frames 0, 1, 2, ...",
            expected=f"{len(header)} finite numbers in each row, the first of which is the frame number, from 0",
            todo="export the table again",
        )
    traces: NDArray[np.float64] = np.ascontiguousarray(table[:, len(before) :].T)
    return traces
