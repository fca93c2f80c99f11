"""One structure of a MATLAB file, read without trusting it: both kinds, MAT 5 (scipy) and MAT 7.3 (h5py).

Layout of MAT 5: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. Its elements are walked through
first: no size in it may exceed what it lies in, nor may anything be nested or compressed beyond all measure, because
scipy allocates what the file says.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from deepbid_rt.errors import FileError

MAX_MAT_BYTES = 2**27
"""Largest file, and largest decompressed variable."""
_MAX_DEPTH = 24
_MAX_ELEMENTS = 500_000
_MATRIX, _COMPRESSED = 14, 15
_SPARSE, _LAST_CLASS = 5, 18
_INT32 = 5
_FEW = 4096
"""Elements that an array may have although its bytes are fewer, as a structure without fields has."""
_MAX_HDF5_DEPTH, _MAX_HDF5_ITEMS, _MAX_HDF5_VALUES = 6, 10_000, 2**20
_V5, _V73 = b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"


def is_mat_file(path: Path) -> bool:
    """Tell from the first bytes whether a file is a MATLAB file; raises nothing."""
    try:
        with path.open("rb") as file:
            return file.read(19) in (_V5, _V73)
    except OSError:
        return False


def read_mat_struct(path: Path, name: str) -> dict[str, Any]:
    """Return a structure as nested dictionaries of numbers, text and arrays.

    Parameters
    ----------
    path : Path
        MATLAB file of at most `MAX_MAT_BYTES`.
    name : str
        Variable that holds the structure.

    Raises
    ------
    FileError
        When the file is damaged, lacks the structure, or is of another version of MATLAB.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MAT_BYTES + 1)
        found = _read_v73(path, raw, name) if raw.startswith(_V73) else _read_v5(raw, name)
    except FileError:
        raise
    except Exception as error:  # scipy and h5py raise exceptions of any type for damaged files
        raise FileError(
            f"{path} cannot be read as a MATLAB file ({error})",
            expected="the .mat file that was written with the recording",
            todo="copy it again, or save its variable again in MATLAB with save(..., '-v7')",
        ) from error
    if not isinstance(found, dict):
        raise FileError(
            f"{path} without a structure {name}",
            expected=f"a MATLAB file with the structure {name}",
            todo="give the .mat file that was written with the recording",
        )
    return found


def _read_v5(raw: bytes, name: str) -> object:
    from scipy.io import loadmat

    if not raw.startswith(_V5):
        raise ValueError("it is no MATLAB file of version 5 or later")
    if raw[126:128] != b"IM":
        raise ValueError("it is big-endian, or damaged")
    _check_v5(raw)
    found: object = loadmat(io.BytesIO(raw), variable_names=[name], simplify_cells=True).get(name)
    return found


def _check_v5(raw: bytes) -> None:
    """Refuse a file whose elements do not lie inside each other. Raises `ValueError`."""
    _check_length(raw)
    at, left = 128, [_MAX_ELEMENTS]
    decompressed = 0
    while at < len(raw):
        if at + 8 > len(raw):
            raise ValueError("it is cut off")
        kind, size = struct.unpack_from("<II", raw, at)
        at += 8
        if at + size > len(raw):
            raise ValueError("it is cut off")
        body = raw[at : at + size]
        at += size
        if kind == _COMPRESSED:
            body = zlib.decompressobj().decompress(body, MAX_MAT_BYTES - decompressed + 1)
            decompressed += len(body)
            if decompressed > MAX_MAT_BYTES:
                raise ValueError(f"it becomes larger than {MAX_MAT_BYTES} bytes")
            if len(body) < 8:
                raise ValueError("it is damaged")
            kind, inner = struct.unpack_from("<II", body)
            if inner > len(body) - 8:
                raise ValueError("it is cut off")
            body = body[8 : 8 + inner]
        if kind == _MATRIX:
            _check_matrix(body, left)


def _check_length(raw: bytes) -> None:
    if len(raw) > MAX_MAT_BYTES:
        raise ValueError(f"it is larger than {MAX_MAT_BYTES} bytes")


def _check_matrix(body: bytes, left: list[int]) -> None:
    """Check an array and what it holds; `left` is the number of elements that may still come."""
    work = [(body, 1)]
    while work:
        matrix, depth = work.pop()
        if not matrix:
            continue  # an empty cell
        if depth > _MAX_DEPTH:
            raise ValueError(f"its structures are nested more than {_MAX_DEPTH} deep")
        sparse = False
        for number, (kind, part) in enumerate(_elements(matrix, left)):
            if number == 0:
                if len(part) < 4 or not 1 <= part[0] <= _LAST_CLASS:
                    raise ValueError("it holds an array of no known kind")
                sparse = part[0] == _SPARSE
            if number == 1 and kind == _INT32 and not sparse:
                size = math.prod(max(0, one) for one in np.frombuffer(part, "<i4").tolist())
                if size > max(_FEW, len(matrix)):
                    raise ValueError(f"an array of {size} elements in {len(matrix)} bytes")
            if kind == _MATRIX:
                work.append((part, depth + 1))


def _elements(matrix: bytes, left: list[int]) -> list[tuple[int, bytes]]:
    """Return type and data of the elements of an array."""
    found, at = [], 0
    while at + 8 <= len(matrix):
        kind, size = struct.unpack_from("<II", matrix, at)
        if kind >> 16:  # a small element holds its data in its own tag
            kind, size = kind & 0xFFFF, kind >> 16
            if size > 4:
                raise ValueError("it is damaged")
            found.append((kind, matrix[at + 4 : at + 4 + size]))
            at += 8
        else:
            if size > len(matrix) - at - 8:
                raise ValueError("it is cut off")
            found.append((kind, matrix[at + 8 : at + 8 + size]))
            at += 8 + size + -size % 8
        left[0] -= 1
        if left[0] < 0:
            raise ValueError(f"it holds more than {_MAX_ELEMENTS} elements")
    return found


def _read_v73(path: Path, raw: bytes, name: str) -> object:
    try:
        import h5py
    except ImportError as error:
        raise FileError(
            f"{path}, a MATLAB file of version 7.3, without the Python package h5py",
            expected="h5py",
            todo='pip install "deepbid-rt[formats]"',
        ) from error
    _check_length(raw)
    with h5py.File(io.BytesIO(raw), "r") as file:
        return _group(file, name, h5py, [_MAX_HDF5_ITEMS]) if name in file else None


def _group(parent: Any, name: str, h5py: Any, left: list[int], depth: int = 1) -> object:
    """Return a number, text, array or structure of HDF5; None for anything else, such as a link to another file.

    `left` is the number of items that may still come.
    """
    left[0] -= 1
    if left[0] < 0 or depth > _MAX_HDF5_DEPTH:
        raise ValueError(f"it holds more than {_MAX_HDF5_ITEMS} items, or is nested more than {_MAX_HDF5_DEPTH} deep")
    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        return None
    item = parent[name]
    if isinstance(item, h5py.Group):
        return {key: _group(item, key, h5py, left, depth + 1) for key in item}
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iuf" or item.size > _MAX_HDF5_VALUES:
        return None
    if item.attrs.get("MATLAB_empty", 0):
        return np.empty(0)
    if item.attrs.get("MATLAB_class") == b"char":
        return "".join(map(chr, item[()].ravel().tolist()))
    array = np.asarray(item[()]).T.squeeze()  # MATLAB counts the axes from the other end
    return array if array.ndim else array[()]
