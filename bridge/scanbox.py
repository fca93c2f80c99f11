"""A connector for Scanbox: publishes the frames that Scanbox shares in its memory-mapped file ``scanbox.mmap``.

The file begins with 16 words: frame number, -1 (free) or -2 (stopped); lines; pixels; TTL; 1 for a volume scan; its
period in frames. Behind them lie the pixels of channel A and then B, inverted (65535 minus the counts), in the order of
MATLAB: the lines of the first pixel, then those of the second. Scanbox writes a frame when the first word is negative,
the number last, and leaves the frame out otherwise. A reader writes -1 when it has copied a frame. So Scanbox serves
one reader at a time. When a run is aborted, the first word is -2 for 0.15 s. Sources:
https://scanbox.org/2016/02/11/memory-mapped-data-sharing-for-real-time-processing/ and ``core/scanbox.m`` of
https://github.com/GiocomoLab/scanbox; some laboratories read words of 32 bits (https://github.com/jkim0731/jksbx).
Never tried at a microscope.
"""

from __future__ import annotations

import argparse
import logging
import mmap
import os
import sys
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.frame import MAX_SIDE, Event, Frame, FrameFlag, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.relay import add_scan_options, parser, run, scan_of

log = logging.getLogger(__name__)

FREE, STOPPED = -1, -2
F_RES_HZ = 7930.0
"""Resonant frequency of most microscopes with Scanbox."""
IDLE_S, IDLE_PERIODS = 2.0, 20
"""A series ends when nothing came for so many seconds, and so many frame periods."""
_WORDS = 16
_POLL_S = 0.001
_LOOK_S = 0.25
"""How often a missing or replaced file is looked for."""
_MAX_PLANES = 4096
_MAX_NUMBER = 2**20
"""Frame numbers below it are believed while the width of the words is found out: 9 hours at 30 Hz."""
_JUMP_FRAMES = 1000
"""Frame numbers of 16 bits that jump by more, and by more than three times what the rate allows, begin a new run."""


@dataclass(frozen=True, slots=True)
class _Header:
    """The first words of the file."""

    number: int
    lines: int
    pixels: int
    ttl: int
    volume: int
    period: int

    @classmethod
    def read(cls, words: NDArray[Any]) -> _Header:
        return cls(*(int(word) for word in words[:6]))

    @property
    def started(self) -> bool:
        """False for the zeros of a file that Scanbox has just made."""
        return 1 <= self.lines <= MAX_SIDE and 1 <= self.pixels <= MAX_SIDE

    @property
    def plausible(self) -> bool:
        """False when the words have another width, so that halves of words, or two in one, stand in their places."""
        return self.started and -(2**15) <= self.number < _MAX_NUMBER and self.volume in (0, 1)

    @property
    def planes(self) -> int:
        return self.period if self.volume and 1 < self.period <= _MAX_PLANES else 1

    def same_run(self, other: _Header) -> bool:
        return (self.lines, self.pixels, self.planes) == (other.lines, other.pixels, other.planes)


class ScanboxSource:
    """The frames of Scanbox, one series per run. Waits for Scanbox as long as the file does not exist.

    A frame that is in the file when it is opened is left out: it may be of an earlier run. A series begins with the
    first frame that comes after it.

    Parameters
    ----------
    path : Path or str
        ``scanbox.mmap``.
    scan : ScanGeometry, optional
        How lines are scanned; the file does not say it.
    header_bits : int, optional
        16 or 32, bits of a word of the header; None: found out from the sizes.
    channels : int
        1: channel A; 2: channels A and B.
    rate_hz : float, optional
        Frames per second; None: from the resonant frequency and the number of lines.
    f_res_hz : float, optional
        Resonant frequency, Hz; None: `F_RES_HZ` for the rate.
    planes : int, optional
        Planes that are scanned in turn; None: as the file says.
    idle_s : float, optional
        Seconds without a frame after which a series ends; None: 2 s, or 20 frame periods if that is longer.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        scan: ScanGeometry | None = None,
        header_bits: int | None = None,
        channels: int = 1,
        rate_hz: float | None = None,
        f_res_hz: float | None = None,
        planes: int | None = None,
        idle_s: float | None = None,
    ) -> None:
        numbers = [number for number in (rate_hz, f_res_hz, planes, idle_s) if number is not None]
        if channels not in (1, 2) or header_bits not in (None, 16, 32) or not all(number > 0 for number in numbers):
            raise StreamError(
                f"{channels} channels, words of {header_bits} bits, a rate of {rate_hz} and a resonance of {f_res_hz} "
                f"Hz, {planes} planes and an idle time of {idle_s} s",
                expected="1 or 2 channels, 16 or 32 bits, and the others more than 0",
                todo="correct the options",
            )
        self._path, self._scan = Path(path), scan or ScanGeometry()
        self._bits, self._channels, self._planes = header_bits, channels, planes
        self._rate_hz, self._f_res_hz, self._idle_given_s = rate_hz, f_res_hz, idle_s
        self._file: BinaryIO | None = None
        self._map: mmap.mmap | None = None
        self._words: NDArray[Any] | None = None
        self._identity = (0, 0, 0)
        self._events: deque[Event] = deque()
        self._look_s = 0.0
        self._told: set[str] = set()
        self._info: StreamInfo | None = None
        self._header = _Header(FREE, 0, 0, 0, 0, 0)
        self._index = self._raw = 0
        self._last_s = self._idle_s = 0.0
        self._scratch = np.empty(0, "<u2")
        self._pixels = np.empty((0, 0, 0), "<u2")

    def open(self) -> None:
        """Open the file if it exists. Raises `FileError` when it never can be read and written."""
        self.close()
        if self._path.is_dir() or not self._path.parent.is_dir():
            raise FileError(
                f"{self._path}, which is a folder" if self._path.is_dir() else f"no folder {self._path.parent}",
                expected="scanbox.mmap, in the folder mmap of Scanbox",
                todo="give the path of scanbox.mmap",
            )
        if not self._mapped(time.monotonic()):
            log.warning(
                "waiting for %s, which Scanbox makes when it starts with memory mapping switched on", self._path
            )

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event; None when there was none within `timeout_s` seconds.

        Raises
        ------
        FileError
            When the file may not be written.
        StreamError
            When a frame does not fit into the file, so that the width of the header or the channels must be wrong.
        """
        until_s = time.monotonic() + timeout_s
        while not self._events:
            now_s = time.monotonic()
            self._poll(now_s)
            if self._events or now_s >= until_s:
                break
            time.sleep(min(_POLL_S, until_s - now_s))
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Release the file; may be called twice."""
        self._release()
        self._events.clear()
        self._told.clear()
        self._info = None
        self._look_s = 0.0

    def _release(self) -> None:
        self._words = None  # a map that an array looks at cannot be closed
        if self._map is not None:
            self._map.close()
        if self._file is not None:
            self._file.close()
        self._map = self._file = None

    def _mapped(self, now_s: float) -> bool:
        """Map the file when it has come, and again when it was replaced or has another size."""
        if now_s < self._look_s:
            return self._map is not None
        self._look_s = now_s + _LOOK_S
        try:
            # Both times by name: what Windows says of an open file may differ.
            there = self._path.stat()
            identity = there.st_dev, there.st_ino, there.st_size
            if self._map is not None and identity == self._identity:
                return True
            self._release()
            self._file, self._identity = self._path.open("r+b"), identity
        except FileNotFoundError:
            self._release()
            return False
        except OSError as error:
            self._release()
            raise FileError(
                f"{self._path} cannot be opened for writing ({error.strerror or error})",
                expected="a file that may be written, since frames are given back to Scanbox in it",
                todo="check the rights",
            ) from error
        size = os.fstat(self._file.fileno()).st_size
        if size < 4 * _WORDS:
            self._release()  # it is being made
            return False
        self._map = mmap.mmap(self._file.fileno(), size)
        header = self._find_header()
        if header is not None and header.number not in (FREE, STOPPED):
            self._free()
        return True

    def _find_header(self) -> _Header | None:
        """Return the header, and find out the width of its words; None while Scanbox has not written it."""
        if self._map is None:
            return None
        if self._words is not None and (header := _Header.read(self._words)).started:
            return header
        for bits in (16, 32) if self._bits is None else (self._bits,):
            words = np.frombuffer(self._map, f"<i{bits // 8}", _WORDS)
            header = _Header.read(words)
            if header.plausible or (self._bits is not None and header.started):
                self._words = words
                return header
        if self._map[: 2 * _WORDS].strip(b"\0"):
            words = np.frombuffer(self._map, "<i2", 8)
            self._tell_once(
                "header", "%s begins with the unknown words %s; see --header-bits", self._path, words.tolist()
            )
        self._words = None
        return None

    def _free(self) -> None:
        if self._words is not None:
            self._words[0] = FREE

    def _poll(self, now_s: float) -> None:
        """Queue the events that have happened."""
        header = self._find_header() if self._mapped(now_s) else None
        if header is not None and header.number == STOPPED and not (self._narrow and -_JUMP_FRAMES < self._raw < 0):
            self._end("done")
        elif header is not None and (header.number >= 0 or (self._narrow and header.number < STOPPED)):
            self._take(header, now_s)
        elif self._info is not None and now_s - self._last_s > self._idle_s:
            self._end("timeout")

    def _take(self, header: _Header, now_s: float) -> None:
        """Copy the frame, give it back, and queue it."""
        arrived_ns = time.time_ns()
        if self._map is None or self._file is None or os.fstat(self._file.fileno()).st_size < len(self._map):
            self._release()  # what was cut off must not be touched
            return
        if not self._copied(header):
            self._tell_once(
                "other",
                "%s: a frame was taken away while it was copied. Only one program can read it: close the plugins of "
                "Scanbox that do",
                self._path,
            )
            return
        self._free()
        index = self._index_of(header, now_s)
        if self._info is not None and (index is None or not header.same_run(self._header)):
            self._end("replaced")
        if self._info is None:
            index = header.number % 65536 if self._narrow else header.number
            self._begin(header)
        elif index is not None and index > self._index + 1:
            self._events.append(Gap(self._index + 1, index - self._index - 1, "source"))
        if index is None or self._info is None:
            return
        self._index, self._raw, self._header, self._last_s = index, header.number, header, now_s
        # Scanbox counts frames of all planes, and the first plane has the numbers that the period divides.
        plane = index % self._info.planes
        shape = (self._channels, header.pixels, header.lines)
        np.subtract(65535, self._scratch.reshape(shape).transpose(0, 2, 1), out=self._pixels)
        flags = FrameFlag.TTL_HIGH if header.ttl else FrameFlag.NONE
        self._events.append(Frame(index, self._pixels, arrived_ns=arrived_ns, plane=plane, flags=flags))

    def _copied(self, header: _Header) -> bool:
        """Copy the pixels; False when the frame was taken away or written meanwhile."""
        if self._map is None or self._words is None:
            return False
        count, start = self._channels * header.lines * header.pixels, _WORDS * self._words.itemsize
        if start + 2 * count > len(self._map):
            raise StreamError(
                f"{self._path} of {len(self._map)} bytes with a frame of {self._channels} x {header.lines} x "
                f"{header.pixels} by a header of {8 * self._words.itemsize}-bit words",
                expected=f"at least {start + 2 * count} bytes",
                todo="try --header-bits 16 or 32, and --channels 1",
            )
        stored = np.frombuffer(self._map, "<u2", count, start)
        if len(self._scratch) != count:
            self._scratch = np.empty(count, "<u2")
        self._copy(stored)
        # Scanbox overwrites a frame only when its number is negative: -1, or 16 bits that have wrapped around.
        whole = header.number >= 0 or np.array_equal(stored, self._scratch)
        return whole and _Header.read(self._words) == header

    def _copy(self, stored: NDArray[np.uint16]) -> None:
        np.copyto(self._scratch, stored)

    @property
    def _narrow(self) -> bool:
        return self._words is not None and self._words.itemsize == 2

    def _index_of(self, header: _Header, now_s: float) -> int | None:
        """Return the frame number without wrap-around; None when it belongs to a new run."""
        if self._info is None:
            return None
        step = header.number - self._raw
        if step == 0:
            # MATLAB keeps a number of 16 bits at 32767 when it has become too large.
            self._tell_once(
                "stuck",
                "%s: the frame number stays at %d, so frames are counted here from now on, and lost ones not noticed",
                self._path,
                header.number,
            )
            return self._index + 1
        if self._narrow:
            step %= 65536
            elapsed_s = now_s - self._last_s
            if step > max(_JUMP_FRAMES, 3 * elapsed_s * self._info.rate_hz):
                return None
        return self._index + step if step > 0 else None

    def _begin(self, header: _Header) -> None:
        known = {} if self._f_res_hz is None else {"f_res_hz": self._f_res_hz}
        scan = replace(self._scan, extra={"kind": "resonant", **known, **self._scan.extra})
        rate_hz = self._rate_hz or (self._f_res_hz or F_RES_HZ) / header.lines * (2 if scan.bidirectional else 1)
        self._info = StreamInfo(
            (self._channels, header.lines, header.pixels),
            np.dtype("<u2"),
            rate_hz,
            scan,
            source="scanbox",
            planes=self._planes or header.planes,
            user={
                "software": "Scanbox",
                "channels": ["PMT0", "PMT1"][: self._channels],
                "level": {"offset": 0, "sat_hi": 65535, "invert": False},
            },
        )
        given_s = self._idle_given_s
        self._idle_s = max(IDLE_S, IDLE_PERIODS / rate_hz) if given_s is None else given_s
        self._pixels = np.empty(self._info.shape, "<u2")
        self._events.append(self._info)

    def _end(self, reason: str) -> None:
        if self._info is not None:
            self._events.append(StreamEnd(reason))
            self._info, self._raw = None, 0
            self._told.clear()

    def _tell_once(self, what: str, text: str, *values: object) -> None:
        """Log once per series."""
        if what not in self._told:
            self._told.add(what)
            log.warning(text, *values)


def main(arguments: list[str] | None = None) -> int:
    """Publish what Scanbox shares until Ctrl-C; return the exit status."""
    made = parser("Publishes the frames that Scanbox shares in scanbox.mmap.")
    made.add_argument("path", type=Path, metavar="scanbox.mmap", help="file in the folder mmap of Scanbox")
    add_scan_options(made)
    made.add_argument("--channels", type=int, choices=(1, 2), default=1, help="2: channel B too (default %(default)s)")
    made.add_argument("--header-bits", type=int, choices=(16, 32), help="bits of a word of the header (default: found)")
    made.add_argument("--planes", type=int, metavar="N", help="planes scanned in turn (default: as Scanbox says)")
    made.add_argument("--rate", type=float, metavar="HZ", help="frames per second (default: by --f-res and the lines)")
    made.add_argument("--f-res", type=float, metavar="HZ", help=f"resonant frequency (default {F_RES_HZ:g})")
    made.add_argument("--idle", type=float, metavar="S", help="seconds without a frame that end a series")
    options = made.parse_args(arguments)
    return run(lambda: _source(options), options)


def _source(options: argparse.Namespace) -> ScanboxSource:
    return ScanboxSource(
        options.path,
        scan=scan_of(options),
        header_bits=options.header_bits,
        channels=options.channels,
        rate_hz=options.rate,
        f_res_hz=options.f_res,
        planes=options.planes,
        idle_s=options.idle,
    )


if __name__ == "__main__":
    sys.exit(main())
