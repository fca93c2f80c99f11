"""A connector for ScanImage without a publisher of its own: publishes what MATLAB writes into a ring file.

In MATLAB, ``deepbid.connect`` (folder ``bridge/scanimage``) copies each frame into the file; this program follows it.
``bridge/scanimage/RING.md`` describes the file. Never tried at a microscope, nor with MATLAB.
"""

from __future__ import annotations

import argparse
import logging
import math
import mmap
import os
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, OptionError, StreamError
from deepbid_rt.frame import (
    MAX_CHANNELS,
    MAX_SIDE,
    Direction,
    Event,
    Frame,
    FrameFlag,
    Gap,
    GapCause,
    Layout,
    ScanGeometry,
    StreamEnd,
    StreamInfo,
)
from deepbid_rt.relay import parser, run

log = logging.getLogger(__name__)

DEFAULT_FILE = Path(tempfile.gettempdir()) / "deepbid-rt-ring.bin"
"""Where ``deepbid.connect`` writes, too."""
SILENCE_S = 10.0
"""A series ends when MATLAB has shown no sign of life for so long; it shows one every second, unless it is busy."""
LEAST_SILENCE_S = 3.0
DEFAULT_RATE_HZ = 30.0
"""Frame rate of a series that states none."""
_MAGIC = b"DBRTRING"
_VERSION = 1
_BLOCKS_AT, _BLOCKS, _BLOCK_BYTES, _SLOTS_AT, _HEAD_BYTES = 4096, 4, 8192, 36864, 64
_WORDS = 10
_SLOT_BYTES, _SLOTS, _GENERATION, _WRITTEN = 4, 5, 6, 7
_STATES = {2.0: "done", 3.0: "abort", 4.0: "error", 5.0: "replaced"}
_RUNNING = 1
_NAP_S = 0.001, 0.01
"""Shortest and longest time between two looks for a frame that is due."""
_TORN_S = 0.1
"""A slot that is not complete although it should be is read again for so long."""
_LOOK_S = 0.25
"""How often a missing file, or one that was replaced, is looked for."""
_MAX_PLANES = 4096
_NAMES = (
    *("series", "state", "first", "last", "channels", "lines", "pixels", "frame_rate_hz", "planes", "flyback"),
    *("bidirectional", "resonant", "uniform_sampling", "pixel_um_y", "pixel_um_x", "line_phase_s", "scanner_hz"),
    *("ff_t", "ff_s", "line_period_s", "zoom", "frames_per_slice", "slice"),
)
_CHANNEL_NUMBERS, _Z, _CHANNEL_NAMES, _SOFTWARE, _FACTS = 32, 40, 552, 808, 872
_NAME_BYTES, _MAX_Z = 32, 512


def _bad(
    path: Path, came: str, expected: str, todo: str = "stop MATLAB, delete the file, and connect again"
) -> FileError:
    return FileError(f"{path} {came}", expected=expected, todo=todo)


@dataclass(frozen=True, slots=True)
class Block:
    """What the file says about one series; numbers that are not known are NaN."""

    facts: dict[str, float]
    """By the names of the table in ``RING.md``."""
    channels: list[dict[str, Any]]
    z_um: list[float]
    software: str

    @classmethod
    def read(cls, values: NDArray[np.float64]) -> Block:
        """Take the block apart; nothing is checked."""
        facts = {name: float(value) for name, value in zip(_NAMES, values, strict=False)}
        count = int(facts["channels"]) if 1 <= facts["channels"] <= MAX_CHANNELS else 0
        channels = []
        for k in range(count):
            named: dict[str, Any] = {}
            number = float(values[_CHANNEL_NUMBERS + k])
            if number >= 1 and number.is_integer():
                named["id"] = int(number)
            named["name"] = _text(values, _CHANNEL_NAMES + k * _NAME_BYTES, _NAME_BYTES) or f"Channel {k + 1}"
            channels.append(named)
        z_um = [float(one) for one in values[_Z : _Z + _MAX_Z] if math.isfinite(one)]
        return cls(facts, channels, z_um, _text(values, _SOFTWARE, _FACTS - _SOFTWARE))

    @property
    def state(self) -> float:
        """1 while the series runs."""
        return self.facts["state"]

    @property
    def number(self) -> float:
        """Number of the series."""
        return self.facts["series"]

    def whole(self, name: str, low: int, high: int) -> int:
        """Return a whole number of the block. Raises `StreamError` when it is none or out of range."""
        value = self.facts[name]
        if not (low <= value <= high and value.is_integer()):
            raise StreamError(
                f"a series with {name.replace('_', ' ')} = {value:g}",
                expected=f"a whole number from {low} to {high}",
                todo="check that MATLAB uses the folder bridge/scanimage of this version",
            )
        return int(value)

    def info(self, layout: Layout, first: Direction) -> StreamInfo:
        """Describe the series. Raises `StreamError` when the block contradicts itself."""
        shape = (
            self.whole("channels", 1, MAX_CHANNELS),
            self.whole("lines", 1, MAX_SIDE),
            self.whole("pixels", 1, MAX_SIDE),
        )
        planes, flyback = self.whole("planes", 1, _MAX_PLANES), self.whole("flyback", 0, _MAX_PLANES)
        rate_hz = self.facts["frame_rate_hz"]
        if not 0 < rate_hz < 1e6:
            log.warning("ScanImage does not give the frame rate; %g Hz is assumed", DEFAULT_RATE_HZ)
            rate_hz = DEFAULT_RATE_HZ
        return StreamInfo(
            shape=shape,
            dtype=np.dtype("<i2"),
            rate_hz=rate_hz * planes / (planes + flyback),
            scan=ScanGeometry(layout, self.facts["bidirectional"] != 0, first, mirrored=True, extra=self._extra()),
            source="scanimage",
            planes=planes,
            user=self._user(planes, flyback),
        )

    def _extra(self) -> dict[str, Any]:
        known = {name: value for name, value in self.facts.items() if math.isfinite(value)}
        extra: dict[str, Any] = {
            name: known[name] for name in ("ff_t", "ff_s", "line_period_s", "zoom") if name in known
        }
        if "line_phase_s" in known:
            extra["phase_s"] = known["line_phase_s"]
        if "resonant" in known:
            extra["kind"] = "resonant" if known["resonant"] else "galvo"
        if known.get("resonant"):
            if "scanner_hz" in known:
                extra["f_res_hz"] = known["scanner_hz"]
            if "uniform_sampling" in known:
                extra["dewarped"] = not known["uniform_sampling"]
        if self.software:
            extra["software"] = self.software
        return extra

    def _user(self, planes: int, flyback: int) -> dict[str, Any]:
        user: dict[str, Any] = {"channels": self.channels}
        pixel_um = [self.facts["pixel_um_y"], self.facts["pixel_um_x"]]
        if all(math.isfinite(side) and side > 0 for side in pixel_um):
            user["pixel_um"] = pixel_um
        if len(self.z_um) == planes > 1:
            user["plane_z_um"] = self.z_um
        if flyback:
            user["flyback_frames"] = flyback
        # While ScanImage focuses, it has infinitely many frames per slice.
        for name, least in (("frames_per_slice", 2), ("slice", 1)):
            if least <= self.facts[name] < math.inf:
                user[name] = int(self.facts[name])
        return user


def _text(values: NDArray[np.float64], at: int, most: int) -> str:
    codes = values[at : at + most]
    good = [int(code) for code in codes if 1 <= code <= 255]
    return bytes(good).decode("utf-8", "ignore")


class RingFile:
    """The mapped file. It is only read.

    Raises
    ------
    FileError
        When the file is not a ring file, is of another version, or is shorter than it says.
    FileNotFoundError
        When there is no finished file. MATLAB writes the first word last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        try:
            found = os.fstat(self._file.fileno())
            self._identity = found.st_dev, found.st_ino
            self.bytes = self._read_size()
            self.check_size()
            self._map = mmap.mmap(self._file.fileno(), self.bytes, access=mmap.ACCESS_READ)
        except BaseException:
            self._file.close()
            raise
        self._state = np.frombuffer(self._map, "<u8", 4, 8 * _GENERATION)
        self._slot_bytes = 0

    def _read_size(self) -> int:
        """Check the first words, and return the size that they state."""
        head = self._file.read(_WORDS * 8)
        if len(head) < _WORDS * 8 or head[:8] == bytes(8):
            raise FileNotFoundError(self.path)
        if head[:8] != _MAGIC:
            expected = f"a ring file, which begins with {_MAGIC!r}"
            raise _bad(self.path, f"begins with {head[:8]!r}", expected, "correct --file")
        _, version, size, slots_at = (int(word) for word in np.frombuffer(head, "<u8", 4))
        if version != _VERSION:
            todo = "use the folder bridge/scanimage of this version in MATLAB"
            raise _bad(self.path, f"is a ring file of version {version}", f"version {_VERSION}", todo)
        if slots_at != _SLOTS_AT or size < _SLOTS_AT:
            raise _bad(self.path, f"says that its slots begin at byte {slots_at} of {size}", f"byte {_SLOTS_AT}")
        return size

    def check_size(self) -> None:
        """Raise `FileError` when the file is shorter than it says: to read behind its end would end the process."""
        size = os.fstat(self._file.fileno()).st_size
        if size < self.bytes:
            raise _bad(self.path, f"has {size} bytes", f"the {self.bytes} bytes that it says")

    def replaced(self) -> bool:
        """Tell whether another file, or none, has this name now."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return True
        return (found.st_dev, found.st_ino) != self._identity

    def state(self) -> list[int]:
        """Return generation, frames written, last series, and pulse; each write of MATLAB changes one of them."""
        return [int(word) for word in self._state]  # 8 aligned bytes are copied in one piece

    def word(self, k: int) -> int:
        """Return a control word."""
        return self._u64(8 * k)

    def block(self, series: int) -> Block | None:
        """Return the block in which a series is described, or was; None while MATLAB changes it."""
        at = _BLOCKS_AT + series % _BLOCKS * _BLOCK_BYTES
        lock = self._u64(at)
        values = np.frombuffer(self._map, "<f8", _FACTS, at + 8).copy()
        return Block.read(values) if lock % 2 == 0 and lock == self._u64(at) else None

    def may_have_ended(self, series: int) -> bool:
        """Tell whether the block of a series is worth reading, which takes longer and is asked after each frame."""
        number, state = np.frombuffer(self._map, "<f8", 2, _BLOCKS_AT + series % _BLOCKS * _BLOCK_BYTES + 8).tolist()
        return bool(number != series or state != _RUNNING)

    def set_slots(self) -> int:
        """Take over the size of the slots; return their number. Raises `FileError` when they do not fit the file."""
        slot_bytes, slots = self.word(_SLOT_BYTES), self.word(_SLOTS)
        if slot_bytes % 64 or slot_bytes <= _HEAD_BYTES or slots < 1 or _SLOTS_AT + slots * slot_bytes > self.bytes:
            expected = f"slots of a multiple of 64 bytes that fit its {self.bytes} bytes"
            raise _bad(self.path, f"has {slots} slots of {slot_bytes} bytes", expected)
        self._slot_bytes = slot_bytes
        return slots

    def lock(self, slot: int) -> int:
        """Return the lock of a slot."""
        return self._u64(self._at(slot))

    def head(self, slot: int) -> tuple[float, ...]:
        """Return series, frame number, time, place and flags of a slot."""
        return tuple(np.frombuffer(self._map, "<f8", 5, self._at(slot) + 8).tolist())

    def holds(self, frame_bytes: int) -> bool:
        """Tell whether a slot has room for so many bytes of pixels."""
        return _HEAD_BYTES + frame_bytes <= self._slot_bytes

    def copy_pixels(self, slot: int, into: NDArray[np.int16]) -> None:
        """Copy the pixels of a slot into a C-contiguous array that fits."""
        found = np.frombuffer(self._map, "<i2", into.size, self._at(slot) + _HEAD_BYTES)
        np.copyto(into, found.reshape(into.shape))

    def close(self) -> None:
        """Release the map and the file. May be called twice."""
        self._state = np.empty(0, np.uint64)  # a map cannot be closed while an array shows it
        self._map.close()
        self._file.close()

    def _at(self, slot: int) -> int:
        return _SLOTS_AT + slot * self._slot_bytes

    def _u64(self, at: int) -> int:
        return int(np.frombuffer(self._map, "<u8", 1, at)[0])  # 8 aligned bytes are copied in one piece


class _Numbering:
    """Turns frame numbers of ScanImage into indices without fly-back frames, and planes.

    The place of a frame in its volume is believed before its number. They differ when an acquisition of a loop ended
    within a volume: the numbers go on, and the volumes begin anew.
    """

    def __init__(self, planes: int, flyback: int) -> None:
        self._planes, self._step = planes, planes + flyback
        self._shift = 0

    def index(self, number: int, place: int) -> tuple[int, int] | None:
        """Return index and plane of a frame; None for a fly-back frame. `place` is negative when it is not known."""
        if self._step == 1:
            return number, 0
        at = number - 1 + self._shift
        if place >= 0:
            ahead = (place - at) % self._step
            self._shift += ahead
            at += ahead
        volume, plane = divmod(at, self._step)
        return (volume * self._planes + plane, plane) if 0 <= plane < self._planes and volume >= 0 else None


@dataclass(slots=True)
class _Series:
    """The series that is being published."""

    number: int
    rate_hz: float
    numbering: _Numbering
    pixels: NDArray[np.int16]
    """Of the last frame, (C, Y, X)."""
    next: int
    """Number of the frame behind the last one that was published, as the slots count."""
    index: int | None = None
    """Of the last frame that was published."""


class RingSource:
    """The frames of ScanImage, one series after the other. Waits for the file as long as it does not exist.

    What is in the file when it is opened is left out, because it may be old. Of a file that appears while this waits
    for it, or takes the place of the first one, everything is published.

    Parameters
    ----------
    path : Path or str
        The ring file.
    layout : {'ordinary', 'collinear'}
        Whether lines 2k and 2k+1 show the same tissue; ScanImage does not say it.
    first : {'forward', 'backward'}
        Direction of line 0.
    silence_s : float
        A series ends when MATLAB shows no sign of life for so many seconds, or 10 frame periods if that is longer.

    Raises
    ------
    OptionError
        When `silence_s` is too short to tell.
    """

    def __init__(
        self,
        path: Path | str = DEFAULT_FILE,
        *,
        layout: Layout = "ordinary",
        first: Direction = "forward",
        silence_s: float = SILENCE_S,
    ) -> None:
        if not silence_s >= LEAST_SILENCE_S:
            raise OptionError(
                f"--silence {silence_s:g}",
                expected=f"at least {LEAST_SILENCE_S:g} s, since MATLAB shows only once a second that it lives",
                todo="choose a longer one",
            )
        self._path = Path(path)
        self._layout, self._first, self._silence_s = layout, first, silence_s
        self._ring: RingFile | None = None
        self._events: deque[Event] = deque()
        self._series: _Series | None = None
        self._left_out = 0  # number of the last series that cannot be published
        self._generation = self._slots = 0
        self._next = 0  # the frame to read next, as the slots count
        self._from = 0  # frames before it are not wanted
        self._absent = False
        self._life: list[int] = []
        self._life_s = self._look_s = self._frame_s = 0.0
        self._torn_s = math.inf  # since when the next slot is not complete

    def open(self) -> None:
        """Look for the file. Raises `FileError` when it cannot be one, or cannot be read."""
        if not self._path.parent.is_dir():
            raise _bad(self._path, "is in a folder that does not exist", "an existing folder", "correct --file")
        self._attach()

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event; see `FrameSource`. Raises `FileError` when the file turns out to be no ring file."""
        until_s = time.monotonic() + timeout_s
        while not self._events:
            if self._advance() or self._events:
                continue
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return None
            time.sleep(min(self._nap_s(), left_s))
        return self._events.popleft()

    def close(self) -> None:
        """Release the file. May be called twice."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def _nap_s(self) -> float:
        """Return how long to sleep: half a period after a frame, then a sixth of one, and longer without a series.

        To wake up costs more than to look, so this decides how much of a core the connector takes.
        """
        if self._series is None:
            return _NAP_S[1]
        period_s = 1 / self._series.rate_hz
        half_s = self._frame_s + period_s / 2 - time.monotonic()
        return min(max(half_s, period_s / 6, _NAP_S[0]), _NAP_S[1] if half_s <= 0 else 2 * _NAP_S[1])

    def _attach(self) -> None:
        self._look_s = time.monotonic() + _LOOK_S
        try:
            ring = RingFile(self._path)
        except FileNotFoundError:
            if not self._absent:
                log.warning("waiting for %s: call deepbid.connect in MATLAB", self._path)
            self._absent = True
            return
        except OSError as error:
            came = f"cannot be read: {error.strerror or error}"
            raise _bad(self._path, came, "a file that can be read", "correct --file") from error
        self._ring = ring
        self._generation = self._slots = self._next = 0
        generation = ring.word(_GENERATION)
        if not self._absent and generation and generation % 2 == 0:
            self._generation, self._slots, self._next = generation, ring.set_slots(), ring.word(_WRITTEN)
        self._from = self._next
        self._absent = False
        self._life = []

    def _advance(self) -> bool:
        """Take one step; return False when there is nothing to do until MATLAB writes again."""
        ring = self._ring
        if ring is None:
            if time.monotonic() < self._look_s:
                return False
            self._attach()
            return self._ring is not None
        state = ring.state()
        generation, written = state[:2]
        if generation % 2 or (generation == self._generation and written == self._next):
            return self._wait(ring, state)  # MATLAB is changing the slots, or there is no frame
        if ring.word(_GENERATION) != generation:
            return True
        if generation != self._generation:
            return self._change_slots(ring, generation)
        ring.check_size()
        return self._read_slot(ring, written)

    def _change_slots(self, ring: RingFile, generation: int) -> bool:
        self._end(ring, "error")
        slots = ring.set_slots()
        if ring.word(_GENERATION) == generation:
            self._generation, self._slots = generation, slots
            self._next = self._from = 0
        return True

    def _wait(self, ring: RingFile, state: list[int]) -> bool:
        """There is no frame: the series may have ended, MATLAB may have died, or the file may have been replaced."""
        series, now_s = self._series, time.monotonic()
        if state != self._life:
            self._life, self._life_s = state, now_s
        elif now_s < self._look_s:
            return False
        if series is not None:
            if self._has_ended(ring, series):
                self._end(ring, "error")
            elif now_s - self._life_s >= max(self._silence_s, 10 / series.rate_hz):
                log.warning("MATLAB has shown no sign of life for %.3g s, so the series ends", now_s - self._life_s)
                self._end(ring, "timeout")
                self._from = self._next
        if now_s >= self._look_s:
            self._look_s = now_s + _LOOK_S
            if ring.replaced():
                log.warning("%s has been deleted or replaced", self._path)
                self._end(ring, "error")
                self.close()
                self._absent = True
                self._look_s = now_s
            else:
                ring.check_size()
        return bool(self._events)

    def _has_ended(self, ring: RingFile, series: _Series) -> bool:
        block = ring.block(series.number) if ring.may_have_ended(series.number) else None
        if block is None:
            return False
        return block.number != series.number or (block.state != _RUNNING and not block.facts["last"] > self._next)

    def _read_slot(self, ring: RingFile, written: int) -> bool:
        """Read the next frame; return False when it has to be read again."""
        number = self._next
        if written < number:  # no writer does this within a generation; what it wrote meanwhile is not known
            self._next = written
            if self._series is not None:
                self._series.next = written
            return True
        if written - number > self._slots:
            # Too late: go on with a frame that will not be overwritten at once.
            self._next = written - self._slots + self._slots // 4
            return True
        slot, complete = number % self._slots, 2 * number + 2
        lock = ring.lock(slot)
        if lock < complete and not self._gives_up():
            return False
        self._torn_s = math.inf
        if lock == complete:
            head = ring.head(slot)
            if ring.lock(slot) == complete:
                done = self._take(ring, slot, head)
                if not done:
                    return False
        self._next = max(self._next, number + 1)
        return True

    def _gives_up(self) -> bool:
        """Tell whether a slot that should be complete has stayed incomplete for too long."""
        self._torn_s = min(self._torn_s, time.monotonic())
        if time.monotonic() - self._torn_s < _TORN_S:
            return False
        log.warning("a frame in %s was not completed; it counts as lost", self._path)
        return True

    def _take(self, ring: RingFile, slot: int, head: tuple[float, ...]) -> bool:
        """Publish the frame of a slot, if it is still there after it was copied; return False to try again."""
        of, number, time_s, place, flags = head
        if not (of >= 1 and of.is_integer() and 0 <= number < 2**53 and number.is_integer()):
            log.warning("a slot of %s holds frame %g of series %g; it is left out", self._path, number, of)
            return True
        if of == self._left_out:
            return True
        if (self._series is None or self._series.number != of) and not self._begin(ring, int(of)):
            return of == self._left_out
        series = self._series
        if series is None:
            return True
        ring.copy_pixels(slot, series.pixels)
        if ring.lock(slot) != 2 * self._next + 2:
            return True  # overwritten meanwhile; the next frame tells that this one is lost
        found = series.numbering.index(int(number), int(place) if place >= 0 else -1)
        if found is None:
            if series.next == self._next:
                series.next += 1
            return True
        index, plane = found
        if series.index is not None and index <= series.index:
            log.warning("frame numbers went back from %d to %d: a new series begins", series.index, index)
            self._end(ring, "replaced", frames_follow=True)
            self._from = self._next
            return False
        self._report_lost(series, index)
        self._events.append(
            Frame(
                index,
                series.pixels,
                arrived_ns=time.time_ns(),
                plane=plane,
                flags=FrameFlag.SATURATED if flags % 2 == 1 else FrameFlag.NONE,
                acquired_s=time_s if math.isfinite(time_s) else None,
            )
        )
        series.index, series.next = index, self._next + 1
        self._frame_s = time.monotonic()
        return True

    def _report_lost(self, series: _Series, index: int) -> None:
        """Report the frames before this one: those that were in the ring, and those that never were."""
        unread = self._next - series.next
        last = max(index - 1 - unread, -1) if series.index is None else series.index
        in_ring = min(unread, index - last - 1)
        self._gap(last + 1, in_ring, "ring")
        self._gap(last + 1 + in_ring, index - last - 1 - in_ring, "source")

    def _gap(self, first: int, count: int, cause: GapCause) -> None:
        if count > 0:
            self._events.append(Gap(first, count, cause))

    def _begin(self, ring: RingFile, number: int) -> bool:
        """Begin a series at the next slot; return False when its block is being changed, or it cannot be published."""
        self._end(ring, "error")
        block = ring.block(number)
        if block is None:
            return False
        try:
            info = self._described(ring, number, block)
        except StreamError as error:
            log.warning("series %d is left out: %s", number, error)
            self._left_out = number
            return False
        first = block.facts["first"]
        wanted = max(self._from, int(first) if 0 <= first <= self._next else 0)
        numbering = _Numbering(info.planes, int(block.facts["flyback"]))
        self._series = _Series(number, info.rate_hz, numbering, np.empty(info.shape, np.int16), wanted)
        self._events.append(info)
        return True

    def _described(self, ring: RingFile, number: int, block: Block) -> StreamInfo:
        """Describe a series. Raises `StreamError` when its block, or its slots, cannot be used."""
        if block.number != number:
            raise StreamError(
                f"a description that has been overwritten by that of series {block.number:g}",
                expected=f"at most {_BLOCKS} series within the time that the ring holds",
                todo="let the relay run while ScanImage scans",
            )
        info = block.info(self._layout, self._first)
        if not ring.holds(info.frame_bytes):
            raise StreamError(
                f"frames of shape (C, Y, X) = {info.shape}, for which its slots are too small",
                expected="slots for whole frames",
                todo="check that MATLAB uses the folder bridge/scanimage of this version",
            )
        return info

    def _end(self, ring: RingFile, reason: str, *, frames_follow: bool = False) -> None:
        """End the running series, if there is one. `reason` is for a series that MATLAB itself has not ended."""
        series = self._series
        if series is None:
            return
        self._series = None
        block = ring.block(series.number)
        if block is not None and block.number == series.number and block.state != _RUNNING and not frames_follow:
            reason = _STATES.get(block.state, "error")
            last = block.facts["last"]
            if series.index is not None and math.isfinite(last):
                self._gap(series.index + 1, int(last) - series.next, "ring")
        self._events.append(StreamEnd(reason))


def main() -> int:
    """Publish what MATLAB writes, until Ctrl-C; return the exit status."""
    options_of = parser("Publishes the frames that deepbid.connect writes in MATLAB (bridge/scanimage).")
    options_of.add_argument(
        "--file", type=Path, default=DEFAULT_FILE, help="ring file, as given to deepbid.connect (default %(default)s)"
    )
    options_of.add_argument(
        "--scan",
        choices=("ordinary", "collinear"),
        default="ordinary",
        help="collinear: lines 2k and 2k+1 scan the same tissue, once in each direction (default %(default)s)",
    )
    options_of.add_argument(
        "--first", choices=("forward", "backward"), default="forward", help="direction of line 0 (default %(default)s)"
    )
    options_of.add_argument(
        "--silence",
        type=float,
        default=SILENCE_S,
        metavar="S",
        help="end the series when MATLAB shows no sign of life for so long (default %(default)s s)",
    )
    options: argparse.Namespace = options_of.parse_args()
    return run(
        lambda: RingSource(options.file, layout=options.scan, first=options.first, silence_s=options.silence), options
    )


if __name__ == "__main__":
    sys.exit(main())
