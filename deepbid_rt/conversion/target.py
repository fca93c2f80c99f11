"""The file or folder that a conversion writes: its format, and that it appears under its name only when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from deepbid_rt.errors import FileError, OptionError, StageError

Format = Literal["ome-tiff", "ome-zarr", "nwb", "imagej"]
"""Formats that recordings can be converted to."""

_SUFFIXES: dict[str, Format] = {
    **dict.fromkeys((".ome.tif", ".ome.tiff", ".ome.btf"), "ome-tiff"),
    ".zarr": "ome-zarr",
    ".nwb": "nwb",
}
"""Ends of names that tell the format."""
_PLAIN_TIFF = (".tif", ".tiff")
_ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")
_FOLDERS = ("ome-zarr",)
SUFFIX_WORDS = ".ome.tif, .zarr or .nwb, or .tif with the format imagej or ome-tiff"


class Target:
    """Where a recording is converted to.

    Parameters
    ----------
    path : Path
        File, or folder for OME-Zarr.
    format : str, optional
        By default as the end of the name says.
    overwrite : bool
        Replace what is there, when it is of the same kind.

    Raises
    ------
    OptionError
        When the name does not tell the format, or another one.
    FileError
        When there is something already, or no folder to write into.
    """

    def __init__(self, path: Path, format: Format | None = None, *, overwrite: bool = False) -> None:  # noqa: A002
        self.path = path.expanduser()
        self.format: Format = _format(self.path.name, format)
        self._check_place(overwrite)

    def _check_place(self, overwrite: bool) -> None:
        path = self.path
        try:
            there, folder, parent = path.exists() or path.is_symlink(), path.is_dir(), path.parent.is_dir()
        except OSError as error:
            raise FileError(
                f"{path} cannot be looked at ({error.strerror})", expected="a place to write to", todo="check the path"
            ) from error
        if not parent:
            raise FileError(
                f"no folder {path.parent}", expected="an existing folder to write into", todo="create it, or check it"
            )
        if there and not overwrite:
            raise FileError(
                f"{path} exists already", expected="a new name", todo="choose another name, or ask to overwrite it"
            )
        if there and folder and (self.format not in _FOLDERS or not _is_zarr(path)):
            raise FileError(
                f"{path}, a folder that is no Zarr folder, to be overwritten",
                expected="a Zarr folder" if self.format in _FOLDERS else "a file",
                todo="choose another name, or move that folder away",
            )
        if there and not folder and self.format in _FOLDERS:
            raise FileError(
                f"{path}, a file, to be overwritten by a folder",
                expected="a Zarr folder",
                todo="choose another name, or move that file away",
            )

    def refuse_source(self, source: Path) -> None:
        """Raise `FileError` when the recording to be converted would be overwritten, or be written into."""
        ours, theirs = self.path.resolve(), source.expanduser().resolve()
        inside = theirs in ours.parents and (theirs / "zarr.json").exists()
        if ours == theirs or ours in theirs.parents or inside:
            raise FileError(
                f"{self.path} for the recording {source} itself",
                expected="another place than that of the recording",
                todo="choose another name",
            )

    def check_room(self, nbytes: int) -> None:
        """Raise `FileError` when the disk has less room than so many bytes."""
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError:  # a disk that does not tell: it will say so when it is full
            return
        if free < nbytes:
            raise FileError(
                f"{free / 1e9:.1f} GB free in {self.path.parent}",
                expected=f"room for {nbytes / 1e9:.1f} GB",
                todo="free some space, or write to another disk",
            )

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Yield the place to write; at the end it gets its name, and after an exception nothing is left of it.

        Raises
        ------
        StageError
            When the disk refuses.
        """
        # Libraries look at the end of a name, and readers of a folder leave out what begins with a dot. The number of
        # the process: two conversions to one name must not write into each other.
        part = self.path.with_name(f".{os.getpid()}.part.{self.path.name}")
        _remove(part)  # of a process of the same number that was killed
        try:
            yield part
            _put(part, self.path)
        except OSError as error:
            raise StageError(
                f"{self.path} could not be written ({error.strerror or error})",
                expected="a disk that accepts everything",
                todo="check the disk and the folder, and convert the recording again",
            ) from error
        finally:
            _remove(part)


def _format(name: str, given: Format | None) -> Format:
    lower = name.lower()
    if given is not None and given not in get_args(Format):
        raise OptionError(
            f"the format {given!r}", expected=f"one of {', '.join(get_args(Format))}", todo="write one of these"
        )
    told = next((known for suffix, known in _SUFFIXES.items() if lower.endswith(suffix)), None)
    if told is None and lower.endswith(_PLAIN_TIFF) and given in ("imagej", "ome-tiff"):
        return given
    if told is None or given not in (None, told):
        what = f"the format {given} for {name}" if given else f"{name}, whose end tells no format"
        rest = ", or leave the format out" if given and told else ""
        raise OptionError(what, expected=f"a name that ends in {SUFFIX_WORDS}", todo=f"change the name{rest}")
    return told


def _is_zarr(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in _ZARR_MARKS)


def _put(part: Path, path: Path) -> None:
    """Give a whole file or folder its name. Raises `OSError`."""
    if not part.is_dir():
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
        return
    old = part.with_name(f"{part.name}.old")  # a folder cannot be replaced in one step
    if path.exists():
        path.replace(old)
    part.replace(path)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
