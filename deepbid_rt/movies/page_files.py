"""Pages of many TIFF files that together are one recording, few of them open at a time."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.frame import DTYPES
from deepbid_rt.movies.frame_limits import check_frame_limits
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.recording.tiff_pages import NO_START, DamagedError, FoundPages, PageLayout, TiffPages

_OPEN_AT_A_TIME = 16
_PLAIN_DTYPES = {np.dtype(one).name for one in DTYPES}


@dataclass(frozen=True, slots=True)
class _File:
    """The whole pages of one file."""

    path: Path
    offsets: array[int]
    """Of their directories."""
    starts: array[int]
    """Of their pixels; `NO_START` where they must be decoded."""
    big_endian: bool


class PageFiles:
    """The pages of many TIFF files of one size and type, read on demand; safe to use from several threads.

    Opening looks at the tags of each page (about 0.2 ms per file), so that a file that is missing, cut or unlike the
    others is found before anything starts. A page that lies in one piece is read as it is, other pages by `TiffMovie`.

    Parameters
    ----------
    paths : sequence of Path
        The files, at least one.
    salvage : bool
        Count the whole pages of a file that is missing, cut off or damaged, which may be none; `problem` then says
        what is wrong with the first of them. Else such a file is refused.

    Attributes
    ----------
    counts : list of int
        Pages of each file.
    shape : tuple of int
        (Y, X) of all pages.
    dtype : numpy.dtype
        Type of the returned pixels, little-endian.
    uncompressed : bool
        True when no page must be decoded.
    problem : str or None
        What is wrong with the first file that is not whole.

    Raises
    ------
    FileError
        When a file is missing (the first one is named), or damaged.
    StreamError
        When a page has another size or type than the first one, or one that a stream does not allow.
    """

    def __init__(self, paths: Sequence[Path], *, salvage: bool = False) -> None:
        self._salvage = salvage
        self._files: list[_File] = []
        self._open: OrderedDict[int, BinaryIO | TiffMovie] = OrderedDict()
        self._lock = threading.RLock()
        self._closed = False
        self.problem: str | None = None
        self.uncompressed = True
        missing = [one for one in paths if not one.is_file()]
        if missing and not (salvage and len(missing) < len(paths)):
            raise FileError(
                f"no file {missing[0]}" + (f", nor {len(missing) - 1} others of this recording" * (len(missing) > 1)),
                expected=f"all {len(paths)} files of the recording",
                todo="copy the whole folder, or use what is there with --salvage",
            )
        try:
            self._look(paths)
        except BaseException:
            self.close()
            raise
        self.counts = [len(one.starts) for one in self._files]

    def _look(self, paths: Sequence[Path]) -> None:
        """Find the pages of all files, and check their size and type."""
        layout: PageLayout | None = None
        codecs: set[int] = set()
        for path in paths:
            found, big_endian = self._find(path)
            if found is None or not found.offsets:
                self._files.append(_File(path, array("Q"), array("Q"), big_endian=False))
                continue
            self._files.append(_File(path, found.offsets, found.starts, big_endian))
            own = found.odd[1].layout if found.odd else found.first.layout
            layout = layout or self._first_layout(path, found)
            if own != layout:
                raise StreamError(
                    f"{path} with {own.dtype} pixels of shape {own.shape}",
                    expected=f"{layout.dtype} pixels of shape {layout.shape} as on the first page",
                    todo="give the files of one recording, all of one size and type",
                )
            if NO_START in found.starts:
                self.uncompressed = False
                if not codecs.issuperset(found.compressions):
                    self._movie(len(self._files) - 1)  # so that a missing codec is found now
                    codecs.update(found.compressions)
        if layout is None:
            raise FileError(
                f"{paths[0]} and all other files of the recording are damaged",
                expected="at least one whole TIFF file",
                todo="copy the folder again",
            )

    def _find(self, path: Path) -> tuple[FoundPages | None, bool]:
        """Return the whole pages of a file, and whether it is big-endian; None when it has none."""
        found, problem, cause = None, None, None
        big_endian = False
        try:
            with path.open("rb") as file:
                pages = TiffPages(file)
                found, big_endian = pages.find(), pages.order == ">"
            problem = found.problem
        except (OSError, DamagedError) as error:
            problem, cause = (error.strerror if isinstance(error, OSError) else None) or str(error), error
        if problem and not self._salvage:
            raise FileError(
                f"{path} cannot be read as a whole TIFF ({problem})",
                expected="a complete file",
                todo="copy it again, wait until the recording has ended, or use what is there with --salvage",
            ) from cause
        if problem:
            self.problem = self.problem or f"{path.name} is missing or damaged ({problem})"
        return found, big_endian

    def _first_layout(self, path: Path, found: FoundPages) -> PageLayout:
        """Return the layout of the first page after checking that a stream allows it."""
        layout = found.first.layout
        check_frame_limits(path, 1, layout.lines, layout.pixels)
        self.shape = (layout.lines, layout.pixels)
        if layout.dtype in _PLAIN_DTYPES and layout.samples == 1:
            self.dtype = np.dtype(layout.dtype).newbyteorder("<")
        else:
            with TiffMovie(path, 1, salvage=self._salvage) as movie:  # it says why not
                self.dtype = movie.dtype
        return layout

    def _opened(self, number: int, movie: bool) -> BinaryIO | TiffMovie:
        """Return an open file; another one is closed for it when there are many."""
        if self._closed:
            raise ValueError("the recording is closed")
        key = -1 - number if movie else number
        opened = self._open.pop(key, None)
        if opened is None:
            path = self._files[number].path
            opened = TiffMovie(path, 1, salvage=self._salvage) if movie else path.open("rb", buffering=0)
        self._open[key] = opened
        while len(self._open) > _OPEN_AT_A_TIME:
            self._open.popitem(last=False)[1].close()
        return opened

    def _movie(self, number: int) -> TiffMovie:
        movie = self._opened(number, movie=True)
        if not isinstance(movie, TiffMovie) or movie.shape[2:] != self.shape or movie.dtype != self.dtype:
            raise ValueError(f"{self._files[number].path.name} has changed since it was opened")
        return movie

    def read(self, file: int, page: int, out: NDArray[Any]) -> None:
        """Fill `out` (Y, X), C-contiguous, with a page of a file.

        Raises anything when the file has changed since it was opened.
        """
        one = self._files[file]
        start = one.starts[page]
        with self._lock:  # else another thread closes the file, or moves in it
            if start == NO_START:
                out[...] = self._movie(file).read(page, page + 1)[0, 0]
                return
            opened: Any = self._opened(file, movie=False)
            opened.seek(start)
            read_exactly(opened, out)
        if one.big_endian:
            out.byteswap(inplace=True)

    def offsets(self, file: int) -> Sequence[int]:
        """Return the offset of the directory of each page of a file."""
        return self._files[file].offsets

    def close(self) -> None:
        """Close all files; may be called twice."""
        with self._lock:
            self._closed = True
            for opened in self._open.values():
                opened.close()
            self._open.clear()


def read_exactly(file: Any, out: NDArray[Any]) -> None:
    """Fill a C-contiguous array from the position of a binary file. Raises `EOFError` when the file ends before."""
    left = memoryview(out.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    while left:
        done = file.readinto(left)
        if not done:
            raise EOFError("it has become shorter since it was opened")
        left = left[done:]
