"""MATLAB files that lie about their sizes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from deepbid_rt.errors import FileError
from deepbid_rt.movies.mat_file import is_mat_file, read_mat_struct

HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def array(kind: int, dims: tuple[int, int], *parts: bytes, name: bytes = b"info") -> bytes:
    flags = element(6, struct.pack("<II", kind, 0))
    return element(14, flags + element(5, struct.pack("<ii", *dims)) + element(1, name) + b"".join(parts))


def write(path: Path, *variables: bytes) -> Path:
    path.write_bytes(HEADER + b"".join(variables))
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_a_structure_becomes_dictionaries(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    values: dict[str, Any] = {"n": 3, "text": "abc", "inner": {"x": np.arange(4.0)}, "none": np.empty((0, 0))}
    savemat(path, {"info": values, "other": np.zeros(9)}, do_compression=compressed)
    assert is_mat_file(path)
    found = read_mat_struct(path, "info")
    assert found["n"] == 3
    assert found["text"] == "abc"
    assert found["inner"]["x"].tolist() == [0, 1, 2, 3]
    assert found["none"].size == 0


def test_dimensions_that_the_data_do_not_fill_are_refused(tmp_path: Path) -> None:
    for kind in (1, 2, 6):  # cell, structure, double
        path = write(tmp_path / "a.mat", array(kind, (2**31 - 1, 2**31 - 1), element(9, b"\0" * 8)))
        with pytest.raises(FileError, match="elements in"):
            read_mat_struct(path, "info")


def test_elements_that_leave_their_place_are_refused(tmp_path: Path) -> None:
    whole = array(6, (1, 1), element(9, b"\0" * 8))
    for content in (whole[:20], whole[:8] + struct.pack("<II", 6, 2**31) + whole[16:], whole + b"\1\2\3"):
        with pytest.raises(FileError, match="cut off"):
            read_mat_struct(write(tmp_path / "a.mat", content), "info")


def test_a_variable_that_decompresses_beyond_measure_is_refused(tmp_path: Path) -> None:
    bomb = zlib.compress(struct.pack("<II", 14, 2**28) + b"\0" * 2**28)
    path = write(tmp_path / "a.mat", struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(FileError, match="becomes larger"):
        read_mat_struct(path, "info")


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    inner = array(6, (1, 1), element(9, b"\0" * 8), name=b"")
    for _ in range(500):
        inner = array(1, (1, 1), inner, name=b"")
    path = write(tmp_path / "a.mat", inner)
    with pytest.raises(FileError, match="nested more than"):
        read_mat_struct(path, "info")


def test_what_is_no_structure_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"info": np.zeros(3)})
    with pytest.raises(FileError, match="without a structure info"):
        read_mat_struct(path, "info")
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\1\0MI")
    with pytest.raises(FileError, match="big-endian"):
        read_mat_struct(path, "info")
    with pytest.raises(FileError, match="cannot be read"):
        read_mat_struct(tmp_path / "missing.mat", "info")
    assert not is_mat_file(tmp_path / "missing.mat")


def test_random_damage_raises_nothing_but_file_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {"sz": np.array([512, 796]), "config": {"lines": 512, "name": "x"}, "list": ["a", "b"]}
    for compressed in (False, True):
        savemat(path, {"info": values}, do_compression=compressed)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(150):
            damaged = whole.copy()
            damaged[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(damaged[: rng.integers(100, len(whole) + 1)].tobytes())
            try:
                read_mat_struct(path, "info")
            except FileError:
                continue
