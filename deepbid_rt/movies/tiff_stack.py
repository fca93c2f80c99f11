"""The pages of one TIFF file, of any pixel type that can be turned into one that streams allow.

`deepbid_rt.recording.tiff_pages` finds the pages without trusting a size in the file. Pixels are read with seek and
read: a file that shrinks gives an error, where a memory map would end the process.
"""

from __future__ import annotations

import json
import math
import re
import threading
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import DeepbidError, FileError, StreamError
from deepbid_rt.frame import MAX_SIDE
from deepbid_rt.recording.tiff_expansion import check_expansion
from deepbid_rt.recording.tiff_pages import NO_START, DamagedError, PageLayout, TiffPages

PHOTOMETRIC, DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 262, 270, 282, 283, 296
SOFTWARE, ARTIST, MICRO_MANAGER = 305, 315, 51123
"""Numbers of tags, as TIFF 6.0 gives them; the last one is Micro-Manager's own."""
CUT_OFF = "it is cut off"
_ORIENTATION = 274
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1
_RATIONAL = 5
_KINDS = {1: "u", 2: "i", 3: "f"}
_KEPT = ("|u1", "<u2", "<i2", "<f4")
_TURNED = {"|i1": "<i2", "<f2": "<f4", "<i4": "<f4", "<u4": "<f4", "<f8": "<f4", "<i8": "<f4", "<u8": "<f4"}


class TiffStack:
    """The pages of one TIFF or BigTIFF file, in the order of the file. Thread-safe.

    Parameters
    ----------
    path : Path
        The file.
    salvage : bool
        Take the whole pages of a file that is cut off or damaged; `problem` then says what is wrong with it. Else such
        a file is refused.

    Attributes
    ----------
    count : int
        Number of pages. A file of ImageJ or tifffile may have one directory for all of them.
    shape : tuple of int
        (Y, X).
    dtype : numpy.dtype
        Type of the returned pixels, one of `deepbid_rt.frame.DTYPES`.
    notes : tuple of str
        What a user has to know about the pixels, such as that float64 became float32.
    problem : str or None
        What is wrong with a file whose whole pages are salvaged.
    uncompressed : bool
        True when decoding cannot fail.

    Raises
    ------
    FileError
        When it cannot be read, is damaged, or a codec is missing.
    StreamError
        When its pages differ from each other, or have colours or a type that is not read.
    """

    def __init__(self, path: Path, *, salvage: bool = False) -> None:
        self.path = path
        self.problem: str | None = None
        self._lock = threading.Lock()  # of the positions in the files
        self._tif: Any = None
        self._file: Any = None
        try:
            self._file = path.open("rb")
            self._index(salvage)
        except DeepbidError:
            self.close()
            raise
        except Exception as error:  # damaged tags make tifffile raise exceptions of any type
            self.close()
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            raise FileError(
                f"{path} cannot be read as a TIFF ({reason})",
                expected="an intact TIFF or BigTIFF file",
                todo="check the path, and whether another program can open the file",
            ) from error

    def _index(self, salvage: bool) -> None:
        self._pages = TiffPages(self._file)
        found = self._pages.find(salvage=salvage)
        layout = found.first.layout
        self._check_layout(layout, found.first.offset)
        if found.odd is not None:
            number, page = found.odd
            raise StreamError(
                f"page {number} of {self.path} with {page.layout.dtype} pixels of shape {page.layout.shape}",
                expected=f"{layout.dtype} pixels of shape {layout.shape} as on page 0",
                todo="save the pages of each size and type in a separate file",
            )
        self.shape = (layout.lines, layout.pixels)
        self._offsets, self._starts = found.offsets, found.starts
        self.one_directory = False
        if len(self._offsets) == 1 and self._starts[0] != NO_START:
            found.problem = self._spread_page_0(layout) or found.problem
        self.count = len(self._starts)
        self.problem = found.problem
        if self.count == 0 or (found.problem and not salvage):
            raise self._damaged(found.problem or "no page is whole")
        self.uncompressed = NO_START not in self._starts
        for number in found.compressions.values():
            if found.starts[number] == NO_START:
                self._decode_at_opening(number)

    def _check_layout(self, layout: PageLayout, offset: int) -> None:
        kind = f"{_KINDS.get(layout.format, 'c')}{layout.bits // 8}"
        photometric = self._pages.tag(offset, PHOTOMETRIC)
        colours = int.from_bytes(photometric[0][1][:2], self._endian) if photometric else 1
        if layout.samples > 1 or colours not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
            raise StreamError(
                f"{self.path} with colours ({layout.samples} samples per pixel, photometric {colours})",
                expected="grey pages of counts, one sample per pixel",
                todo="save each channel as grey pages; a palette or RGB picture does not hold the counts any more",
            )
        try:
            stored = np.dtype(self._pages.order + kind) if layout.bits % 8 == 0 else None
        except TypeError:
            stored = None
        name = stored.newbyteorder("<").str if stored is not None else ""
        if stored is None or name not in (*_KEPT, *_TURNED):
            raise StreamError(
                f"{self.path} with pixels of {layout.bits} bits ({layout.dtype})",
                expected="pages of uint8, uint16, int16, float32, or a type that becomes one of them",
                todo="convert the movie, to int16 if its counts allow it",
            )
        if max(layout.lines, layout.pixels) > MAX_SIDE or min(layout.lines, layout.pixels) < 1:
            raise StreamError(
                f"{self.path} with pages of {layout.lines} lines and {layout.pixels} pixels",
                expected=f"1..{MAX_SIDE} lines and pixels",
                todo="save the movie in smaller pieces",
            )
        self._stored = stored
        self.dtype = np.dtype(_TURNED.get(name, name))
        notes = []
        if name in _TURNED:
            lossy = ", and large counts are rounded" if name in ("<i4", "<u4", "<f8", "<i8", "<u8") else ""
            notes.append(f"{stored.name} pixels become {self.dtype.name}{lossy}")
        if colours == _WHITE_IS_ZERO:
            notes.append("the file says that 0 is white; its counts are taken as they are, not inverted")
        orientation = self._pages.tag(offset, _ORIENTATION)
        turned = int.from_bytes(orientation[0][1][:2], self._endian) if orientation else 1
        if turned not in (0, 1):
            notes.append(
                f"the file asks viewers to turn or mirror its pages (orientation {turned}); they are not turned"
            )
        self.notes = tuple(notes)

    @property
    def _endian(self) -> Any:
        return "little" if self._pages.order == "<" else "big"

    def _spread_page_0(self, layout: PageLayout) -> str | None:
        """Find the pages that follow page 0 without directories; return what is wrong."""
        self.one_directory = True
        stack = pages_of_description(self.description(0), layout)
        start = self._starts[0]
        whole = min(stack, (self._pages.size - start) // layout.nbytes)
        if stack <= 1:
            return None
        self._starts = array("Q", range(start, start + whole * layout.nbytes, layout.nbytes))
        return CUT_OFF if whole < stack else None

    def _damaged(self, problem: str) -> FileError:
        what = "is cut off" if problem == CUT_OFF else "is damaged"
        why = "" if problem == CUT_OFF else f" ({problem})"
        return FileError(
            f"{self.path} {what} after {self.count} complete pages{why}",
            expected="a complete file",
            todo="copy it again, or use its complete pages: deepbid-rt recover writes them to a new file, and "
            "deepbid-rt denoise --salvage denoises them",
        )

    def _decode_at_opening(self, number: int) -> None:
        """Decode one page of each compression, so that a missing codec is found now."""
        try:
            self._decode(number)
        except Exception as error:  # each codec raises its own exceptions
            raise FileError(
                f"page {number} of {self.path} cannot be decoded ({error})",
                expected="intact pages, uncompressed or with an installed codec",
                todo="save the movie uncompressed, or install the Python package imagecodecs",
            ) from error

    def _decode(self, number: int) -> NDArray[Any]:
        import tifffile  # takes long

        with self._lock:
            if self._file is None:
                raise ValueError("the file is closed")
            if self._tif is None:
                self._tif = tifffile.TiffFile(self.path)
            self._tif.filehandle.seek(self._offsets[number])
            page = tifffile.TiffPage(self._tif, index=number)
        check_expansion(page)
        return np.asarray(page.asarray())

    def read(self, number: int, out: NDArray[Any]) -> None:
        """Fill `out` (Y, X), C-contiguous and of type `dtype`, with a page. May raise anything."""
        start = self._starts[number]
        if start == NO_START:
            out[...] = self._decode(number).reshape(out.shape)
        elif self._stored.newbyteorder("<").str == self.dtype.str:
            self._read_bytes(start, out.reshape(-1).view(np.uint8).data)
            if self._pages.order == ">":
                out.byteswap(inplace=True)
        else:
            stored = np.empty(out.shape, self._stored)
            self._read_bytes(start, stored.reshape(-1).view(np.uint8).data)
            out[...] = stored

    def _read_bytes(self, start: int, out: memoryview) -> None:
        with self._lock:
            if self._file is None:
                raise ValueError("the file is closed")
            self._file.seek(start)
            done = self._file.readinto(out)
        if done < len(out):
            raise EOFError("it has become shorter since it was opened")

    def tag(self, code: int, page: int = 0) -> bytes:
        """Return the bytes of a page's tag; empty when there is none or it cannot be read."""
        return (self.tags(code, page) or (b"",))[0]

    def tags(self, code: int, page: int = 0) -> tuple[bytes, ...]:
        """Return the bytes of all tags of one number; Micro-Manager writes two descriptions."""
        if page >= len(self._offsets):
            return ()
        try:
            with self._lock:
                return tuple(value for _, value in self._pages.tag(self._offsets[page], code))
        except (DamagedError, OSError, ValueError):
            return ()

    def number(self, code: int) -> float | None:
        """Return a rational or short tag of page 0 as a number; None when it is no such tag, or not finite."""
        try:
            with self._lock:
                kind, value = self._pages.tag(self._offsets[0], code)[0]
        except (DamagedError, OSError, ValueError, IndexError):
            return None
        if kind == _RATIONAL and len(value) >= 8:
            top, bottom = (int.from_bytes(value[at : at + 4], self._endian) for at in (0, 4))
            return top / bottom if bottom else None
        return float(int.from_bytes(value[:2], self._endian)) if kind == 3 and len(value) >= 2 else None

    def text(self, code: int, page: int = 0) -> str:
        """Return a tag as text up to its first zero byte; what is not UTF-8 is replaced."""
        return self.tag(code, page).split(b"\0")[0].decode("utf-8", "replace")

    def description(self, page: int) -> str:
        """Return the description of a page; empty when it has none."""
        return self.text(DESCRIPTION, page)

    def head(self, count: int) -> bytes:
        """Return the first bytes of the file, at most as many as it has."""
        with self._lock:
            self._file.seek(0)
            return bytes(self._file.read(min(count, self._pages.size)) or b"")

    @property
    def described(self) -> bool:
        """True when each page has a directory of its own that the first one leads to."""
        return not self.one_directory and self.problem in (None, CUT_OFF)

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            if self._tif is not None:
                self._tif.close()
            self._file = self._tif = None


def imagej_facts(description: str) -> dict[str, str] | None:
    """Return the ``key=value`` lines of a description of ImageJ; None for another description."""
    if not description.startswith("ImageJ="):
        return None
    pairs = (line.split("=", 1) for line in description.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def shaped_facts(description: str) -> dict[str, Any] | None:
    """Return what tifffile says about an array: ``shape``, and mostly ``axes``; None for another description."""
    if description.startswith("shape=("):
        sizes = re.findall(r"\d{1,18}", description)
        return {"shape": [int(size) for size in sizes]}
    if not description.startswith("{") or '"shape"' not in description:
        return None
    try:
        facts = json.loads(description)
    except (ValueError, RecursionError):
        return None
    shape = facts.get("shape") if isinstance(facts, dict) else None
    whole = isinstance(shape, list) and all(isinstance(size, int) and 0 < size < 2**40 for size in shape)
    return facts if whole else None


def pages_of_description(description: str, layout: PageLayout) -> int:
    """Return the number of pages that page 0 stands for when it is the only directory of its file."""
    imagej, shaped = imagej_facts(description), shaped_facts(description)
    if imagej is not None:
        images = imagej.get("images", "1")
        return int(images) if re.fullmatch(r"\d{1,12}", images) else 1
    if shaped is not None:
        return int(math.prod(shaped["shape"])) // (layout.lines * layout.pixels)
    return 1
