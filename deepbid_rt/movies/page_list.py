"""The pages of one or several TIFF files as one list."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.tiff_stack import CUT_OFF, DESCRIPTION, TiffStack

OPEN_FILES = 32
"""Files that stay open at the same time: a series may have 10,000 of them, and a process may open about 1,000."""


class PageList:
    """The pages of one or several TIFF files, one file after the other. Thread-safe.

    All files are opened once, so that a file that cannot be read is refused at once; later they are opened as needed.

    Attributes
    ----------
    paths : tuple of Path
        The files.
    counts : tuple of int
        Pages of each file.
    shape : tuple of int
        (Y, X).
    dtype : numpy.dtype
        Type of the pixels, one of `deepbid_rt.frame.DTYPES`.
    notes : tuple of str
        What a user has to know about the pixels.
    problem : str or None
        What is wrong with the first damaged file, when damaged files are salvaged.
    uncompressed : bool
        True when decoding cannot fail.

    Raises
    ------
    FileError
        When a file cannot be read or is damaged.
    StreamError
        When the pages of two files differ in size or type.
    """

    def __init__(self, paths: Sequence[Path], *, salvage: bool = False) -> None:
        self.paths = tuple(paths)
        self._salvage = salvage
        self._lock = threading.RLock()
        self._stacks: OrderedDict[int, TiffStack] = OrderedDict()  # the one used last at the end
        self._closed = False
        self.problem: str | None = None
        self.uncompressed = True
        counts: list[int] = []
        problems: list[str | None] = []
        self.described = True
        """True when each page has a directory of its own, so that it may have a description."""
        try:
            for number, path in enumerate(self.paths):
                stack = self._stack(number)
                if number == 0:
                    self.shape, self.dtype, self.notes = stack.shape, stack.dtype, stack.notes
                self._check(stack)
                counts.append(stack.count)
                problems.append(stack.problem)
                self.uncompressed &= stack.uncompressed
                self.described &= stack.described
                if stack.problem and not self.problem:
                    self.problem = stack.problem if len(self.paths) == 1 else f"{path.name}: {stack.problem}"
        except BaseException:
            self.close()
            raise
        self.counts = tuple(counts)
        self._ends = np.cumsum(counts)
        self.torn = any(problems[:-1]) or problems[-1] not in (None, CUT_OFF)
        """True when pages may be missing between two that are there."""

    def _check(self, stack: TiffStack) -> None:
        if (stack.shape, stack.dtype) != (self.shape, self.dtype):
            raise StreamError(
                f"{stack.path} with {stack.dtype} pages of shape {stack.shape}",
                expected=f"{self.dtype} pages of shape {self.shape} as in {self.paths[0].name}",
                todo="open the files of one recording only",
            )

    def _stack(self, number: int) -> TiffStack:
        """Return an open file."""
        with self._lock:
            if self._closed:
                raise ValueError("the recording is closed")
            stack = self._stacks.pop(number, None)
            if stack is None:
                stack = TiffStack(self.paths[number], salvage=self._salvage)
                if hasattr(self, "counts") and stack.count != self.counts[number]:
                    stack.close()
                    raise FileError(
                        f"{stack.path} with {stack.count} pages, where {self.counts[number]} were",
                        expected="files that stay as they were when they were opened",
                        todo="check whether another program writes to them",
                    )
            self._stacks[number] = stack
            while len(self._stacks) > OPEN_FILES:
                self._stacks.popitem(last=False)[1].close()
            return stack

    @property
    def first(self) -> TiffStack:
        """The first file, open."""
        return self._stack(0)

    @property
    def name(self) -> str:
        """What an error calls the recording."""
        return str(self.paths[0]) if len(self.paths) == 1 else f"{self.paths[0]} and {len(self.paths) - 1} more files"

    @property
    def count(self) -> int:
        """Number of pages."""
        return int(self._ends[-1])

    def locate(self, page: int) -> tuple[int, int]:
        """Return the number of the file and of the page in it."""
        file = int(np.searchsorted(self._ends, page, side="right"))
        return file, page - (int(self._ends[file - 1]) if file else 0)

    def read(self, page: int, out: NDArray[Any]) -> None:
        """Fill `out` (Y, X) with a page. May raise anything."""
        file, number = self.locate(page)
        if len(self.paths) <= OPEN_FILES:
            self._stack(file).read(number, out)
            return
        with self._lock:  # else another thread may need so many files that this one is closed before it is read
            self._stack(file).read(number, out)

    def description(self, page: int) -> str:
        """Return the description of a page; empty when it has none."""
        return self.text(DESCRIPTION, page)

    def text(self, code: int, page: int) -> str:
        """Return a tag of a page as text; empty when it has none."""
        file, number = self.locate(page)
        with self._lock:
            return self._stack(file).text(code, number)

    def close(self) -> None:
        """Close all files; may be called twice."""
        with self._lock:
            self._closed = True
            for stack in self._stacks.values():
                stack.close()
            self._stacks.clear()
