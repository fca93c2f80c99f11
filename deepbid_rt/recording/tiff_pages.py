"""The pages of a TIFF file, found without trusting it.

Every size that the file states is compared with the length of the file before anything is allocated or decoded. In a
file that is cut or damaged the whole pages are found.
"""

from __future__ import annotations

import io
import re
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_START = 2**64 - 1
"""Start of a page whose pixels must be decoded."""
MAX_TAGS = 1000
MAX_TAG_BYTES = 2**25
"""Largest number of tags in a page, and of bytes in them. Metadata of ImageJ and ScanImage stay far below."""
_CHUNK = 2**24

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _FILL_ORDER, _DESCRIPTION = 256, 257, 258, 259, 266, 270
_STRIPS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PREDICTOR, _FORMAT = 273, 277, 278, 279, 317, 339
_TILE_WIDTH, _TILE_LENGTH, _TILES, _TILE_BYTES = 322, 323, 324, 325
_FORMATS = {1: "uint", 2: "int", 3: "float"}


class DamagedError(Exception):
    """The file says something impossible at this place."""


class PageLayout(NamedTuple):
    """What all pages of a movie have in common."""

    lines: int
    pixels: int
    samples: int
    bits: int
    format: int

    @property
    def nbytes(self) -> int:
        """Bytes of an uncompressed page."""
        return self.lines * self.pixels * self.samples * self.bits // 8

    @property
    def dtype(self) -> str:
        """Name of the pixel type, such as ``int16``."""
        return f"{_FORMATS.get(self.format, 'complex')}{self.bits}"

    @property
    def shape(self) -> tuple[int, ...]:
        """(Y, X), or (Y, X, S) for several samples per pixel."""
        return (self.lines, self.pixels) if self.samples == 1 else (self.lines, self.pixels, self.samples)


@dataclass(frozen=True)
class TiffPage:
    """One page."""

    offset: int
    """Of its directory."""
    next: int
    """Offset of the next directory; 0 for the last page."""
    layout: PageLayout
    compression: int
    start: int
    """Offset of its pixels when they are uncompressed in one piece; else `NO_START`."""
    end: int
    """Offset behind its pixels; beyond the end of the file when the page is incomplete."""
    segment_bytes: int
    """Bytes of its largest strip or tile, as stored."""


@dataclass
class FoundPages:
    """The whole pages of a file."""

    first: TiffPage
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    starts: array[int] = field(default_factory=lambda: array("Q"))
    compressions: dict[int, int] = field(default_factory=dict)
    """Number of the first page of each compression."""
    odd: tuple[int, TiffPage] | None = None
    """The first page of another layout, and its number."""
    problem: str | None = None
    """What is wrong with the file; None when nothing is."""
    searched: int = 0
    """Offset behind the last page that was seen, whole or not."""

    def add(self, page: TiffPage) -> None:
        """Add a whole page."""
        self.compressions.setdefault(page.compression, len(self.offsets))
        self.offsets.append(page.offset)
        self.starts.append(page.start)


class TiffPages:
    """Reads the directories of a TIFF or BigTIFF. For one thread.

    Parameters
    ----------
    file : binary file
        Opened for reading, seekable.

    Raises
    ------
    DamagedError
        When it is not a TIFF, or has no page.
    """

    def __init__(self, file: io.RawIOBase | io.BufferedIOBase) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)
        # Most directories and tags belong to one page, so together they are no larger than the file. What is shared
        # (ScanImage points from every page to one header of 20 kB) counts only when it is read.
        self._budget = 2 * self.size + 2**16
        header = self._read(0, 8)
        if header[:4] in (b"II*\0", b"MM\0*"):
            self.big = False
        elif header[:4] in (b"II+\0", b"MM\0+"):
            self.big = True
        else:
            raise DamagedError("not a TIFF file")
        self.order: Literal["<", ">"] = "<" if header[:1] == b"I" else ">"
        self._entry = np.dtype(
            [
                ("code", "u2"),
                ("type", "u2"),
                ("count", "u8" if self.big else "u4"),
                ("value", "u8" if self.big else "u4"),
            ]
        ).newbyteorder(self.order)
        self._pointer = self.order + ("Q" if self.big else "I")
        self._first = self._offset_at(8 if self.big else 4)
        if self._first == 0:
            raise DamagedError("no page")

    def find(self, *, salvage: bool = False) -> FoundPages:
        """Return all pages; with `salvage` also those behind a damaged place.

        Raises `DamagedError` when the first page cannot be read.
        """
        first = self.page(self._first)
        found = FoundPages(first)
        seen: set[int] = set()
        pixels = 0
        page: TiffPage | None = first
        while page is not None:
            seen.add(page.offset)
            pixels += page.layout.nbytes if page.start != NO_START else 0
            if pixels > self.size + first.layout.nbytes:
                found.problem = "its pages share their pixels"
                return found
            if page.layout != first.layout and not salvage:
                found.odd = len(found.offsets), page
                return found
            found.searched = max(found.searched, page.offset + 1, min(page.end, self.size))
            page = self._take(page, found, seen)
            if page is None and salvage:
                page = self._search(found)
        return found

    def _take(self, page: TiffPage, found: FoundPages, seen: set[int]) -> TiffPage | None:
        """Add a page if it is whole; return the one that it points to, or None at the end or at a problem."""
        if page.end > self.size:
            found.problem = "it is cut off"
            return None
        if page.layout != found.first.layout:
            found.problem = f"the page behind page {len(found.offsets) - 1} has another size or type"
            return None
        found.add(page)
        if page.next == 0:
            return None
        if page.next in seen:
            found.problem = "its pages form a circle"
            return None
        try:
            return self.page(page.next)
        except DamagedError as error:
            found.problem = str(error)
            return None

    def page(self, offset: int) -> TiffPage:
        """Return the page whose directory is at an offset. Raises `DamagedError`."""
        entries, following = self._directory(offset)
        tags = {int(entry["code"]): entry for entry in entries}
        values = {
            code: self._integers(tags[code], offset)
            for code in (
                *(_WIDTH, _LENGTH, _BITS, _COMPRESSION, _FILL_ORDER, _SAMPLES, _ROWS_PER_STRIP, _PREDICTOR, _FORMAT),
                *(_STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_LENGTH, _TILES, _TILE_BYTES),
            )
            if code in tags
        }

        def one(code: int, default: int | None = None) -> int:
            found = values.get(code)
            if found is None or len(found) == 0:
                if default is None:
                    raise DamagedError(f"the page at byte {offset} has no tag {code}")
                return default
            return int(found[0])

        lines, pixels, samples = one(_LENGTH), one(_WIDTH), one(_SAMPLES, 1)
        layout = PageLayout(lines, pixels, samples, one(_BITS, 1), one(_FORMAT, 1))
        tiled = _TILES in values
        starts, sizes = values.get(_TILES if tiled else _STRIPS), values.get(_TILE_BYTES if tiled else _STRIP_BYTES)
        if starts is None:
            raise DamagedError(f"the page at byte {offset} has no pixels")
        if tiled:
            expected = -(-lines // max(1, one(_TILE_LENGTH))) * -(-pixels // max(1, one(_TILE_WIDTH)))
        else:
            expected = -(-lines // max(1, min(lines, one(_ROWS_PER_STRIP, lines))))
        if sizes is None and len(starts) == 1:
            sizes = np.array([layout.nbytes], np.uint64)
        if sizes is None or len(starts) != len(sizes) or not 1 <= len(starts) <= max(1, expected) * samples:
            raise DamagedError(
                f"the page at byte {offset} has {len(starts)} strips or tiles, and should have {expected}"
            )
        ends = starts.astype(np.float64) + sizes.astype(np.float64)  # a sum of integers could overflow
        together = bool((starts[:-1] + sizes[:-1] == starts[1:]).all())
        plain = one(_COMPRESSION, 1) == one(_PREDICTOR, 1) == one(_FILL_ORDER, 1) == 1 and not tiled and samples == 1
        end = int(ends.max())
        if plain and together:
            end = min(max(end, int(starts[0])), int(starts[0]) + layout.nbytes)
            if int(sizes.astype(np.float64).sum()) < layout.nbytes:
                raise DamagedError(f"the page at byte {offset} has too few bytes for its size")
        return TiffPage(
            offset=offset,
            next=following,
            layout=layout,
            compression=one(_COMPRESSION, 1),
            start=int(starts[0]) if plain and together else NO_START,
            end=end,
            segment_bytes=int(sizes.max()),
        )

    def description(self, offset: int) -> str:
        """Return the description of the page whose directory is at an offset; empty when it has none."""
        entries, _ = self._directory(offset)
        for entry in entries:
            if entry["code"] == _DESCRIPTION and entry["type"] == 2:
                return self._value(entry, offset).split(b"\0")[0].decode("ascii", "replace")
        return ""

    def tag(self, offset: int, code: int) -> list[tuple[int, bytes]]:
        """Return type and bytes of all tags of one number in the directory at an offset. Raises `DamagedError`."""
        entries, _ = self._directory(offset)
        return [(int(entry["type"]), self._value(entry, offset)) for entry in entries[entries["code"] == code]]

    def last(self) -> TiffPage | None:
        """Return the last page that another one points to, of a movie of `TiffMovieWriter`; None when none is found.

        Looks at the end of the file only, since a movie may have 100,000 pages. A process that is killed may leave one
        more page, which nothing points to, or a part of it.
        """
        signature = self._signature(self.page(self._first))
        for length in (2**16, 2**20, 2**24, 2**30):  # the last is more than three of the largest frames take
            begin = max(self._first, self.size - length)
            offsets = list(self._occurrences(signature, begin))
            page = self._follow(offsets) if len(offsets) > 2 or begin == self._first else None
            if page is not None:
                return page
        return None

    def _follow(self, offsets: list[int]) -> TiffPage | None:
        """Return the last page of those that follow the first one that can be read."""
        last = None
        following = 0
        for offset in offsets:
            if last is not None and offset != following:
                continue  # pixels that look like a page, or a page that nothing points to
            try:
                page = self.page(offset)
            except DamagedError:
                continue
            if page.end <= self.size:
                last, following = page, page.next
        return last

    def _directory(self, offset: int) -> tuple[NDArray[np.void], int]:
        """Return the tags of a directory and the offset of the next one. Raises `DamagedError`."""
        width = 8 if self.big else 2
        count = int.from_bytes(self._read(offset, width), "little" if self.order == "<" else "big")
        if not 1 <= count <= MAX_TAGS:
            raise DamagedError(f"no page at byte {offset}")
        raw = self._read(offset + width, count * self._entry.itemsize)
        self._spend(len(raw), offset)
        return np.frombuffer(raw, self._entry), self._offset_at(offset + width + len(raw))

    def _spend(self, count: int, offset: int) -> None:
        self._budget -= count
        if count > MAX_TAG_BYTES or self._budget < 0:
            raise DamagedError(f"the page at byte {offset} has tags that are larger than the file allows")

    def _integers(self, entry: np.void, offset: int) -> NDArray[np.uint64]:
        kind = _INTEGERS.get(int(entry["type"]))
        if kind is None:
            raise DamagedError(f"tag {int(entry['code'])} of the page at byte {offset} is no whole number")
        return np.frombuffer(self._value(entry, offset), self.order + kind).astype(np.uint64)

    def _value(self, entry: np.void, offset: int) -> bytes:
        length = _SIZES.get(int(entry["type"]), 1) * int(entry["count"])
        self._spend(length, offset)
        if length <= (8 if self.big else 4):
            return entry.tobytes()[-self._entry["value"].itemsize :][:length]
        return self._read(int(entry["value"]), length)

    def _offset_at(self, offset: int) -> int:
        raw = self._read(offset, struct.calcsize(self._pointer))
        value: int = struct.unpack(self._pointer, raw)[0]
        return value

    def _read(self, offset: int, count: int) -> bytes:
        """Return so many bytes. Raises `DamagedError` when the file ends before them."""
        if offset + count > self.size:
            raise DamagedError("it is cut off")
        self._file.seek(offset)
        raw = self._file.read(count) or b""
        while len(raw) < count:
            more = self._file.read(count - len(raw))
            if not more:
                raise DamagedError("it is cut off")
            raw += more
        return raw

    def _search(self, found: FoundPages) -> TiffPage | None:
        """Return the next whole page behind those found, which nothing points to; None when there is none.

        It begins with the same tags as the first page, since one program wrote both.
        """
        for offset in self._occurrences(self._signature(found.first), found.searched):
            budget = self._budget
            try:
                page = self.page(offset)
            except DamagedError:
                self._budget = budget
                continue
            if page.layout == found.first.layout and page.end <= self.size:
                found.problem = found.problem or f"the pages behind page {len(found.offsets) - 1} are not linked to it"
                return page
        return None

    def _signature(self, page: TiffPage) -> bytes:
        return self._read(page.offset, (8 if self.big else 2) + 2 * self._entry.itemsize)

    def _occurrences(self, pattern: bytes, start: int) -> Iterator[int]:
        while start + len(pattern) <= self.size:
            self._file.seek(start)
            chunk = self._file.read(_CHUNK) or b""
            at = chunk.find(pattern)
            while at >= 0:
                yield start + at
                at = chunk.find(pattern, at + 1)
            if len(chunk) < len(pattern):
                return
            start += len(chunk) - len(pattern) + 1


def last_frame_number(path: Path) -> int | None:
    """Return the number of the last frame in a movie of `TiffMovieWriter`; None when it has none.

    Raises `OSError` when it cannot be read.
    """
    with path.open("rb") as file:
        try:
            pages = TiffPages(file)
            page = pages.last()
            text = pages.description(page.offset) if page else ""
        except DamagedError:
            return None
    number = re.match(r"frameNumbers = (\d{1,20})\n", text)
    return int(number[1]) if number else None
