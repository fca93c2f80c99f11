"""Movies in NumPy's .npy and .npz files.

The layout is that of https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Pickled objects are never
loaded.
"""

from __future__ import annotations

import math
import struct
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from deepbid_rt.errors import FileError
from deepbid_rt.movies.array_axes import plain_axes, spelled
from deepbid_rt.movies.array_movie import ArrayMovie, opening
from deepbid_rt.movies.array_pixels import ArrayPixels
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.raw_array import RawArray
from deepbid_rt.movies.wanted import Wanted

_MAX_HEADER = 10_000
_DEFLATE_RATIO = 1032
_CUT = "it is cut off"


def claims(path: Path) -> bool:
    """Tell whether a file is a .npy or .npz file, by its name."""
    return path.suffix.lower() in (".npy", ".npz") and path.is_file()


def open_movie(path: Path, wanted: Wanted) -> MovieFile:
    """Open a .npy file, or a .npz file with one array; C or Fortran order, either byte order.

    Raises
    ------
    FileError
        When the file is cut, damaged, holds pickled objects, or holds several arrays and none is chosen.
    StreamError
        When the array is no movie.
    """
    with opening(path, "a NumPy file"):
        return _open_npz(path, wanted) if path.suffix.lower() == ".npz" else _open_npy(path, wanted)


def _open_npy(path: Path, wanted: Wanted) -> MovieFile:
    file = path.open("rb")
    try:
        size = path.stat().st_size
        return _movie(path, str(path), file, size, wanted, "NumPy")
    except BaseException:
        file.close()
        raise


def _open_npz(path: Path, wanted: Wanted) -> MovieFile:
    file = path.open("rb")
    member: IO[bytes] | None = None
    try:
        archive = zipfile.ZipFile(file)
        info = _member(path, archive, wanted)
        _check_member(path, info)
        member = archive.open(info)
        note = () if info.compress_type == zipfile.ZIP_STORED else _DEFLATED
        return _movie(path, f"{info.filename} in {path}", _Owned(member, file), info.file_size, wanted, "NumPy", note)
    except BaseException:
        if member is not None:
            member.close()
        file.close()
        raise


_DEFLATED = ("the array is compressed as a whole, so that going back to an earlier frame is slow",)


class _Owned:
    """A member of an archive that closes the file of the archive with itself."""

    def __init__(self, member: IO[bytes], file: IO[bytes]) -> None:
        self._member, self._file = member, file

    def read(self, count: int = -1) -> bytes:
        return self._member.read(count)

    def readinto(self, out: memoryview) -> int:
        data = self._member.read(len(out))
        out[: len(data)] = data
        return len(data)

    def seek(self, position: int) -> int:
        return self._member.seek(position)

    def tell(self) -> int:
        return self._member.tell()

    def close(self) -> None:
        self._member.close()
        self._file.close()


def _member(path: Path, archive: zipfile.ZipFile, wanted: Wanted) -> zipfile.ZipInfo:
    """Return the array that is asked for, or the only one."""
    arrays = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    names = [info.filename.removesuffix(".npy") for info in arrays]
    if wanted.dataset is not None:
        arrays = [info for info in arrays if wanted.dataset in (info.filename, info.filename.removesuffix(".npy"))]
        if not arrays:
            raise FileError(
                f"no array {wanted.dataset} in {path}",
                expected=f"one of {', '.join(names[:8]) or 'its arrays, of which there are none'}",
                todo="give the name of one of them with --dataset",
            )
    if len(arrays) != 1:
        raise FileError(
            f"{path} with {len(arrays)} arrays{': ' + ', '.join(names[:8]) if names else ''}",
            expected="one array (T, Y, X) or (T, C, Y, X)",
            todo="give the name of the movie with --dataset" if arrays else "save the movie with numpy.save",
        )
    return arrays[0]


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    stored = info.compress_type == zipfile.ZIP_STORED
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileError(
            f"{info.filename} in {path} that is encrypted or compressed in an unusual way",
            expected="what numpy.savez or numpy.savez_compressed writes",
            todo="save the movie with numpy.save",
        )
    most = info.compress_size * (1 if stored else _DEFLATE_RATIO)
    if info.file_size > most or info.compress_size > path.stat().st_size:
        raise FileError(
            f"{info.filename} in {path} that claims {info.file_size} bytes and has {info.compress_size}",
            expected="a complete file",
            todo="copy it again, or save the movie with numpy.save",
        )


def _header(name: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, Fortran order and type of the array that begins here."""
    fmt = np.lib.format
    start = file.tell()
    head = file.read(12)
    file.seek(start)
    if len(head) < 12 or head[:6] != fmt.MAGIC_PREFIX:
        raise FileError(
            f"{name}, which does not begin as a .npy file does",
            expected="a file of numpy.save",
            todo="copy it again, or give raw pixels with the suffix .raw and with --shape and --dtype",
        )
    version = fmt.read_magic(file)
    length = struct.unpack("<H", head[8:10])[0] if version == (1, 0) else struct.unpack("<I", head[8:12])[0]
    if version not in ((1, 0), (2, 0)) or length > _MAX_HEADER:
        raise FileError(
            f"{name} with a header of version {version} and {length} bytes",
            expected="the header of an array of numbers",
            todo="save the movie again with numpy.save",
        )
    read = fmt.read_array_header_1_0 if version == (1, 0) else fmt.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of headers that Python 2 wrote, and reads them
        shape, fortran, dtype = read(file)
    return tuple(shape), fortran, np.dtype(dtype)


def _movie(
    path: Path, name: str, file: Any, size: int, wanted: Wanted, kind: str, notes: tuple[str, ...] = ()
) -> MovieFile:
    """Open the array that begins at the start of `file`, which has `size` bytes."""
    shape, fortran, dtype = _header(name, file)
    if dtype.hasobject:
        raise FileError(
            f"{name} of pickled Python objects",
            expected="an array of numbers",
            todo="save the pixels as an array of numbers: pickled objects could run any program",
        )
    start = file.tell()
    axes = plain_axes(shape, dtype, wanted, name)
    stored, letters = (shape[::-1], axes.letters[::-1]) if fortran else (shape, axes.letters)
    problem = None
    if min(stored) < 0 or math.prod(stored) * dtype.itemsize > size - start:
        stored = _whole_frames(stored, letters, dtype, size - start, name, wanted)
        problem = _CUT
    extra = size - start - math.prod(stored) * dtype.itemsize
    if extra > 0 and problem is None:
        notes = (*notes, f"{extra} bytes behind the array are not read")
    if fortran:
        notes = (*notes, "the array is in Fortran order, so that reading it is slow; numpy.ascontiguousarray helps")
    source = RawArray(file, start, stored, dtype)
    pixels = ArrayPixels(source, letters, wanted, name)
    facts = MovieFacts(
        kind,
        f"{pixels.pages.replace(spelled(letters), spelled(axes.letters))}, {axes.source}",
        planes=pixels.planes,
        warnings=(*axes.warnings, *pixels.warnings, *notes),
    )
    return ArrayMovie(path, pixels, facts, uncompressed=not isinstance(file, _Owned), problem=problem)


def _whole_frames(
    stored: tuple[int, ...], letters: str, dtype: np.dtype[Any], size: int, name: str, wanted: Wanted
) -> tuple[int, ...]:
    """Return the shape of what is there of a cut array. Raises `FileError` unless that is to be salvaged."""
    whole = 0
    if letters[0] == "T" and min(stored[1:]) > 0:
        whole = size // (math.prod(stored[1:]) * dtype.itemsize)
    if not (wanted.salvage and whole):
        need = math.prod(stored) * dtype.itemsize
        raise FileError(
            f"{name} is cut off: it has {size} of {need} bytes of pixels, {whole} whole frames",
            expected="a complete file",
            todo="copy it again" + (", or take its whole frames with --salvage" if whole else ""),
        )
    return (whole, *stored[1:])
