from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepbid_rt.errors import FileError
from deepbid_rt.recording.trace_table import read_traces


def test_columns_are_cells(tmp_path: Path) -> None:
    path = tmp_path / "traces.csv"
    path.write_text("frame,cell_1,cell_2\n0,1.5,-2\n1,3,4e3\n2,0,1\n")
    np.testing.assert_array_equal(read_traces(path), [[1.5, 3, 0], [-2, 4000, 1]])
    path.write_text("frame,t_s,cell_1,cell_2\n0,0.000,1.5,-2\n1,0.033,3,4e3\n2,0.067,0,1\n")
    np.testing.assert_array_equal(read_traces(path), [[1.5, 3, 0], [-2, 4000, 1]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a table"),
        ("frame\n0\n", "with the header 'frame'"),
        ("frame,t_s\n0,0\n", "with the header 'frame,t_s'"),
        ("cell_1,cell_2\n1,2\n", "with the header 'cell_1,cell_2'"),
        ("frame,cell_2,cell_1\n0,1,2\n", "with the header 'frame,cell_2,cell_1'"),
        ("frame,cell_1\n0,one\n", "with rows that are not numbers"),
        ("frame,cell_1\n0,1\n1\n", "with rows that are not numbers"),
        ("frame,cell_1\n0,1,2\n", "with rows that are not numbers"),
        ("frame,cell_1\n0,nan\n", "with rows that are not numbers"),
        ("frame,cell_1\n1,1\n2,1\n", "with rows that are not numbers"),
        ("frame,cell_1\n", "with rows that are not numbers"),
    ],
)
def test_refuses_other_tables(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "traces.csv"
    path.write_text(text)
    with pytest.raises(FileError) as info:
        read_traces(path)
    assert str(path) in str(info.value)
    assert message in str(info.value)


def test_refuses_files_that_are_not_tables(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(bytes(range(256)))
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / "b.csv"):
        with pytest.raises(FileError, match="cannot be read as a table"):
            read_traces(path)
