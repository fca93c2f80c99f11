"""Publishes the frames of files while a microscope's software writes them: one growing file, or a folder of files.

    python bridge/watch_folder.py /data/today
    python bridge/watch_folder.py /data/today/movie.tif --channels 2 --rate 30
    python bridge/watch_folder.py /data/today/movie.raw --shape 2,512,512 --dtype int16 --rate 30

Start it before the acquisition. A series begins with the first new frame and ends when no file has changed for
``--idle`` seconds; then the next one may begin. It only reads: it opens no file for writing and locks none.

How soon a frame can be read depends on the program that writes:

- TIFF with one directory for each page (ScanImage, libtiff, tifffile page by page): as soon as the page is in the file.
- TIFF whose directories are written last (tifffile with ``contiguous=True``), and files of several pages in the formats
  of ImageJ, OME and Micro-Manager, which state their channels at the end: when the program has closed the file. The
  connector says so, and then publishes the file at its frame rate.
- Nothing but pixels (``--shape`` and ``--dtype``): as soon as the frame is in the file.
"""

from __future__ import annotations

import argparse
import fnmatch
import heapq
import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import DeepbidError, FileError, OptionError, StreamError, require_effect
from deepbid_rt.frame import Event, Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.movies.movie_facts import DEFAULT_RATE_HZ, MovieFacts
from deepbid_rt.movies.movie_source import MovieSource, scan_of
from deepbid_rt.movies.ome import ome_xml
from deepbid_rt.movies.own_recording import is_own, read_own
from deepbid_rt.movies.page_descriptions import number_of, time_of
from deepbid_rt.movies.page_list import PageList
from deepbid_rt.movies.scanimage import frames_per_volume, read_scanimage
from deepbid_rt.movies.scanimage_header import read_header
from deepbid_rt.movies.tiff_series import is_tiff_name
from deepbid_rt.movies.tiff_stack import MICRO_MANAGER, TiffStack, imagej_facts, pages_of_description, shaped_facts
from deepbid_rt.movies.wanted import Wanted
from deepbid_rt.recording.tiff_expansion import check_expansion
from deepbid_rt.recording.tiff_pages import MAX_TAGS, NO_START, DamagedError, PageLayout, TiffPage, TiffPages
from deepbid_rt.relay import add_scan_options, parser, run
from deepbid_rt.relay import scan_of as scan_of_options

log = logging.getLogger(__name__)

IDLE_S, FILE_TIMEOUT_S, SETTLE_S = 10.0, 10.0, 0.5
BURST_FRAMES = 48
"""Frames that are published without pacing: fewer than the 64 that a subscriber's queue takes."""
_POLL_S = (0.002, 0.02)
"""Shortest and longest time between two looks at a file: an eighth of the frame period in between."""
_STRIPS = 273
_LAYOUT_TAGS = (256, 257, 258, 259, 266, _STRIPS, 277, 278, 279, 317, 322, 323, 324, 325, 339)
"""Numbers of the tags that say what a page's pixels are."""
_LONG, _LONG8 = (4, 13), (16, 18)
"""Types of an integer as wide as an offset, in TIFF and BigTIFF."""
_TORN_S = 0.001
"""Time between two looks at a directory that must be alike, far longer than the copying of its bytes takes."""
_SCAN_S = 0.015
"""Shortest time between two listings of a folder."""
_SCAN_SHARE = 0.02
"""Largest share of the time that is spent with listing a folder: one with 30,000 files takes some 20 ms."""
_KINDS = {1: "u", 2: "i", 3: "f"}
_SAID_AT_END = "its writer states the channels or the pages of this format when it closes the file"
_CHANNEL = re.compile(r"(?:(?<=[_\-. ])|^)ch(?:an(?:nel)?)?[_-]?(\d{1,2}|[A-D])(?=[_\-. ]|$)", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(\d+)(?!.*\d)")
_Waiting = Generator[Event | None, None, None]


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What a user says about the files, and how long the connector waits."""

    wanted: Wanted = field(default_factory=Wanted)
    """Channels, planes and fly-back frames; shape (Y, X) or (C, Y, X) and type of files of pixels alone."""
    scan: ScanGeometry = field(default_factory=ScanGeometry)
    rate_hz: float | None = None
    """Frames per second over all planes; None: as the file says, else 30."""
    idle_s: float = IDLE_S
    """The series ends after so many seconds without a change."""
    file_timeout_s: float = FILE_TIMEOUT_S
    """A file that is incomplete or missing while later ones are there is skipped after so many seconds."""
    settle_s: float = SETTLE_S
    """A file is finished when it has not changed for so many seconds and a later one is there."""
    existing: bool = False
    """Publish the files that are in the folder already."""
    each_file: bool = False
    """Begin a new series with each file."""
    by: str = "name"
    """Order of the files of a folder: ``name`` or ``time``."""
    pattern: str = "*"
    """Only files whose names match; ``*`` and ``?``."""
    skip_bytes: int = 0
    """Bytes in front of the pixels of a file of pixels alone."""
    pace: float = 1.25
    """Frames that are there at once are published at so many times the frame rate; 0: as fast as they are read."""


# ---------------------------------------------------------------------------------------------- files that are growing


class _GrowingFile:
    """A file that another program is writing; opened for reading only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)
        self.soon = False
        """True when the next page is there, and has to be seen once more."""
        self.length = 0
        """Length of the file at the last `look`."""
        self.settled = 0
        """Length that it had some time before: a program may lengthen a file before it copies the bytes there."""
        self._newest, self._seen_s = 0, -math.inf
        self.count = 0
        """Pages that were taken."""
        self.end = 0
        """Offset behind everything that was taken."""
        self.problem = ""
        """Why there is no further page; empty when the file ends with the last page that was taken."""

    def look(self) -> object:
        """Look at the file; return a value that differs when it has changed. `page` then uses this look."""
        stat = os.fstat(self._file.fileno())
        now_s = time.monotonic()
        if now_s - self._seen_s >= _TORN_S:
            self.settled, self._newest, self._seen_s = self._newest, stat.st_size, now_s
        self.length = stat.st_size
        return stat.st_size, stat.st_mtime_ns, self.count

    def identity(self) -> tuple[int, int]:
        """Return what the file remains when it is renamed."""
        stat = os.fstat(self._file.fileno())
        return stat.st_dev, stat.st_ino

    def _fill(self, start: int, stored: np.dtype[Any], out: NDArray[Any]) -> None:
        """Fill `out`, C-contiguous, with pixels of a stored type. Raises `EOFError` or `OSError`."""
        same = (stored.kind, stored.itemsize) == (out.dtype.kind, out.dtype.itemsize)
        pixels = out if same else np.empty(out.shape, stored)
        self._file.seek(start)
        view, done = pixels.reshape(-1).view(np.uint8).data, 0
        while done < len(view):
            step = self._file.readinto(view[done:])
            if not step:
                raise EOFError("the file has become shorter")
            done += step
        if not same:
            out[...] = pixels
        elif stored != out.dtype:
            out.byteswap(inplace=True)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """A page, to recognize others like it: to read each directory anew takes longer than to read its pixels."""

    page: TiffPage
    entries: NDArray[np.void]
    fixed: NDArray[np.bool_]
    """Tags whose values have to be equal."""
    at: int
    """Place of the tag that says where the pixels are."""

    @classmethod
    def of(cls, page: TiffPage, raw: bytes, order: Literal["<", ">"], *, big: bool) -> _Model | None:
        """Return a model for pages in one strip whose numbers are all in the directory; None for others."""
        integer = "u8" if big else "u4"
        entry = np.dtype([("code", "u2"), ("type", "u2"), ("count", integer), ("value", integer)]).newbyteorder(order)
        entries = np.frombuffer(raw, entry)
        described = np.isin(entries["code"], _LAYOUT_TAGS)
        at = np.flatnonzero(entries["code"] == _STRIPS)
        whole = (_LONG8 if big else _LONG) if len(at) == 1 else ()
        if page.start == NO_START or (entries["count"][described] != 1).any() or len(at) != 1:
            return None
        if entries["type"][at[0]] not in whole:
            return None
        return cls(page, entries, described & (entries["code"] != _STRIPS), int(at[0]))

    def page_at(self, offset: int, raw: bytes) -> TiffPage | None:
        """Return the page of a directory; None when it differs in more than the place of its pixels."""
        mine = self.entries
        if len(raw) != mine.nbytes:
            return None
        entries = np.frombuffer(raw, mine.dtype)
        for name in ("code", "type", "count"):
            if not np.array_equal(entries[name][self.fixed], mine[name][self.fixed]):
                return None
        alike = np.array_equal(entries["code"], mine["code"]) and entries["type"][self.at] == mine["type"][self.at]
        if not alike or entries["count"][self.at] != 1:
            return None
        if not np.array_equal(entries["value"][self.fixed], mine["value"][self.fixed]):
            return None
        start = int(entries["value"][self.at])
        return replace(self.page, offset=offset, next=0, start=start, end=start + self.page.end - self.page.start)


class GrowingTiff(_GrowingFile):
    """The pages of a TIFF or BigTIFF that another program is writing.

    A page exists for this class when its directory and all its pixels are in the file. The pointer to it may lead
    beyond the end of the file for a while, or may be written last: it is read again at each look, because a change of
    eight bytes changes neither the length of the file nor always its time.

    Raises
    ------
    OSError
        When the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._tiff: TiffPages | None = None
        self._model: _Model | None = None
        self._directory: tuple[int, bytes, float] = (0, b"", 0.0)
        self._pointer_at: int | None = None
        self._seen: set[int] = set()
        self.first: TiffPage | None = None
        """The first page that was taken."""
        self.problem = "it is empty"

    @property
    def order(self) -> str:
        """Byte order, ``<`` or ``>``; of a file with a page."""
        return self._tiff.order if self._tiff else "<"

    def page(self) -> TiffPage | None:
        """Return the next page when it is whole; None otherwise, and `problem` says why."""
        try:
            return self._look()
        except (DamagedError, OSError) as error:
            self.problem = str(error)
            return None

    def _look(self) -> TiffPage | None:
        self.soon = False
        if self._tiff is None:
            self._tiff = TiffPages(self._file)
        big = self._tiff.big
        if self._pointer_at is None:
            self._pointer_at = 8 if big else 4
        offset = self._integer(self._pointer_at, 8 if big else 4)
        if offset == 0:
            self.problem = ""
            return None
        if offset in self._seen:
            raise DamagedError("its pages form a circle")
        tags = self._integer(offset, 8 if big else 2)
        if not 1 <= tags <= MAX_TAGS:
            raise DamagedError(f"no page at byte {offset}")
        raw = self._file.read(tags * (20 if big else 12)) or b""
        # A file that is longer by another page was left behind by its writer here.
        ahead = self.first is not None and self.length >= offset + 2 * self.first.layout.nbytes + 4096
        still = ahead or self._is_still(offset, raw)
        page = self._like_the_last(offset, raw) if still else None
        if still and page is None:
            self._tiff = TiffPages(self._file)  # anew, as it knows the length of the file, and limits what is read
            page = self._tiff.page(offset)
            self._model = _Model.of(page, raw, self._tiff.order, big=big)
        settled = page is not None and (self.settled >= page.end or self.length >= page.end + page.layout.nbytes)
        if page is None or not settled or page.segment_bytes == 0:  # compressed pages may get their lengths at the end
            self.problem = "a page is not whole"
            self.soon = page is None or self.length >= page.end
            return None
        return page

    def _is_still(self, offset: int, raw: bytes) -> bool:
        """Tell whether a directory has been as it is for some time: it may be read while it is written."""
        now_s = time.monotonic()
        if self._directory[:2] != (offset, raw):
            self._directory = offset, raw, now_s
        return now_s - self._directory[2] >= _TORN_S

    def _like_the_last(self, offset: int, raw: bytes) -> TiffPage | None:
        """Return the page of a directory that differs in the place of its pixels only; None for another one."""
        return None if self._model is None else self._model.page_at(offset, raw)

    def next_of(self, page: TiffPage) -> int:
        """Return where the page behind a page begins, by the pointer as it is now; 0 when it is the last one."""
        try:
            return self._integer(self._pointer_of(page), 8 if self._tiff and self._tiff.big else 4)
        except (DamagedError, OSError):
            return 0

    def _pointer_of(self, page: TiffPage) -> int:
        big = self._tiff is not None and self._tiff.big
        tags = self._integer(page.offset, 8 if big else 2)
        return page.offset + (8 if big else 2) + tags * (20 if big else 12)

    def _integer(self, offset: int, width: int) -> int:
        self._file.seek(offset)
        raw = self._file.read(width)
        if raw is None or len(raw) < width:
            raise DamagedError("it is cut off")
        return int.from_bytes(raw, "little" if self.order == "<" else "big")

    def description(self, page: TiffPage) -> str:
        """Return the description of a page; empty when it has none or it cannot be read."""
        try:
            return TiffPages(self._file).description(page.offset)
        except (DamagedError, OSError):
            return ""

    def read(self, page: TiffPage, out: NDArray[Any]) -> None:
        """Fill `out` (Y, X), C-contiguous, with a page. May raise anything when it cannot be decoded."""
        if page.start == NO_START:
            out[...] = self._decode(page).reshape(out.shape)
            return
        stored = np.dtype(f"{self.order}{_KINDS[page.layout.format]}{page.layout.bits // 8}")
        self._fill(page.start, stored, out)

    def _decode(self, page: TiffPage) -> NDArray[Any]:
        import tifffile  # takes long, and only compressed pages need it

        with tifffile.TiffFile(self.path) as tif:
            tif.filehandle.seek(page.offset)
            found = tifffile.TiffPage(tif, index=0)
            check_expansion(found)
            return np.asarray(found.asarray())

    def take(self, page: TiffPage) -> None:
        """Go on behind a page."""
        self._seen.add(page.offset)
        self._pointer_at = self._pointer_of(page)
        self.first = self.first or page
        self.count += 1
        self.end = max(self.end, page.end if page.start != NO_START else page.offset, page.offset)


@dataclass(frozen=True, slots=True)
class _RawPage:
    """A frame in a file of pixels alone."""

    start: int
    layout: PageLayout


class GrowingRaw(_GrowingFile):
    """The frames (C, Y, X) of a file that holds nothing but pixels; used as `GrowingTiff` is.

    Raises
    ------
    OSError
        When the file cannot be opened.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], stored: np.dtype[Any], skip_bytes: int) -> None:
        super().__init__(path)
        self._stored, self._skip = stored, skip_bytes
        self.layout = raw_layout(shape, stored)

    def page(self) -> _RawPage | None:
        """Return the next frame when it is whole; None otherwise, and `problem` says why."""
        start = self._skip + self.count * self.layout.nbytes
        there = self.length - start
        end = start + self.layout.nbytes
        if self.settled >= end or self.length >= end + self.layout.nbytes:
            return _RawPage(start, self.layout)
        self.problem = "" if there == 0 else "a frame is not whole"
        self.soon = there >= self.layout.nbytes
        return None

    def read(self, page: _RawPage, out: NDArray[Any]) -> None:
        """Fill `out` (C, Y, X), C-contiguous, with a frame. Raises `OSError` or `EOFError`."""
        self._fill(page.start, self._stored, out)

    def take(self, page: _RawPage) -> None:
        """Go on behind a frame."""
        self.count += 1
        self.end = page.start + self.layout.nbytes


def raw_layout(shape: tuple[int, int, int], stored: np.dtype[Any]) -> PageLayout:
    """Return the layout of a frame (C, Y, X) of pixels alone, whose channels are taken together."""
    return PageLayout(shape[0] * shape[1], shape[2], 1, stored.itemsize * 8, 0)


# -------------------------------------------------------------------------------------------- how pages become frames


@dataclass(frozen=True, slots=True)
class PageRule:
    """How the pages of a series become frames."""

    layout: PageLayout
    shape: tuple[int, int, int]
    """(C, Y, X) of a frame."""
    dtype: np.dtype[Any]
    facts: MovieFacts
    pages: int = 1
    """Pages of a frame."""
    planes: int = 1
    step: int = 1
    """Frames of a volume, fly-back frames included."""
    numbered: bool = False
    """True when each page says which frame it belongs to."""
    first: int = 0
    """Number of the first frame of an acquisition."""


def page_rule(path: Path, wanted: Wanted, *, finished: bool, alone: bool) -> PageRule | None:
    """Read from the pages that are there how they become frames.

    Parameters
    ----------
    path : Path
        A TIFF file with at least one whole page.
    wanted : Wanted
        Channels, planes and fly-back frames as the user gives them.
    finished : bool
        No page of it will follow, so that a volume that is incomplete stays so.
    alone : bool
        It is finished and holds one page, which is then a frame whatever its description says.

    Returns
    -------
    PageRule or None
        None while more pages are needed: one whole frame, and one whole volume where there are several planes.

    Raises
    ------
    ClosedFormatError
        When the file says what its pages are only when it is closed.
    RefusedError
        When it is no movie that a stream can carry.
    """
    with closing(PageList([path], salvage=True)) as pages:
        stack = pages.first
        header = read_header(stack)
        if header is not None or is_own(stack):
            try:
                order, facts = read_own(pages, wanted) if header is None else read_scanimage(pages, header, wanted)
            except StreamError:
                if not finished:
                    return None
                raise
            if facts.planes > 1 and (np.diff(order[:, 0]) <= 0).any():
                raise ClosedFormatError("ScanImage, several frames of one slice and then the next slice", patient=True)
            channels, planes, numbered = order.shape[1], facts.planes, facts.numbers is not None
            first = 1 if header is not None else 0
            step = planes
            if header is not None and planes > 1:
                step = frames_per_volume(pages, header, wanted)
        elif wanted.channels is not None or wanted.planes is not None:
            channels, planes, numbered, first = wanted.channels or 1, wanted.planes or 1, False, 0
            step = planes + (wanted.flyback or 0)
            facts = MovieFacts("TIFF", f"{channels} channels in alternating pages, {planes} planes, as given")
        else:
            if not alone and (closed := _closed_format(path, stack)) is not None:
                raise closed
            channels, planes, numbered, first, step = 1, 1, False, 0, 1
            facts = MovieFacts("TIFF", "each page is a frame, as the file says nothing else")
        for note in pages.notes:
            log.warning("%s: %s", path.name, note)
        return PageRule(
            layout=_layout_of(path),
            shape=(channels, *pages.shape),
            dtype=pages.dtype,
            facts=facts,
            pages=channels,
            planes=planes,
            step=step,
            numbered=numbered,
            first=first,
        )


class ClosedFormatError(Exception):
    """A file has to be closed by its writer before its pages are known.

    Parameters
    ----------
    name : str
        The format.
    patient : bool
        True when an incomplete file looks like a complete one, so that only a long silence shows that it is closed.
    """

    def __init__(self, name: str, *, patient: bool) -> None:
        self.patient = patient
        super().__init__(name)


def _closed_format(path: Path, stack: TiffStack) -> ClosedFormatError | None:
    """Return the format when it is described at closing; None for one page after the other."""
    description = stack.description(0)
    if stack.tag(MICRO_MANAGER):
        return ClosedFormatError("Micro-Manager", patient=True)
    described = ome_xml(stack) is not None
    if described or ".ome." in path.name.lower():
        return ClosedFormatError("OME", patient=not described)
    if imagej_facts(description) is not None:
        return ClosedFormatError("ImageJ", patient=False)
    if shaped_facts(description) is not None and pages_of_description(description, _layout_of(path)) > 1:
        return ClosedFormatError("tifffile", patient=False)
    return None


def _contiguous(first: TiffPage, following: int) -> bool:
    """Tell whether the pixels of several pages follow each other, with the directories of all but the first behind."""
    return first.offset < first.start != NO_START and following >= first.end + first.layout.nbytes


def _layout_of(path: Path) -> PageLayout:
    with path.open("rb") as file:
        tiff = TiffPages(file)
        file.seek(8 if tiff.big else 4)
        offset = int.from_bytes(file.read(8 if tiff.big else 4), "little" if tiff.order == "<" else "big")
        try:
            return tiff.page(offset).layout
        except DamagedError as error:
            raise FileError(
                f"{path} has changed ({error})", expected="a file that grows", todo="check what writes to it"
            ) from error


class FrameAssembler:
    """Puts pages together to frames, and counts those that are missing."""

    def __init__(self, rule: PageRule) -> None:
        self._rule = rule
        self._page = 0
        """Number of the next page, those that are missing included, when pages are not numbered."""
        self._number: int | None = None
        self._have: list[int] = []
        """Channels of the frame that is being collected."""
        # One array for all frames, as their pixels are valid until the next `read` only: new memory takes long.
        self._pixels: NDArray[Any] = np.empty(rule.shape, rule.dtype)
        self._expected: int | None = None
        self._torn = False

    def begins_anew(self, number: int | None) -> bool:
        """Tell whether a page belongs to an earlier frame than the last one, as when an acquisition begins again."""
        return number is not None and self._number is not None and number < self._number

    def place(self, number: int | None) -> NDArray[Any]:
        """Return the array (Y, X), or (C, Y, X) of a whole frame, that the next page has to be read into."""
        channel = self._page % self._rule.pages
        if number is not None:
            if number != self._number:
                self._have = []
            channel = min(len(self._have), self._rule.pages - 1)
        whole: NDArray[Any] = self._pixels if self._rule.layout.format == 0 else self._pixels[channel]
        return whole

    def add(self, number: int | None, acquired_s: float | None) -> list[Event]:
        """Take the page that was read into `place`; return the frame that it completes, after what is missing."""
        rule = self._rule
        if number is None:
            channel, stored = self._page % rule.pages, self._page // rule.pages
            self._page += 1
            if channel == 0:
                self._have = []
        else:
            channel, stored = len(self._have), number - rule.first
        self._number = number
        self._have.append(channel)
        if self._have != list(range(rule.pages)):
            return []
        if number is None:
            self._have = []
        index, plane = self._index(stored)
        if index is None:
            return []
        events: list[Event] = [*self._gap(index)]
        self._expected = index + 1
        events.append(Frame(index, self._pixels, arrived_ns=time.time_ns(), plane=plane, acquired_s=acquired_s))
        return events

    def _index(self, stored: int) -> tuple[int | None, int]:
        rule = self._rule
        if rule.step == 1:
            return stored + rule.first, 0
        volume, place = divmod(stored, rule.step)
        return (volume * rule.planes + place, place) if place < rule.planes else (None, 0)

    def _gap(self, index: int) -> Iterator[Gap]:
        if self._expected is not None and index > self._expected:
            yield Gap(self._expected, index - self._expected, "source")

    def lose(self, pages: int) -> None:
        """Count pages that will never come. Those that are numbered are missed when a later one comes."""
        self._page += pages

    def tear(self) -> None:
        """Count a page at the end that did not become whole."""
        self._page += 1
        self._torn = True

    def end_of_file(self) -> bool:
        """Begin with a new frame, as a frame never crosses the border of two files; return False if one was torn."""
        torn = bool(self._have) and len(self._have) < self._rule.pages
        self._page += -self._page % self._rule.pages
        self._have = []
        return not torn

    def missing_at_end(self) -> list[Event]:
        """Return what is missing behind the last frame."""
        torn = not self.end_of_file() or self._torn
        if self._expected is None:
            return []
        if self._number is not None:
            return [Gap(self._expected, 1, "source")] if torn else []
        whole, rest = divmod(self._page // self._rule.pages, self._rule.step)
        return list(self._gap(whole * self._rule.planes + min(rest, self._rule.planes)))


# ------------------------------------------------------------------------------------------------- which file is next


@dataclass(slots=True)
class Entry:
    """Files that belong together: one, or one for each channel when their names differ in the channel only."""

    stem: str
    """Name without its last number and its channel: what the files of one series have in common."""
    number: int | None
    """The last number of the name."""
    paths: dict[str, Path] = field(default_factory=dict)
    """By channel as named; ``""`` for a name without one."""

    @property
    def name(self) -> str:
        """Name of one of its files."""
        return next(iter(self.paths.values())).name


def entry_of(path: Path, folder: str = "") -> Entry:
    """Take the name of a file apart; `folder` stands in front of it when it is not in the watched folder itself."""
    base = re.sub(r"(\.ome)?\.\w+$", "", path.name, flags=re.IGNORECASE)
    channel = _CHANNEL.search(base)
    if channel is not None:
        base = base[: channel.start()] + base[channel.end() :]
    number = _LAST_NUMBER.search(base)
    stem = base if number is None else f"{base[: number.start()]}#{base[number.end() :]}"
    return Entry(f"{folder}{stem}", int(number[1]) if number else None, {channel[1] if channel else "": path})


class OneFile:
    """The one file that is watched, and the files that take its place."""

    settle_s = 0.0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._followed: object = None
        self._later, self._looked_s = False, 0.0

    def open(self) -> None:
        """Refuse a file that can never come. Raises `FileError`."""
        if not self._path.parent.is_dir():
            raise FileError(f"no folder {self._path.parent}", expected="a folder that is there", todo="check the path")

    def follow(self, identity: object) -> None:
        """Note which file is being read."""
        self._followed, self._later = identity, False

    def wanting(self) -> int:
        """Return 0: no file is missing in front of the next one."""
        return 0

    def later(self) -> bool:
        """Tell whether another file has taken the place of the one that is being read."""
        if time.monotonic() - self._looked_s >= 0.1:
            self._looked_s = time.monotonic()
            try:
                stat = self._path.stat()
            except OSError:
                self._later = False
            else:
                identity = (stat.st_dev, stat.st_ino)
                self._later = self._followed not in (identity, (*identity, stat.st_size, stat.st_mtime_ns))
        return self._later

    def next(self) -> Entry | None:
        """Return the file when it is another one than before; None when it is not."""
        if not self.later():
            return None
        try:
            stat = self._path.stat()
        except OSError:
            return None
        self.follow((stat.st_dev, stat.st_ino))
        return Entry("", None, {"": self._path})


class Folder:
    """The files of a folder, and of new folders in it, one after the other."""

    def __init__(self, folder: Path, settings: WatchSettings) -> None:
        self._folder, self._settings = folder, settings
        self.settle_s = settings.settle_s
        self._seen: set[str] = set()
        self._old: set[str] = set()
        self._others: set[str] = set()
        self._pending: dict[str, list[tuple[Any, ...]]] = {}
        self._entries: dict[tuple[str, int | None], Entry] = {}
        self._current: Entry | None = None
        self._newest: tuple[Path, object] | None = None
        self._next_scan_s, self._newest_s = 0.0, 0.0
        self._problem = ""

    def open(self) -> None:
        """List what is there already. Raises `FileError` when the folder cannot be listed."""
        try:
            names = {one.name for one in os.scandir(self._folder)}
        except OSError as error:
            raise FileError(
                f"{self._folder} cannot be listed ({error.strerror or error})",
                expected="a folder that this program may read",
                todo="check the path and its rights",
            ) from error
        if self._settings.existing:
            return
        self._seen |= names
        self._old = names
        files = [self._folder / name for name in names if self._accepts(name)]
        if files:
            newest = max(files, key=lambda one: (_mark(one) or (0, 0))[1])
            self._newest = newest, _mark(newest)
            log.warning(
                "%d files that are in %s already are left out; --existing publishes them too", len(files), self._folder
            )

    def follow(self, identity: object) -> None:
        """Do nothing: a file is known by its name."""

    def _accepts(self, name: str) -> bool:
        if name.startswith(".") or not fnmatch.fnmatch(name, self._settings.pattern):
            return False
        raw = self._settings.wanted.shape is not None
        return Path(name).suffix.lower() in (".raw", ".bin", ".dat") if raw else is_tiff_name(Path(name))

    def _scan(self) -> None:
        begun_s = time.monotonic()
        if begun_s < self._next_scan_s:
            return
        try:
            found = self._names()
        except OSError as error:
            self._note_problem(str(self._folder), error)
            self._next_scan_s = begun_s + 1.0
            return
        for name in sorted(found - self._seen):
            if self._accepts(Path(name).name):
                self._add(self._folder / name)
            else:
                self._note_other(name)
        self._seen = found  # a name that is gone may come again
        self._look_at_newest()
        now_s = time.monotonic()
        self._next_scan_s = now_s + max(_SCAN_S, (now_s - begun_s) / _SCAN_SHARE)

    def _names(self) -> set[str]:
        """Return the names of the files, with ``FOLDER/`` in front of those in folders that are new."""
        found = set()
        for one in os.scandir(self._folder):
            if not one.is_dir():
                found.add(one.name)
            elif one.name not in self._old:
                try:
                    found |= {f"{one.name}/{file.name}" for file in os.scandir(one.path) if not file.is_dir()}
                except OSError as error:  # gone again, or not for this program
                    self._note_problem(one.name, error)
        return found

    def _note_problem(self, name: str, error: OSError) -> None:
        if str(error) != self._problem:
            self._problem = str(error)
            log.warning("%s cannot be listed (%s); it is tried again", name, error)

    def _note_other(self, name: str) -> None:
        suffix = Path(name).suffix.lower() or name
        if suffix not in self._others:
            self._others.add(suffix)
            log.warning("%s is no recording; files like it are left alone", name)

    def _look_at_newest(self) -> None:
        """Take the newest file that was there before, when it grows."""
        if self._newest is None or time.monotonic() - self._newest_s < 0.2:
            return
        self._newest_s = time.monotonic()
        path, mark = self._newest
        if self._current is not None or _mark(path) is None:
            self._newest = None
        elif _mark(path) != mark:
            log.warning("%s was there before and is growing: it is published from its first page on", path.name)
            self._newest = None
            self._add(path)

    def _add(self, path: Path) -> None:
        entry = entry_of(path, "" if path.parent == self._folder else f"{path.parent.name}/")
        if self._settings.by == "time":
            entry = replace(entry, stem="", number=None)
        key = (entry.stem, entry.number if self._settings.by == "name" else len(self._entries))
        current = self._current
        if current is not None and (current.stem, current.number) == key and key[1] is not None:
            current.paths.update(entry.paths)
            return
        if key in self._entries:
            self._entries[key].paths.update(entry.paths)
            return
        if current is not None and self._before(entry, current):
            log.warning("%s came after %s, which belongs behind it, and is left out", path.name, current.name)
            return
        self._entries[key] = entry
        time_ns = (_mark(path) or (0, 0))[1]
        natural = tuple(int(digits) for digits in re.findall(r"\d+", path.name))
        order = (entry.number or 0, natural) if self._settings.by == "name" else (time_ns, natural)
        heap = self._pending.setdefault(entry.stem, [])
        heapq.heappush(heap, (order, time_ns, len(self._seen), id(entry), entry, key))

    def _before(self, entry: Entry, current: Entry) -> bool:
        same = self._settings.by == "name" and entry.stem == current.stem
        return same and entry.number is not None and current.number is not None and entry.number < current.number

    def _peek(self) -> list[tuple[Any, ...]] | None:
        """Return the heap whose first entry comes next: of the running series, else of the oldest file."""
        self._scan()
        stem = self._current.stem if self._current else None
        if stem is not None and self._pending.get(stem):
            return self._pending[stem]
        filled = [heap for heap in self._pending.values() if heap]
        return min(filled, key=lambda heap: (heap[0][1], heap[0][0])) if filled else None

    def later(self) -> bool:
        """Tell whether a file is there that comes after the one that is being read."""
        return self._peek() is not None

    def wanting(self) -> int:
        """Return how many numbers are missing between the file that was read last and the next one."""
        heap, current = self._peek(), self._current
        if heap is None or current is None or current.number is None or self._settings.by != "name":
            return 0
        entry: Entry = heap[0][4]
        return max(0, (entry.number or 0) - current.number - 1) if entry.stem == current.stem else 0

    def next(self) -> Entry | None:
        """Take the next file; None when there is none."""
        heap = self._peek()
        if heap is None:
            return None
        taken = heapq.heappop(heap)
        entry: Entry = taken[4]
        key = taken[5]
        del self._entries[key]
        if not heap:
            del self._pending[entry.stem]
        self._current = entry
        return entry


def _mark(path: Path) -> tuple[int, int] | None:
    """Return length and time of a file; None when it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


# ------------------------------------------------------------------------------------------------------- the connector


class WatchSource:
    """A `FrameSource` over files that are being written.

    Parameters
    ----------
    path : Path or str
        A folder, or a file, which need not be there yet.
    settings : WatchSettings, optional
    say : callable
        Gets one sentence about each file or series that a user wants to know of.

    Raises
    ------
    OptionError
        When options contradict each other.
    """

    def __init__(
        self, path: Path | str, settings: WatchSettings | None = None, *, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._path, self._settings, self._say = Path(path).expanduser(), settings or WatchSettings(), say
        self._raw = _raw_rule(self._settings)
        if self._raw is not None and is_tiff_name(self._path):
            raise OptionError(
                f"--shape for {self._path.name}",
                expected="a file of pixels alone; a TIFF states its shape itself",
                todo="leave --shape and --dtype out",
            )
        self._events: _Waiting | None = None
        self._files: OneFile | Folder = OneFile(self._path)
        self._poll_s = _POLL_S[1]

    def open(self) -> None:
        """Begin to watch. Raises `FileError` when there is no such folder."""
        self.close()
        self._files = Folder(self._path, self._settings) if self._path.is_dir() else OneFile(self._path)
        settings, folder = self._settings, self._path.is_dir()
        for option, asked in (
            ("--existing", settings.existing),
            ("--each-file", settings.each_file),
            ("--pattern", settings.pattern != "*"),
            ("--by", settings.by != "name"),
        ):
            require_effect(option, asked, folder, why=f"for {self._path}", expected="a folder", todo="give the folder")
        if not self._path.exists() and not self._path.suffix:
            raise FileError(
                f"no file or folder {self._path}",
                expected="a folder that is there, or the name of a file that will come",
                todo="check the path; a folder has to be there before",
            )
        self._files.open()
        self._rule: PageRule | None = None
        self._frames: FrameAssembler | None = None
        self._rate_hz: float | None = None
        self._stem = ""
        self._pages_per_file = 0
        self._channels: list[str] = []
        self._changed_s, self._frame_s = time.monotonic(), 0.0
        self._told: set[str] = set()
        self._asked: tuple[Any, ...] = ()
        self._patient = self._soon = False
        self._tokens, self._tokens_s = float(BURST_FRAMES), time.monotonic()
        self._events = self._watch()

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event, or None when there was none within `timeout_s` seconds."""
        if self._events is None:
            return None
        until_s = time.monotonic() + timeout_s
        while True:
            event = next(self._events)
            if event is not None:
                return event
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return None
            # For three quarters of a frame period after a frame, no other one is due.
            due_s = self._frame_s + 6 * self._poll_s - time.monotonic()
            pause_s = 1.2 * _TORN_S if self._soon else max(self._poll_s, due_s)
            self._soon = False
            time.sleep(min(pause_s, left_s))

    def close(self) -> None:
        """Close the file that is being read; may be called twice."""
        if self._events is not None:
            self._events.close()
        self._events = None

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            log.warning("%s", text)

    # Each of the following generators yields an event, or None when there is nothing to do for the moment.

    def _watch(self) -> _Waiting:
        missing_since_s: float | None = None
        while True:
            missing = self._files.wanting() if self._frames is not None else 0
            if missing:
                missing_since_s = missing_since_s or time.monotonic()
                if time.monotonic() - missing_since_s < self._settings.file_timeout_s:
                    yield None
                    continue
            missing_since_s = None
            entry = self._files.next()
            if entry is None:
                if self._frames is not None and self._idle():
                    yield from self._end("done")
                yield None
                continue
            self._changed_s = time.monotonic()
            another = self._settings.each_file or entry.stem != self._stem or isinstance(self._files, OneFile)
            if self._frames is not None and another:
                yield from self._end("done")
            if self._frames is None:
                self._rule = None
            if missing and self._frames is not None:
                log.warning("%d files in front of %s did not come: their frames are missing", missing, entry.name)
                self._frames.end_of_file()
                self._frames.lose(missing * max(1, self._pages_per_file))
            self._stem = entry.stem
            try:
                yield from self._play(entry)
            except (DeepbidError, OSError) as error:
                log.warning("%s is left out: %s", entry.name, error)
                yield from self._end("error")

    def _idle(self) -> bool:
        return time.monotonic() - self._changed_s >= self._settings.idle_s

    def _play(self, entry: Entry) -> _Waiting:
        if "" in entry.paths:
            yield from self._follow(entry.paths[""], self._settings.wanted)
            return
        wanted = self._settings.wanted
        begun_s = time.monotonic()
        if self._frames is None:
            while not (
                self._files.later()
                or len(entry.paths) == wanted.channels
                or time.monotonic() - begun_s >= max(self._settings.settle_s, 0.1)
            ):
                yield None
            self._channels = sorted(entry.paths)
            self._say(f"{len(self._channels)} channels, by the names of the files: {', '.join(self._channels)}")
        for channel in self._channels:
            since_s = time.monotonic()
            while channel not in entry.paths and time.monotonic() - since_s < self._settings.file_timeout_s:
                yield None
            if channel in entry.paths:
                yield from self._follow(
                    entry.paths[channel], replace(wanted, channels=len(self._channels)), single=True
                )
            elif self._frames is not None:
                log.warning("no file of channel %s beside %s: the frame is missing", channel, entry.name)
                self._frames.lose(1)
        self._pages_per_file = len(self._channels)

    def _open(self, path: Path) -> GrowingTiff | GrowingRaw:
        if self._raw is None:
            return GrowingTiff(path)
        rule, stored = self._raw
        return GrowingRaw(path, rule.shape, stored, self._settings.skip_bytes)

    def _follow(self, path: Path, wanted: Wanted, *, single: bool = False) -> _Waiting:
        """Publish the pages of a file until a later file is there and this one is finished."""
        file: GrowingTiff | GrowingRaw | None = None
        mark: object = None
        quiet_from_s = time.monotonic()
        problem = ""
        self._asked = ()
        try:
            while True:
                later = self._files.later()
                if file is None:
                    try:
                        file = self._open(path)
                        self._files.follow(file.identity())
                    except OSError as error:
                        problem = f"it cannot be opened ({error.strerror or error})"
                if file is not None:
                    looked = file.look()
                    if file.length < file.end:
                        log.warning("%s has become shorter: what comes now is a new series", path.name)
                        yield from self._end("replaced")
                        file.close()
                        file, self._rule = None, None
                        continue
                    if looked != mark:
                        mark, quiet_from_s = looked, time.monotonic()
                        self._changed_s = quiet_from_s
                    page: Any = file.page()
                    problem = file.problem if page is None else ""
                    quiet_s = time.monotonic() - quiet_from_s
                    if page is not None and (file.count <= 1 or self._frames is None):
                        rule = self._begin(file, page, wanted, later=later, quiet_s=quiet_s, single=single)
                        if rule == _CLOSED:
                            file.close()
                            yield from self._play_closed(path)
                            return
                        problem = "" if rule is None else problem
                        page = page if rule is None else None
                        if rule == _REPLACED:
                            yield from self._end("replaced")
                            continue
                    if page is not None:
                        taken = yield from self._publish(file, page, quiet_s)
                        if taken and single:
                            return
                        if taken:
                            continue
                        problem = "a page cannot be decoded"
                quiet_s = time.monotonic() - quiet_from_s
                if later and self._may_leave(file, problem, quiet_s):
                    self._leave(path, file, problem, single=single)
                    return
                if self._frames is not None and not later and self._idle():
                    self._note_rest(path, file, problem)
                    yield from self._end("done")
                elif problem and (self._idle() or (file is None and quiet_s > 2.0)):
                    self._tell_once(f"{path.name} cannot be read for the moment: {problem}")
                if problem:
                    self._frame_s = 0.0  # something is there, so that waiting for the next frame makes no sense
                self._soon = problem != "" and file is not None and file.soon
                yield None
        finally:
            if file is not None:
                file.close()

    def _may_leave(self, file: GrowingTiff | GrowingRaw | None, problem: str, quiet_s: float) -> bool:
        """Tell whether a file is finished, or has been incomplete for long enough, while a later one is there."""
        if file is None or problem or file.count == 0:
            replaced = isinstance(self._files, OneFile)  # nothing more can come
            return quiet_s >= (0.0 if replaced else self._settings.file_timeout_s)
        return file.count == self._pages_per_file or quiet_s >= self._files.settle_s

    def _leave(self, path: Path, file: GrowingTiff | GrowingRaw | None, problem: str, *, single: bool) -> None:
        count = file.count if file is not None else 0
        torn = not single and self._frames is not None and not self._frames.end_of_file()
        if problem or count == 0:
            log.warning(
                "%s did not become whole (%s): it is left after %d pages, and the rest counts as missing",
                path.name,
                problem or "no page",
                count,
            )
            if self._frames is not None and single:
                self._frames.lose(1)
            elif self._frames is not None:
                self._frames.lose(max(self._pages_per_file - count, 0 if count else 1))
                self._frames.end_of_file()
        elif torn:
            log.warning("%s ends within a frame, which is missing", path.name)
        else:
            self._pages_per_file = self._pages_per_file or count

    def _note_rest(self, path: Path, file: GrowingTiff | GrowingRaw | None, problem: str) -> None:
        """Say at the end of a series what its last file holds besides whole pages."""
        if file is not None and problem and file.length > file.end:
            log.warning("%s ends with a page that is not whole (%s); it counts as missing", path.name, problem)
            if self._frames is not None:
                self._frames.tear()

    def _begin(
        self,
        file: GrowingTiff | GrowingRaw,
        page: Any,
        wanted: Wanted,
        *,
        later: bool,
        quiet_s: float,
        single: bool,
    ) -> str | None:
        """Decide how the pages of a file become frames; return None when its page can be published.

        Before, ``_WAIT``: more has to come. ``_CLOSED``: its pages can be read when it is closed. ``_REPLACED``: its
        pages differ from those of the series.
        """
        if self._raw is not None:
            self._rule = self._raw[0]
            return None
        if isinstance(file, GrowingRaw):
            return None
        if file.count == 1 and file.first is not None and _contiguous(file.first, page.offset):
            return _CLOSED  # it was taken for a file with one directory per page when it had one page
        if self._frames is not None and self._rule is not None:
            if file.count or page.layout == self._rule.layout:
                return None
            log.warning("%s has pages of another size or type: a new series begins", file.path.name)
            self._rule = None
            return _REPLACED
        if self._rule is not None and file.count and page.layout == self._rule.layout:
            return None  # the file goes on after a pause
        following = file.next_of(page)
        behind = file.length - page.end
        if _contiguous(page, following):
            return _CLOSED
        if following == 0 and page.start != NO_START and behind >= page.layout.nbytes and page.offset < page.start:
            self._tell_once(
                f"{file.path.name} grows without a directory for each page: its frames can be read when its writer "
                "closes it. To see them while it grows, let the writer add a directory to each page"
            )
            return _WAIT
        if single and following:
            raise StreamError(
                f"{file.path.name} with several pages, beside files of other channels",
                expected="one page in each file when the channels are in files of their own",
                todo="denoise the files when they are finished",
            )
        finished = following == 0 and (later or quiet_s >= self._settings.settle_s)
        if following == 0 and not finished and not single:
            return _WAIT
        last = later or self._idle()
        asked = file.path, last
        if self._asked and asked == self._asked[:2] and file.length < self._asked[2] * 1.2:
            return _WAIT  # reading how pages become frames takes longer than looking for a page
        self._asked = (*asked, file.length)
        try:
            rule = page_rule(file.path, wanted, finished=last, alone=single or (last and following == 0))
        except ClosedFormatError as error:
            self._tell_once(
                f"{file.path.name} ({error}): {_SAID_AT_END}; it is read then. To see its pages while it grows, state "
                "them with --channels and --planes"
            )
            self._patient = error.patient
            return _CLOSED
        if rule is None:
            return _WAIT
        self._rule, self._asked = rule, ()
        return None

    def _publish(self, file: Any, page: Any, quiet_s: float) -> Generator[Event | None, None, bool]:
        """Publish a page; return False when it cannot be read yet."""
        rule = self._rule
        if rule is None:
            raise RuntimeError("no rule for the pages")
        if page.layout != rule.layout:
            log.warning("page %d of %s has another size or type: it is missing", file.count, file.path.name)
            file.take(page)
            if self._frames is not None:
                self._frames.lose(1)
            return True
        text = file.description(page) if rule.numbered else ""
        number = number_of(text) if rule.numbered else None
        if rule.numbered and number is None:
            log.warning("page %d of %s has no frame number: it is missing", file.count, file.path.name)
            file.take(page)
            return True
        if self._frames is not None and self._frames.begins_anew(number):
            self._say(f"the frame numbers begin again in {file.path.name}")
            yield from self._end("done")
        if self._frames is None:
            yield self._start(rule, file.path)
        frames = self._frames or FrameAssembler(rule)
        try:
            file.read(page, frames.place(number))
        except Exception as error:  # each codec raises its own
            if quiet_s < self._settings.file_timeout_s:
                return False  # a compressed page may not be whole although its lengths are
            log.warning("page %d of %s cannot be read (%s): it is missing", file.count, file.path.name, error)
            file.take(page)
            frames.lose(1)
            return True
        file.take(page)
        for event in frames.add(number, time_of(text) if text else None):
            if isinstance(event, Frame):
                while not self._may_pass():
                    yield None
                self._frame_s = time.monotonic()
            yield event
        self._changed_s = time.monotonic()
        return True

    def _start(self, rule: PageRule, path: Path) -> StreamInfo:
        facts = rule.facts
        rate_hz = self._settings.rate_hz or facts.rate_hz
        if rate_hz is None:
            self._tell_once(
                f"{path.name} states no frame rate: {DEFAULT_RATE_HZ:g} frames/s are assumed, and files that are there "
                "at once are published as fast as they are read; give --rate"
            )
        if facts.format == "TIFF" and rule.pages == 1 and self._settings.wanted.channels is None:
            self._tell_once(
                f"{path.name} does not state its channels: each page is taken as a frame of one channel; give "
                "--channels if that is wrong"
            )
        info = StreamInfo(
            shape=rule.shape,
            dtype=rule.dtype,
            rate_hz=rate_hz or facts.assumed_rate_hz(None),
            scan=scan_of(facts, self._settings.scan),
            planes=rule.planes,
            user=_user(path, facts),
        )
        self._frames = FrameAssembler(rule)
        self._pages_per_file = 0
        self._set_rate(rate_hz)
        self._say(f"{path.name} ({facts.format}): {facts.pages}")
        return info

    def _set_rate(self, rate_hz: float | None) -> None:
        self._rate_hz = rate_hz
        self._poll_s = min(max(1 / (8 * (rate_hz or DEFAULT_RATE_HZ)), _POLL_S[0]), _POLL_S[1])

    def _end(self, reason: str) -> _Waiting:
        if self._frames is not None:
            yield from self._frames.missing_at_end()
            self._frames = None
            yield StreamEnd(reason)

    def _may_pass(self) -> bool:
        """Tell whether a frame may be published now: subscribers lose what comes much faster than they work."""
        if self._rate_hz is None or self._settings.pace == 0:
            return True
        now_s = time.monotonic()
        earned = (now_s - self._tokens_s) * self._rate_hz * self._settings.pace
        self._tokens, self._tokens_s = min(BURST_FRAMES, self._tokens + earned), now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _play_closed(self, path: Path) -> _Waiting:
        """Publish a file when its writer has closed it, as a series of its own."""
        settings, patient = self._settings, self._patient
        self._patient, self._rule = False, None
        yield from self._end("replaced")
        mark, quiet_from_s, tried = _mark(path), time.monotonic(), False
        while True:
            if _mark(path) != mark:
                mark, quiet_from_s, tried = _mark(path), time.monotonic(), False
            quiet_s = time.monotonic() - quiet_from_s
            if mark is None and quiet_s > settings.settle_s:
                log.warning("%s is gone before it could be read", path.name)
                return
            silence_s = settings.idle_s if patient and not self._files.later() else max(settings.settle_s, 0.2)
            if not tried and mark is not None and quiet_s >= silence_s:
                tried = True
                source = MovieSource(
                    path, settings.wanted, scan=settings.scan, rate_hz=settings.rate_hz, own_numbers=True
                )
                try:
                    source.open()
                    break
                except DeepbidError as error:
                    self._tell_once(f"{path.name} cannot be read yet: {error}")
            if tried and quiet_s >= max(settings.file_timeout_s, silence_s):
                log.warning("%s did not become whole and is left out", path.name)
                self._forget(path, mark)
                return
            yield None
        self._forget(path, mark)
        with closing(source):
            facts = source.facts or MovieFacts("", "")
            self._set_rate(settings.rate_hz or facts.rate_hz)
            for note in facts.warnings:
                log.warning("%s: %s", path.name, note)
            self._say(f"{path.name} ({facts.format}): {facts.pages}")
            place = 0
            while (event := source.read(0)) is not None:
                if isinstance(event, StreamInfo):
                    event = replace(event, user=_user(path, facts), n_expected=None)
                if isinstance(event, Frame):
                    while not self._may_pass():
                        yield None
                    acquired_s = source.stamp(place)[1] if facts.times_s is not None else None
                    event = replace(event, arrived_ns=time.time_ns(), acquired_s=acquired_s)
                    place += 1
                yield event
        self._changed_s = time.monotonic()

    def _forget(self, path: Path, mark: object) -> None:
        """Do not read a file again unless it changes."""
        try:
            stat = path.stat()
        except OSError:
            return
        if mark == (stat.st_size, stat.st_mtime_ns):
            self._files.follow((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))


_WAIT, _CLOSED, _REPLACED = "wait", "closed", "replaced"


def _user(path: Path, facts: MovieFacts) -> dict[str, Any]:
    user: dict[str, Any] = {"file": path.name, "format": facts.format}
    if facts.pixel_um is not None:
        user["pixel_um"] = list(facts.pixel_um)
    if facts.channel_names:
        user["channels"] = [{"name": name} for name in facts.channel_names]
    return user


def _raw_rule(settings: WatchSettings) -> tuple[PageRule, np.dtype[Any]] | None:
    """Return how the frames of a file of pixels alone are read; None for TIFF files. Raises `OptionError`."""
    shape, name, wanted = settings.wanted.shape, settings.wanted.dtype, settings.wanted
    if (shape is None) != (name is None):
        raise OptionError(
            "--shape without --dtype" if name is None else "--dtype without --shape",
            expected="both for a file of pixels alone, none for TIFF files",
            todo="give both, such as --shape 2,512,512 --dtype int16",
        )
    require_effect(
        "--skip-bytes",
        settings.skip_bytes,
        shape is not None,
        why="without --shape",
        expected="a file of pixels alone",
        todo="give --shape and --dtype",
    )
    if shape is None or name is None:
        return None
    try:
        stored = np.dtype(name)
    except (TypeError, ValueError, SyntaxError) as error:
        raise OptionError(
            f"--dtype {name}", expected="a pixel type such as uint16, int16 or >u2", todo="correct it"
        ) from error
    if len(shape) not in (2, 3) or min(shape) < 1 or stored.kind not in "uif" or wanted.channels is not None:
        raise OptionError(
            f"--shape {','.join(map(str, shape))} --dtype {name}"
            + (f" --channels {wanted.channels}" if wanted.channels is not None else ""),
            expected="Y,X or C,Y,X, each at least 1, and a type of numbers; channels are the first of three numbers",
            todo="correct them, such as --shape 2,512,512 --dtype int16",
        )
    whole = (shape[0], shape[1], shape[2]) if len(shape) == 3 else (1, shape[0], shape[1])
    kept = {"u1": "u1", "u2": "<u2", "i1": "<i2", "i2": "<i2"}.get(f"{stored.kind}{stored.itemsize}", "<f4")
    planes, flyback = wanted.planes or 1, wanted.flyback or 0
    facts = MovieFacts("pixels alone", f"{whole[0]} channels, {planes} planes, as given", planes=planes)
    rule = PageRule(raw_layout(whole, stored), whole, np.dtype(kept), facts, planes=planes, step=planes + flyback)
    StreamInfo(whole, rule.dtype, settings.rate_hz or DEFAULT_RATE_HZ, planes=planes)  # refuses what no stream carries
    return rule, stored


def main() -> int:
    """Watch until Ctrl-C; return the exit status."""
    made = parser("Publishes the frames of files while a microscope's software writes them.")
    made.add_argument("path", type=Path, help="a folder, or a file, which need not be there yet")
    made.add_argument("--rate", type=float, metavar="HZ", help="frames per second over all planes")
    made.add_argument("--channels", type=int, metavar="N", help="channels in alternating pages")
    made.add_argument("--planes", type=int, metavar="N", help="planes that are scanned in turn")
    made.add_argument("--flyback", type=int, metavar="N", help="frames at the end of each volume that are left out")
    made.add_argument("--shape", type=_numbers, metavar="C,Y,X", help="of a frame in a file of pixels alone")
    made.add_argument("--dtype", metavar="TYPE", help="of its pixels, such as int16 or >u2")
    made.add_argument("--skip-bytes", type=int, default=0, metavar="N", help="bytes in front of its pixels")
    made.add_argument("--pattern", default="*", help="only files with such names, for instance 'mouse3_*.tif'")
    made.add_argument("--by", choices=("name", "time"), default="name", help="order of files (default %(default)s)")
    made.add_argument("--existing", action="store_true", help="publish the files that are in the folder already")
    made.add_argument("--each-file", action="store_true", help="begin a new series with each file")
    made.add_argument("--idle", type=float, default=IDLE_S, metavar="S", help="end of a series (default %(default)s)")
    made.add_argument(
        "--file-timeout",
        type=float,
        default=FILE_TIMEOUT_S,
        metavar="S",
        help="skip a file that is missing or incomplete for so long while later ones are there (default %(default)s)",
    )
    made.add_argument(
        "--settle",
        type=float,
        default=SETTLE_S,
        metavar="S",
        help="a file that has not changed for so long is finished (default %(default)s)",
    )
    made.add_argument(
        "--pace",
        type=float,
        default=1.25,
        metavar="X",
        help="publish frames that are there at once at "
        "X times the frame rate; 0: as fast as they are read (default %(default)s)",
    )
    add_scan_options(made)
    options = made.parse_args()
    return run(lambda: WatchSource(options.path, _settings(options), say=_say), options)


def _settings(options: argparse.Namespace) -> WatchSettings:
    for name in ("idle", "file_timeout", "settle", "pace", "skip_bytes"):
        if not 0 <= getattr(options, name) < 1e9:
            raise OptionError(
                f"--{name.replace('_', '-')} {getattr(options, name)}", expected="0 or more", todo="correct it"
            )
    for name in ("channels", "planes"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise OptionError(f"--{name} {getattr(options, name)}", expected="1 or more", todo="correct it")
    wanted = Wanted(options.channels, options.planes, options.flyback, shape=options.shape, dtype=options.dtype)
    return WatchSettings(
        wanted,
        scan_of_options(options),
        options.rate,
        options.idle,
        options.file_timeout,
        options.settle,
        options.existing,
        options.each_file,
        options.by,
        options.pattern,
        options.skip_bytes,
        options.pace,
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in re.split(r"[,x]", text))


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
