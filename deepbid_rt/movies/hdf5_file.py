"""An HDF5 file that is not trusted: what it refers to outside itself, claims or lacks is found before it is read."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_OBJECTS = 20_000
"""Groups and datasets that are looked at in search of a movie."""
MAX_CHUNK_BYTES = 2**30
_MAX_LINKS = 16
"""Soft links that are followed one after another."""
_FILTERS = {307: "bzip2", 32000: "LZF", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32013: "ZFP"}
_FILTERS |= {32015: "Zstandard", 32026: "Blosc2", 32016: "B3D", 32018: "JPEG-LS", 32024: "JPEG-XL"}


def begins_hdf5(path: Path, *, user_block: int = 0) -> bool:
    """Tell whether HDF5 begins at this place of a file; False when it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            file.seek(user_block)
            return file.read(len(SIGNATURE)) == SIGNATURE
    except OSError:
        return False


class Hdf5File:
    """An HDF5 file, open for reading.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    FileError
        When h5py is missing, or the file is cut, being written, or no HDF5 file.
    """

    def __init__(self, path: Path) -> None:
        try:
            import h5py
        except ImportError as error:
            raise FileError(
                f"{path}, an HDF5 file, without the Python package h5py",
                expected="the packages that read recordings",
                todo='install them: pip install "deepbid-rt[formats]"',
            ) from error
        self.path = path
        try:
            self.file = h5py.File(path, "r")
        except OSError as error:
            raise _refusal(path, str(error)) from error
        self._size = path.stat().st_size

    def close(self) -> None:
        """Close the file; may be called twice."""
        self.file.close()

    def check_length(self) -> None:
        """Raise `EOFError` when the file has become shorter: HDF5 reads zeros behind the end of a file."""
        size = 0
        with contextlib.suppress(Exception):  # other drivers have no descriptor
            size = os.fstat(self.file.id.get_vfd_handle()).st_size
        if size < self._size:
            raise EOFError("it has become shorter since it was opened")

    def member(self, name: str, start: Any = None) -> Any:
        """Return the group or dataset at a path, or None when there is none.

        Parameters
        ----------
        name : str
            Path, from the root or from `start`.
        start : h5py.Group, optional
            Where to begin.

        Raises
        ------
        FileError
            When a link on the way leaves the file.
        """
        return self._walk(name, self.file if start is None else start, 0)

    def _walk(self, name: str, here: Any, depth: int) -> Any:
        import h5py

        if name.startswith("/"):
            here = self.file
        for part in name.split("/"):
            if part in ("", "."):
                continue
            if not isinstance(here, h5py.Group) or depth > _MAX_LINKS:
                return None
            link = here.get(part, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise FileError(
                    f"{name} in {self.path} that lies in another file, {link.filename}",
                    expected="pixels in the file itself",
                    todo="give that file",
                )
            if isinstance(link, h5py.SoftLink):
                here = self._walk(link.path, here, depth + 1)
            else:
                here = here.get(part) if isinstance(link, h5py.HardLink) else None
            if here is None:
                return None
        return here

    def datasets(self, start: Any = None) -> Iterator[Any]:
        """Yield every dataset below a group once, by hard links only, in the order of their names."""
        import h5py

        waiting, seen = [self.file if start is None else start], set()
        while waiting:
            here = waiting.pop()
            key = h5py.h5o.get_info(here.id)
            if (key.fileno, key.addr) in seen:
                continue
            seen.add((key.fileno, key.addr))
            if len(seen) > MAX_OBJECTS:
                return
            if isinstance(here, h5py.Dataset):
                yield here
            elif isinstance(here, h5py.Group):
                below = [one for one in here if isinstance(here.get(one, getlink=True), h5py.HardLink)]
                waiting += [here[one] for one in reversed(below[:MAX_OBJECTS])]

    def leaving(self) -> list[str]:
        """Return names of members of the root that lie in other files."""
        import h5py

        return [one for one in self.file if isinstance(self.file.get(one, getlink=True), h5py.ExternalLink)]

    def source(self, dataset: Any) -> Hdf5Source:
        """Return a dataset as an array of which pieces can be read. Raises `FileError` when it could not be read."""
        return Hdf5Source(self, dataset)


def _refusal(path: Path, reason: str) -> FileError:
    """Return the error for what HDF5 says of a file that it does not open."""
    if "already open for" in reason or "unable to lock" in reason or "consistency flags" in reason:
        return FileError(
            f"{path}, which another program is writing, or was writing when it ended",
            expected="a finished file",
            todo="stop the acquisition first, or mark the file as closed with h5clear -s",
        )
    if "truncated" in reason:
        return FileError(f"{path} is cut off", expected="a complete HDF5 file", todo="copy it again")
    if "signature not found" in reason:
        return FileError(
            f"{path}, which is no HDF5 file or has lost its beginning",
            expected="an HDF5 file",
            todo="copy it again, or give it the suffix of its format",
        )
    return FileError(
        f"{path} cannot be read as an HDF5 file ({reason[:200]})",
        expected="an intact file that may be read",
        todo="copy it again, or check whether another program can open it",
    )


class Hdf5Source:
    """A dataset of an HDF5 file; see `deepbid_rt.movies.array_pixels.ArraySource`.

    Attributes
    ----------
    compressed : bool
        True when its pieces are decoded.
    warnings : tuple of str
        What a user has to know of how it is stored.
    """

    def __init__(self, file: Hdf5File, dataset: Any) -> None:
        self._file, self._dataset = file, dataset
        self.name = f"{dataset.name} of {file.path}"
        if dataset.shape is None or dataset.dtype.hasobject:
            raise FileError(
                f"{self.name} without pixels", expected="an array of numbers", todo="give another one with --dataset"
            )
        self.shape: tuple[int, ...] = tuple(dataset.shape)
        self.dtype: np.dtype[Any] = dataset.dtype
        plist = dataset.id.get_create_plist()
        self._refuse_other_files(plist)
        self.chunks: tuple[int, ...] | None = None if dataset.is_virtual else dataset.chunks
        self.compressed = self._check_filters(plist)
        self.warnings = () if dataset.is_virtual else self._check_storage()

    def _refuse_other_files(self, plist: Any) -> None:
        others = [plist.get_external(0)[0]] if plist.get_external_count() else []
        if self._dataset.is_virtual:
            sources = self._dataset.virtual_sources()
            others += [one.file_name for one in sources if one.file_name != "."]
            for one in {one.dset_name for one in sources} if not others else ():
                part = self._file.member(one)
                if part is not None and (part.is_virtual or part.id.get_create_plist().get_external_count()):
                    others.append(one)
        if others:
            name = others[0].decode(errors="replace") if isinstance(others[0], bytes) else others[0]
            raise FileError(
                f"{self.name}, whose pixels lie in other files, such as {name}",
                expected="pixels in the file itself",
                todo="give that file, or copy the dataset into one file (h5repack)",
            )

    def _check_filters(self, plist: Any) -> bool:
        import h5py

        codes = [plist.get_filter(number) for number in range(plist.get_nfilters())]
        if any(not h5py.h5z.filter_avail(code[0]) for code in codes):
            with contextlib.suppress(ImportError):
                importlib.import_module("hdf5plugin")  # registers its filters
        for code, _, _, name in codes:
            if not h5py.h5z.filter_avail(code):
                words = _FILTERS.get(code) or name.decode(errors="replace").split("\0")[0] or "unknown"
                raise FileError(
                    f"{self.name}, compressed with a filter that is not installed ({words[:60]}, number {code})",
                    expected="an installed filter",
                    todo="install the Python package hdf5plugin, or save the movie again without compression",
                )
        return bool(codes)

    def _check_storage(self) -> tuple[str, ...]:
        """Compare what the dataset claims with what is stored."""
        claimed, stored = math.prod(self.shape) * self.dtype.itemsize, self._dataset.id.get_storage_size()
        if stored == 0:
            raise FileError(
                f"{self.name} of shape {self.shape}, in which no pixel was ever written",
                expected="a recording",
                todo="check whether the acquisition was saved",
            )
        size = self._file.path.stat().st_size
        if stored > size:
            raise FileError(
                f"{self.name} with {stored} bytes of pixels in a file of {size}",
                expected="a complete file",
                todo="copy it again",
            )
        if self.chunks is None:
            if claimed > stored:
                raise FileError(
                    f"{self.name} with {stored} of {claimed} bytes of pixels",
                    expected="a complete file",
                    todo="copy it again",
                )
            return ()
        chunk = math.prod(self.chunks) * self.dtype.itemsize
        if chunk > MAX_CHUNK_BYTES:
            raise FileError(
                f"{self.name}, stored in pieces of {chunk} bytes",
                expected=f"pieces of at most {MAX_CHUNK_BYTES} bytes",
                todo="store it in smaller pieces, such as one frame each (h5repack)",
            )
        wanted = math.prod(-(-length // piece) for length, piece in zip(self.shape, self.chunks, strict=True))
        there = self._dataset.id.get_num_chunks()
        if there < wanted:
            fill = self._dataset.fillvalue
            return (f"{wanted - there} of {wanted} stored pieces were never written and read as {fill}",)
        return ()

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Return a piece. Raises what HDF5 raises, and `EOFError` when the file has become shorter."""
        piece: NDArray[Any] = self._dataset[index]
        self._file.check_length()
        return piece

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()
