"""A connector for ThorImageLS: publishes the frames of a raw file while ThorImageLS records it.

ThorImageLS shares no pixels with other programs, so its file is read behind it: ``Image_0001_0001.raw`` beside
``Experiment.xml``, nothing but 16-bit pixels in the order of `deepbid_rt.movies.thorimage`. It may write the file in
two ways, and both are read:

- It appends frames. A frame is complete when the file is long enough.
- It makes the file with its full length before the first frame, full of zeros, and writes the frames into it. Frame k
  is complete when frame k + 1 has begun, so each frame comes one frame period late; a last one when it has not changed
  for some time. So does the published source of ThorImageLS when it streams a fixed number of frames
  (``ImageMemory.cpp``, ``AcquireTStream.cpp`` in https://github.com/cajigaslab/thorimagels_dev_vs2019).

Frames that ThorImageLS itself has lost are not marked in the file. Never tried at a microscope.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import re
import sys
import time
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.frame import Event, Frame, FrameFlag, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.movies.frame_limits import check_frame_limits
from deepbid_rt.movies.thor_xml import ALL_CHANNELS, read_thor_xml
from deepbid_rt.relay import add_scan_options, parser, run, scan_of

log = logging.getLogger(__name__)

DEFAULT_RATE_HZ = 30.0
IDLE_S, IDLE_PERIODS = 5.0, 20
"""A series ends when nothing was written for so many seconds, and so many frame periods."""
SETTLE_S, SETTLE_PERIODS = 0.25, 3
"""A frame without a successor is complete when it has not changed for so many seconds, and so many frame periods."""
_XML = "Experiment.xml"
_RAW_NAME = re.compile(r"image.*\.raw", re.IGNORECASE)
_POLL_S = 0.003
_LOOK_S = 0.25
"""How often folders are looked through, and a file that is read is looked for under its name."""
_XML_WAIT_S = 5.0
_PACE = 4
"""Frames that were written at once are published at most so many times faster than they were scanned."""
_PROBED_LINES = 8
_PROBED_FRAMES = 64
_GIVE_UP_S = 1.0
"""A file that gives no frame for so long is left when there is another one."""

_Mark = tuple[int, int, int, int]
"""What tells that a file has changed or is another one: device, inode, size, time of the last change."""


def _mark(stat: os.stat_result) -> _Mark:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _open_shared(path: str, flags: int) -> int:
    """Open a file so that ThorImageLS may still rename and delete it, which Windows forbids otherwise."""
    if sys.platform == "win32":
        import ctypes
        import msvcrt

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        create = kernel.CreateFileW
        word, pointer = ctypes.c_ulong, ctypes.c_void_p
        create.argtypes, create.restype = [ctypes.c_wchar_p, word, word, pointer, word, word, pointer], pointer
        # Read; share reading, writing and deleting; an existing file; no attributes.
        handle = create(path, 0x80000000, 7, None, 3, 0x80, None)
        if handle is None or handle == pointer(-1).value:
            raise ctypes.WinError(ctypes.get_last_error())
        return msvcrt.open_osfhandle(handle, os.O_RDONLY)
    return os.open(path, flags)


class _RawFile:
    """A raw file that is being written, and what its XML says.

    Raises
    ------
    FileError
        When one of both files cannot be read, or not yet.
    StreamError
        When it is no recording of frames, or the file holds more than the XML announces.
    """

    def __init__(self, raw: Path, channels: int | None, scan: ScanGeometry, rate_hz: float | None) -> None:
        self.raw = raw
        self.xml = raw.with_name(_XML)
        self.xml_mark = self._stat_xml()
        self.experiment = read_thor_xml(self.xml)
        try:
            self._identity = _mark(raw.stat())[:2]
            self.file = io.FileIO(raw, "rb", opener=_open_shared)
        except OSError as error:
            raise FileError(
                f"{raw} cannot be opened ({error.strerror or error})",
                expected="a file that may be read",
                todo="check the rights",
            ) from error
        try:
            self._describe(channels, scan, rate_hz)
        except BaseException:
            self.file.close()
            raise

    def _stat_xml(self) -> _Mark:
        try:
            return _mark(self.xml.stat())
        except OSError as error:
            raise FileError(
                f"{self.xml} cannot be read ({error.strerror or error})",
                expected=f"{_XML} beside the raw file",
                todo="wait until ThorImageLS has written it",
            ) from error

    def _describe(self, channels: int | None, scan: ScanGeometry, rate_hz: float | None) -> None:
        one, size = self.experiment, self.stat().st_size
        check_frame_limits(self.raw, 1, one.lines, one.pixels)
        page_bytes = 2 * one.lines * one.pixels
        # How many frames other kinds of recordings hold is not certain.
        self.total = one.frames if one.streaming else None
        enabled = len(one.enabled)
        self.assumed = False
        if channels is not None:
            candidates = [channels]
        elif one.only_enabled or enabled >= ALL_CHANNELS:
            candidates = [enabled]
        else:
            candidates = [ALL_CHANNELS, enabled] if enabled > 1 else [enabled, ALL_CHANNELS]
            self.assumed = True
        stored = candidates[0]
        if self.total is not None:
            for candidate in candidates:
                if size == self.total * candidate * page_bytes:
                    stored, self.assumed = candidate, False
        check_frame_limits(self.raw, stored, one.lines, one.pixels)
        self.stored, self.frame_bytes = stored, stored * page_bytes
        self.picked = list(range(stored))
        names = one.names if enabled == stored else tuple(f"Chan{chr(ord('A') + i)}" for i in range(stored))
        if stored == ALL_CHANNELS > enabled and channels is None:
            if max(one.enabled) >= ALL_CHANNELS:
                raise StreamError(
                    f"{self.xml} that enables channel number {max(one.enabled) + 1}",
                    expected=f"at most {ALL_CHANNELS} channels",
                    todo="give the number of stored channels with --channels",
                )
            self.picked, names = list(one.enabled), one.names
        self.planes, self.flyback = one.planes, one.flyback
        said_hz = one.rate_hz(self.planes, self.flyback)
        self.rate_assumed = rate_hz is None and said_hz is None
        self.info = self._info(names, rate_hz or said_hz or DEFAULT_RATE_HZ, scan)
        self.stored_hz = self.info.rate_hz * self.period / self.planes
        """Frames per second in the file, with fly-back frames."""
        self._buffer = np.empty((stored, one.lines, one.pixels), "<u2")
        self._rows = np.unique(np.linspace(0, one.lines - 1, _PROBED_LINES).astype(int)).tolist()
        self._row = np.empty(one.pixels, "<u2")

    def _info(self, names: tuple[str, ...], rate_hz: float, scan: ScanGeometry) -> StreamInfo:
        one, expected = self.experiment, None
        if self.total is not None:
            volumes, rest = divmod(self.total, self.period)
            expected = volumes * self.planes + min(rest, self.planes)
        user: dict[str, Any] = {"software": one.software, "experiment": self.raw.parent.name, "channels": list(names)}
        if one.pixel_um is not None:
            user["pixel_um"] = list(one.pixel_um)
        if self.flyback:
            user["flyback_frames"] = self.flyback
        return StreamInfo(
            (len(self.picked), one.lines, one.pixels),
            np.dtype("<u2"),
            rate_hz,
            replace(scan, bidirectional=scan.bidirectional and one.both_directions is not False),
            source="thorimage",
            planes=self.planes,
            n_expected=expected,
            user=user,
        )

    @property
    def period(self) -> int:
        """Frames of a volume in the file."""
        return self.planes + self.flyback

    @property
    def full_bytes(self) -> int | None:
        """Length of the whole recording; None when the XML does not say it."""
        return None if self.total is None else self.total * self.frame_bytes

    def stat(self) -> os.stat_result:
        return os.fstat(self.file.fileno())

    def mark(self) -> _Mark:
        """Return what tells that the file has changed, by its name: what Windows says of an open file may differ."""
        return _mark(self.raw.stat())

    def replaced(self) -> bool:
        """Tell whether another file has the name now. Raises `OSError` when none has."""
        return self.mark()[:2] != self._identity

    def xml_changed(self) -> bool:
        return self._stat_xml() != self.xml_mark

    def read(self, number: int) -> NDArray[np.uint16] | None:
        """Return all stored channels of a frame, valid until the next call; None when the file is too short."""
        return self._buffer if self._read(number * self.frame_bytes, self._buffer) else None

    def begun(self, number: int) -> bool:
        """Tell whether some pixels of a frame are not zero; a few lines of each channel are looked at."""
        lines, pixels = self._buffer.shape[1:]
        for channel in self.picked:
            for row in self._rows:
                start = number * self.frame_bytes + 2 * pixels * (channel * lines + row)
                if self._read(start, self._row) and self._row.any():
                    return True
        return False

    def ends_lit(self, number: int) -> bool:
        """Tell whether the last line of a frame that was written last has pixels above zero."""
        lines, pixels = self._buffer.shape[1:]
        start = number * self.frame_bytes + 2 * pixels * ((self.picked[-1] + 1) * lines - 1)
        return self._read(start, self._row) and bool(self._row.any())

    def frontier(self, frames: int) -> int:
        """Return the number of the first frame that has not begun, of a file that is filled from its beginning."""
        low, high = 0, frames
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.begun(middle) else (low, middle)
        return low

    def _read(self, start: int, out: NDArray[np.uint16]) -> bool:
        self.file.seek(start)
        view, done = out.reshape(-1).view(np.uint8), 0
        while done < view.size:
            count = self.file.readinto(memoryview(view[done:]))  # type: ignore[arg-type]
            if not count:
                return False
            done += count
        return True

    def close(self) -> None:
        self.file.close()


class ThorImageSource:
    """The frames that ThorImageLS records, one series per raw file.

    Recordings that are complete when the source is opened are left out. One that is being written then is read from
    its present frame on; one that begins later, from its first frame. The source waits for XML that is half-written,
    and leaves out, with a warning, recordings that are no frames and files that contradict their XML.

    Parameters
    ----------
    folder : Path or str
        Folder in which ThorImageLS makes a folder for each experiment, or one of these, or a file in one.
    scan : ScanGeometry, optional
        How lines are scanned. That the XML says "one direction" is taken from it.
    channels : int, optional
        Channels that the file holds; None: as the XML says.
    rate_hz : float, optional
        Frames per second over all planes; None: as the XML says.
    idle_s : float, optional
        Seconds after which a file that does not go on ends the series; None: 5 s, or 20 frame periods if that is
        longer.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        scan: ScanGeometry | None = None,
        channels: int | None = None,
        rate_hz: float | None = None,
        idle_s: float | None = None,
    ) -> None:
        numbers = [number for number in (channels, rate_hz, idle_s) if number is not None]
        if not all(number > 0 for number in numbers):
            raise StreamError(
                f"{channels} channels, {rate_hz} Hz and an idle time of {idle_s} s",
                expected="numbers above 0",
                todo="correct the options",
            )
        self._folder = self._watched = Path(folder)
        self._scan = scan or ScanGeometry()
        self._channels, self._rate_hz, self._idle_given_s = channels, rate_hz, idle_s
        self._events: deque[Event] = deque()
        self._opened = False
        self._reset()

    def _reset(self) -> None:
        self._events.clear()
        self._left_out: dict[Path, _Mark] = {}  # raw files that are read no more unless they change
        # Where to go on if they do, and `_lit`; -1: at the frame that is then written.
        self._positions: dict[Path, tuple[int, bool]] = {}
        self._refused: dict[Path, _Mark] = {}  # raw files that cannot be read unless their XML changes
        self._tail: _RawFile | None = None
        self._info: StreamInfo | None = None
        self._waiting: Path | None = None  # a raw file that cannot be described yet
        self._waited_s = 0.0
        self._told = False
        self._look_s = 0.0
        self._forget_place(0)

    def _forget_place(self, number: int, *, lit: bool = False) -> None:
        """Begin at a frame of the file."""
        self._next = number
        self._seen = 0  # a frame that has begun: all before it are complete
        self._lit = lit  # whether the frame before had pixels above zero
        self._sizes: deque[tuple[float, int]] = deque()  # since when the file has been so long
        self._grew = False  # whether it has become longer
        self._still: tuple[float, int, NDArray[np.uint16]] | None = None  # since when a frame has not changed
        self._progress_s = time.monotonic()
        self._cut = False  # whether the frame that has not changed may be incomplete
        self._due_s = self._ahead_s = self._compare_s = 0.0

    def open(self) -> None:
        """Look which recordings are there. Raises `FileError` when the folder does not exist."""
        self.close()
        folder = self._folder.parent if self._folder.is_file() else self._folder
        if not folder.is_dir():
            raise FileError(
                f"no folder {folder}",
                expected="the folder in which ThorImageLS makes the folders of its experiments",
                todo="check the path",
            )
        self._watched = folder.parent if (folder / _XML).is_file() else folder
        self._opened = True
        found = self._raw_files()
        self._left_out = dict(found)
        self._positions = dict.fromkeys(found, (-1, False))
        if found:
            self._resume(max(found, key=lambda raw: found[raw][3]))

    def _resume(self, raw: Path) -> None:
        """Watch a file that was there at the beginning, if it is one that is still being filled."""
        try:
            tail = _RawFile(raw, self._channels, self._scan, self._rate_hz)
        except (FileError, StreamError):
            return  # it will be described, or refused with a sentence, if it changes
        size, full = tail.stat().st_size, tail.full_bytes
        if full is not None and size == full and tail.total is not None and not tail.begun(tail.total - 1):
            self._tail = tail
            self._forget_place(tail.frontier(tail.total))
        else:
            tail.close()

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event; None when there was none within `timeout_s` seconds.

        Raises
        ------
        StageError
            When the file cannot be read any more.
        """
        until_s = time.monotonic() + timeout_s
        while not self._events and self._opened:
            now_s = time.monotonic()
            try:
                self._poll(now_s)
            except OSError as error:
                raise StageError(
                    f"a recording that cannot be read any more ({error})",
                    expected="the file to stay readable",
                    todo="check the disk or the network",
                ) from error
            if self._events or now_s >= until_s:
                break
            time.sleep(min(_POLL_S, until_s - now_s))
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._tail is not None:
            self._tail.close()
        self._opened = False
        self._reset()

    def _raw_files(self) -> dict[Path, _Mark]:
        """Return the raw files of all experiments of the folder."""
        found: dict[Path, _Mark] = {}
        begin_s = time.monotonic()
        try:
            with os.scandir(self._watched) as entries:
                folders = [Path(entry.path) for entry in entries if entry.is_dir()]
        except OSError as error:
            log.warning("%s cannot be looked through: %s", self._watched, error)
            return found
        for folder in (self._watched, *folders):
            try:
                with os.scandir(folder) as entries:
                    raws = [entry for entry in entries if _RAW_NAME.fullmatch(entry.name) and entry.is_file()]
                    # What a folder says about a file that is being written may be old.
                    found |= {Path(entry.path): _mark(Path(entry.path).stat()) for entry in raws}
            except OSError:
                continue  # it has just been moved or deleted
        end_s = time.monotonic()
        self._look_s = max(self._look_s, end_s + 10 * (end_s - begin_s))  # thousands of folders take their time
        return found

    def _poll(self, now_s: float) -> None:
        """Queue the events that have happened."""
        if self._info is None and now_s >= self._look_s:
            self._look_s = now_s + _LOOK_S
            self._look(now_s)
        if self._tail is not None:
            self._follow(self._tail, now_s)

    def _look(self, now_s: float) -> None:
        """Choose the raw file to read: of those that are new or have changed, the oldest."""
        found = self._raw_files()
        changed = {raw: mark for raw, mark in found.items() if mark[2] and self._left_out.get(raw) != mark}
        changed = {raw: mark for raw, mark in changed.items() if not self._is_refused(raw)}
        tail = self._tail
        if tail is not None:
            others = [raw for raw in changed if raw != tail.raw]
            if not self._outdated(tail) and not (others and now_s - self._progress_s > _GIVE_UP_S):
                return
            if others:
                self._leave(tail)
                changed.pop(tail.raw, None)
            tail.close()
            self._tail = None
        if changed:
            raw = min(changed, key=lambda one: (changed[one][3], one))
            self._describe(raw, changed[raw], now_s)

    def _describe(self, raw: Path, mark: _Mark, now_s: float) -> None:
        """Open a raw file, and go on where it was left."""
        if raw != self._waiting:
            self._waiting, self._waited_s, self._told = raw, now_s, False
        try:
            tail = _RawFile(raw, self._channels, self._scan, self._rate_hz)
        except FileError as error:
            if now_s - self._waited_s > _XML_WAIT_S and not self._told:
                self._told = True
                log.warning("waiting, since %s", error)
            return
        except StreamError as error:
            self._refuse(raw, str(error))
            return
        position, lit = self._positions.get(raw, (0, False))
        size, before = tail.stat().st_size, self._left_out.get(raw)
        if position < 0:
            there = (size if before is None else before[2]) // tail.frame_bytes
            position = there if tail.total is None or there < tail.total else tail.frontier(tail.total)
        replaced = before is not None and before[:2] != mark[:2]
        if replaced or (lit and not tail.begun(position - 1)):
            position, lit = 0, False
        self._tail = tail
        self._forget_place(position, lit=lit)

    def _refuse(self, raw: Path, why: str) -> None:
        log.warning("this recording is left out: %s", why)
        try:
            self._refused[raw] = _mark(raw.with_name(_XML).stat())
        except OSError:
            self._refused.pop(raw, None)

    def _is_refused(self, raw: Path) -> bool:
        try:
            return raw in self._refused and self._refused[raw] == _mark(raw.with_name(_XML).stat())
        except OSError:
            return True

    def _leave(self, tail: _RawFile) -> None:
        """Remember where a file was left."""
        with suppress(FileNotFoundError):
            self._left_out[tail.raw] = tail.mark()
        self._positions[tail.raw] = self._next, self._lit

    def _outdated(self, tail: _RawFile) -> bool:
        """Tell whether a file that has given no frame yet is gone, or its XML or itself has been written anew."""
        try:
            return tail.replaced() or tail.xml_changed()
        except (OSError, FileError):
            return True

    def _follow(self, tail: _RawFile, now_s: float) -> None:
        """Queue the next frame if it is complete, and find out whether the recording has ended."""
        size, full = tail.stat().st_size, tail.full_bytes
        if full is not None and size > full:
            self._finish(tail, "error")
            todo = "give the number of stored channels with --channels" if tail.assumed else "record without averaging"
            self._refuse(tail.raw, f"{tail.raw} of {size} bytes, for which {_XML} announces {full}; {todo}")
            return
        if size < self._next * tail.frame_bytes:
            self._finish(tail, "replaced", again=True)
            return
        if not self._sizes or self._sizes[-1][1] != size:
            self._grew |= bool(self._sizes) and size > self._sizes[-1][1]
            self._sizes.append((now_s, size))
            self._progress_s = now_s
        if now_s >= self._look_s and self._info is not None:
            self._look_s = now_s + _LOOK_S
            if not self._same(tail):
                return
        if tail.total is not None and self._next >= tail.total:
            self._finish(tail, "done")
        elif now_s >= self._due_s and (self._next + 1) * tail.frame_bytes <= size and self._complete(tail, size, now_s):
            self._publish(tail, now_s)
        elif self._info is not None and now_s - self._progress_s > self._idle_s(tail):
            self._finish(tail, "timeout")

    def _idle_s(self, tail: _RawFile) -> float:
        given_s = self._idle_given_s
        return max(IDLE_S, IDLE_PERIODS / tail.stored_hz) if given_s is None else given_s

    def _same(self, tail: _RawFile) -> bool:
        """End the series when the file is gone, was replaced, or was written anew in its place."""
        try:
            replaced = tail.replaced()
        except FileNotFoundError:
            self._finish(tail, "abort")
            return False
        if replaced or (self._lit and not tail.begun(self._next - 1)):
            self._finish(tail, "replaced", again=True)
            return False
        if time.monotonic() - self._progress_s > 2 * _settle_s(tail):
            new = [raw for raw in self._raw_files() if raw not in self._left_out and raw != tail.raw]
            if new:  # ThorImageLS records one file at a time
                self._finish(tail, "done")
                return False
        return True

    def _complete(self, tail: _RawFile, size: int, now_s: float) -> bool:
        """Tell whether all of the next frame has been written."""
        full = tail.full_bytes
        self._cut = False
        by_length, last = full is not None and size < full, size // tail.frame_bytes - 1
        # A length alone proves nothing: it may have been set before anything was written.
        if by_length and tail.begun(last) and (self._next < last or tail.ends_lit(last)):
            return True
        if self._next < self._seen or self._successor(tail, last + 1, now_s):
            return True
        settle_s = _settle_s(tail)
        if by_length and self._grew:  # black
            end = (self._next + 1) * tail.frame_bytes
            return next((now_s - since_s > settle_s for since_s, long in self._sizes if long >= end), False)
        return self._settled(tail, settle_s, now_s)

    def _successor(self, tail: _RawFile, frames: int, now_s: float) -> bool:
        """Tell whether a frame behind the next one has begun, so that the next one is complete."""
        steps = [1]
        if now_s >= self._ahead_s:  # the next frames may be black
            self._ahead_s = now_s + _LOOK_S
            steps += [*range(2, _PROBED_FRAMES), *(2**i for i in range(_PROBED_FRAMES.bit_length(), 32))]
            steps.append(frames - 1 - self._next)
        for step in steps:
            if 0 < step < frames - self._next and tail.begun(self._next + step):
                self._seen = self._next + step
                return True
        return False

    def _settled(self, tail: _RawFile, settle_s: float, now_s: float) -> bool:
        """Tell whether the next frame, which has begun, has not changed for some time."""
        if now_s < self._compare_s or not tail.begun(self._next):
            return False
        self._compare_s = now_s + settle_s / 4
        pixels = tail.read(self._next)
        if pixels is None:
            return False
        if self._still is None or self._still[1] != self._next or not np.array_equal(self._still[2], pixels):
            self._still = (now_s, self._next, pixels.copy())
            self._progress_s = now_s
            return False
        # A program that hangs while it writes a frame leaves zeros at its end.
        self._cut = not tail.ends_lit(self._next)
        return now_s - self._still[0] > (self._idle_s(tail) / 2 if self._cut else settle_s)

    def _publish(self, tail: _RawFile, now_s: float) -> None:
        volume, place = divmod(self._next, tail.period)
        if place < tail.planes:
            pixels = tail.read(self._next)
            arrived_ns = time.time_ns()
            if pixels is None or tail.stat().st_size < (self._next + 1) * tail.frame_bytes:
                return  # it has been cut off meanwhile
            if self._info is None:
                self._begin(tail)
            picked = pixels if len(tail.picked) == tail.stored else pixels[tail.picked]
            index, flags = volume * tail.planes + place, FrameFlag.INCOMPLETE if self._cut else FrameFlag.NONE
            self._events.append(Frame(index, picked, arrived_ns=arrived_ns, plane=place, flags=flags))
            self._lit = tail.begun(self._next)
            self._due_s = max(self._due_s, now_s - 1 / tail.stored_hz) + 1 / (_PACE * tail.stored_hz)
        self._next += 1
        self._progress_s = now_s
        while len(self._sizes) > 1 and self._sizes[1][1] <= self._next * tail.frame_bytes:
            self._sizes.popleft()

    def _begin(self, tail: _RawFile) -> None:
        if tail.assumed:
            log.warning(
                "%s leaves open how many channels %s holds: %d are assumed, and --channels sets them",
                _XML,
                tail.raw,
                tail.stored,
            )
        if tail.rate_assumed:
            log.warning("%s does not say the frame rate: %g Hz are assumed, see --rate", tail.xml, DEFAULT_RATE_HZ)
        # A file that goes on after a pause is another series.
        self._info = replace(tail.info, series=uuid.uuid4().hex)
        self._events.append(self._info)

    def _finish(self, tail: _RawFile, reason: str, *, again: bool = False) -> None:
        """End the series, if one has begun, and read the file no more unless it changes.

        Parameters
        ----------
        tail : _RawFile
            The file.
        reason : str
            Why.
        again : bool
            Read it from its beginning.
        """
        if self._info is not None:
            self._events.append(StreamEnd(reason))
            self._info = None
        self._look_s = 0.0
        self._waiting = None
        if again:
            self._left_out.pop(tail.raw, None)
            self._positions.pop(tail.raw, None)
        else:
            self._leave(tail)
            if reason == "timeout" and tail.stat().st_size == tail.full_bytes:
                return  # what is written into it later changes neither its length nor, on Windows, its time
        tail.close()
        self._tail = None


def _settle_s(tail: _RawFile) -> float:
    return max(SETTLE_S, SETTLE_PERIODS / tail.stored_hz)


def main(arguments: list[str] | None = None) -> int:
    """Publish what ThorImageLS records until Ctrl-C; return the exit status."""
    made = parser("Publishes the frames of a raw file while ThorImageLS records it.")
    made.add_argument("folder", type=Path, help="folder in which ThorImageLS makes a folder for each experiment")
    add_scan_options(made)
    made.add_argument("--channels", type=int, metavar="N", help="channels in the file (default: as the XML says)")
    made.add_argument("--rate", type=float, metavar="HZ", help="frames per second (default: as the XML says)")
    made.add_argument("--idle", type=float, metavar="S", help="seconds after which a file that stops ends a series")
    options = made.parse_args(arguments)
    return run(lambda: _source(options), options)


def _source(options: argparse.Namespace) -> ThorImageSource:
    return ThorImageSource(
        options.folder,
        scan=scan_of(options),
        channels=options.channels,
        rate_hz=options.rate,
        idle_s=options.idle,
    )


if __name__ == "__main__":
    sys.exit(main())
