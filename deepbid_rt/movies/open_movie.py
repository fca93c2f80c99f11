"""Opens a recording of any format: the one place that decides which reader a path belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deepbid_rt.errors import FileError, StreamError, require_effect
from deepbid_rt.movies import (
    bruker,
    hdf5,
    mesc,
    ndtiff,
    npy,
    nwb,
    raw,
    scanbox,
    thorimage,
    tiff,
    unsupported,
    zarr_movie,
)
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.wanted import Wanted


class MovieFormat(Protocol):
    """A format: a module with these two functions."""

    def claims(self, path: Path) -> bool:
        """Tell whether a file, folder or pattern (``*``) is a recording of this format; raises nothing."""
        ...

    def open_movie(self, path: Path, wanted: Wanted) -> MovieFile:
        """Open it. Raises `FileError` or `StreamError`, whatever is in the file."""
        ...


@dataclass(frozen=True, slots=True)
class _Reader:
    format: MovieFormat
    takes: tuple[str, ...] = ()
    """Which of the wishes ``dataset``, ``shape`` and ``dtype`` can take effect."""


READERS: tuple[_Reader, ...] = (
    _Reader(bruker),
    _Reader(thorimage),
    _Reader(ndtiff),
    _Reader(mesc, ("dataset",)),
    _Reader(nwb, ("dataset", "shape")),
    _Reader(
        hdf5, ("dataset", "shape")
    ),  # before Scanbox: it takes the files of MATLAB 7.3 that have no .sbx beside them
    _Reader(scanbox),
    _Reader(zarr_movie, ("dataset", "shape")),
    _Reader(npy, ("dataset", "shape")),
    _Reader(tiff),
    _Reader(raw, ("shape", "dtype")),
    _Reader(unsupported),
)
"""In the order in which they are asked: a file of a series of one program comes before its plain format."""


def open_movie_file(path: Path | str, wanted: Wanted | None = None) -> MovieFile:
    """Open a recording of any format; its facts say how its pages become frames.

    Raises
    ------
    FileError
        When there is nothing, no reader knows it, it is damaged, or a package is missing that reads it.
    StreamError
        When it contradicts itself or the wishes, or is no movie.
    OptionError
        When a wish cannot take effect for this format.
    """
    path, wanted = Path(path).expanduser(), wanted or Wanted()
    _check_path(path)
    reader = _reader(path)
    stem = reader is not None and reader.format is scanbox  # Scanbox's users name a recording without its suffix
    if not path.exists() and "*" not in path.name and not stem:
        raise FileError(f"no file or folder {path}", expected="the path of a recording", todo="check the path")
    if reader is None and path.is_dir():
        path = _only_recording(path)
        reader = _reader(path)
    if reader is not None:
        _check_wishes(path, wanted, reader)
        movie = reader.format.open_movie(path, wanted)
        if wanted.flyback and wanted.planes is None and movie.facts.planes == 1:
            movie.close()
            raise StreamError(
                f"--flyback {wanted.flyback} for {path}, which says nothing of planes",
                expected="the planes of a volume beside it",
                todo="add --planes",
            )
        return movie
    raise FileError(
        f"{path}, which is in no format that deepbid-rt can read",
        expected="a recording in one of the formats of docs/reference/formats.md",
        todo="give the file or folder that the microscope's software wrote, or convert it to TIFF",
    )


def _check_path(path: Path) -> None:
    """Refuse what cannot be looked at, and what is neither a file nor a folder, such as a pipe, which would hang."""
    try:
        there = path.exists()
        usable = not there or path.is_file() or path.is_dir()
        matches = there or "*" not in path.name or any(path.parent.glob(path.name))
    except (OSError, ValueError) as error:
        raise FileError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error})",
            expected="a path that this program may read",
            todo="check the path and its rights",
        ) from error
    if not usable:
        raise FileError(f"{path}, which is neither a file nor a folder", expected="a recording", todo="check the path")
    if not matches:
        raise FileError(f"no file matches {path}", expected="the files of a recording", todo="check the pattern")


def _reader(path: Path) -> _Reader | None:
    return next((reader for reader in READERS if reader.format.claims(path)), None)


def _only_recording(folder: Path) -> Path:
    """Return the one recording in a folder that is none itself. Raises `FileError` when there is none, or several."""
    found = [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
        and (path.is_file() or path.is_dir())  # a pipe would hang
        and (reader := _reader(path)) is not None
        and reader.format not in (raw, unsupported)
    ]
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found[:5]) + (" ..." if len(found) > 5 else "")
    raise FileError(
        f"the folder {folder} with {len(found)} recordings" + (f" ({names})" if found else ""),
        expected="one recording, or the folder that the microscope's software wrote",
        todo="give one of them" if found else "check the path; docs/reference/formats.md lists what can be read",
    )


def _check_wishes(path: Path, wanted: Wanted, reader: _Reader) -> None:
    for wish, expected in (
        ("dataset", "a file that holds several arrays (HDF5, NWB, MESc, Zarr, .npz)"),
        ("shape", "a file that does not say what its axes are (HDF5, NWB, Zarr, .npy, pixels alone)"),
        ("dtype", "a file that holds nothing but pixels"),
    ):
        require_effect(
            f"--{wish}",
            getattr(wanted, wish),
            wish in reader.takes or reader.format is unsupported,  # which is refused with a better reason
            why=f"for {path}",
            expected=expected,
            todo="give such a file",
        )
