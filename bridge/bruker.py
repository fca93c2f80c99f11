"""A connector for Bruker's PrairieView: publishes the raw data that PrairieView streams through PrairieLink.

PrairieLink is a COM object on the computer of PrairieView. Its raw data are signed 16-bit samples as the digitizer
gives them: those of all PMTs follow each other, then the samples of a pixel, the pixels of a line in the order of
scanning, the lines and the frames. Nothing marks where a frame begins: frames are counted from samples. Lines of a
resonant scan run in alternate directions, and are passed on as they were scanned (``mirrored`` is false). As
PrairieView itself does, the connector subtracts 8192 and averages the samples of a pixel that are not below.

Sources: the help of PrairieView on script commands (``-StreamRawData``, ``-ReadRawDataStream``, ``-DroppedData``), and
what laboratories run: https://github.com/llerussell/Bruker_PrairieLink, https://github.com/CharlesMicou/reticade. The
order of several PMTs follows the code of users. Never tried at a microscope.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import RefusedError, StageError, StreamError
from deepbid_rt.frame import MAX_CHANNELS, MAX_SIDE, Event, Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.relay import add_scan_options, parser, run, scan_of

log = logging.getLogger(__name__)

OFFSET = 8192
"""Sample without light."""
DEFAULT_RATE_HZ = 30.0
IDLE_S, IDLE_PERIODS = 2.0, 20
"""A series ends when nothing came for so many seconds, and so many frame periods."""
_PROGRAMS = ("PrairieLink64.Application", "PrairieLink.Application")
_POLL_S = 0.002
_STORED_FRAMES = 4
_FLUSH_S = 10.0
_MAX_FRAME_SAMPLES = 2**28
_ROWS_SAMPLES = 2**17
"""Samples that are averaged at once; they fit into the cache of a processor."""


class PrairieLink(Protocol):
    """What is used of PrairieLink, with errors of COM turned into `OSError`."""

    def send(self, command: str) -> bool:
        """Execute a script command; False when PrairieView refused it."""
        ...

    def geometry(self) -> tuple[int, int, int]:
        """Return lines per frame, pixels per line and samples per pixel."""
        ...

    def state(self, *key: str) -> str:
        """Return a value of PrairieView's state; empty when it does not know the key."""
        ...

    def read(self, samples: NDArray[np.int16]) -> int:
        """Copy the next samples into an array, without waiting; return how many."""
        ...

    def dropped(self) -> bool:
        """Tell whether data were lost since the present acquisition began."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


class ComLink:
    """PrairieLink through COM.

    Raises
    ------
    RefusedError
        When this is no Windows, pywin32 is not installed, or PrairieView does not answer.
    """

    def __init__(self) -> None:
        system = platform.system()
        if system != "Windows":
            raise RefusedError(
                f"this connector on {system}",
                expected="the Windows computer on which PrairieView runs",
                todo="run it there; the denoiser can run on another computer",
            )
        try:
            client, errors = importlib.import_module("win32com.client"), importlib.import_module("pywintypes")
        except ImportError as error:
            raise RefusedError(
                f"no package pywin32 ({error})",
                expected="pywin32, to talk to PrairieView",
                todo="run pip install pywin32",
            ) from error
        self._error: type[Exception] = errors.com_error
        self._link: Any = None
        problem: Exception | None = None
        for program in _PROGRAMS:
            try:
                self._link = client.Dispatch(program)
                break
            except self._error as error:
                problem = error
        if self._link is None:
            raise RefusedError(
                f"no PrairieLink on this computer ({problem})",
                expected="PrairieView 5.4 or later, which brings it along",
                todo="start PrairieView once, and use 64-bit Python with 64-bit PrairieLink",
            ) from problem
        try:
            self._link.Connect()
            connected = bool(self._link.Connected())
        except self._error as error:
            connected, problem = False, error
        if not connected:
            raise RefusedError(
                f"PrairieView that does not answer{f' ({problem})' if problem else ''}",
                expected="PrairieView to be running on this computer",
                todo="start PrairieView first, then this connector",
            ) from problem

    def send(self, command: str) -> bool:
        """Execute a script command; False when PrairieView refused it."""
        done = self._call("SendScriptCommands", command)
        return done is None or bool(done)

    def geometry(self) -> tuple[int, int, int]:
        """Return lines per frame, pixels per line and samples per pixel."""
        lines, pixels, samples = (
            int(self._call(name)) for name in ("LinesPerFrame", "PixelsPerLine", "SamplesPerPixel")
        )
        return lines, pixels, samples

    def state(self, *key: str) -> str:
        """Return a value of PrairieView's state; empty when it does not know the key."""
        try:
            return str(self._call("GetState", *key) or "")
        except OSError as error:  # how an unknown key is answered depends on the version
            log.warning("PrairieView does not say %s (%s)", " ".join(key), error)
            return ""

    def read(self, samples: NDArray[np.int16]) -> int:
        """Copy the next samples into an array, without waiting; return how many."""
        return int(self._call("ReadRawDataStream_3", os.getpid(), samples.ctypes.data, samples.size))

    def dropped(self) -> bool:
        """Tell whether data were lost since the present acquisition began."""
        return bool(self._call("DroppedData"))

    def close(self) -> None:
        """Disconnect."""
        self._call("Disconnect")

    def _call(self, name: str, *arguments: object) -> Any:
        try:
            return getattr(self._link, name)(*arguments)
        except self._error as error:
            raise OSError(f"{name}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Layout:
    """Order of the samples of a frame."""

    lines: int
    pixels: int
    samples: int
    channels: int

    @property
    def size(self) -> int:
        return self.lines * self.pixels * self.samples * self.channels


class BrukerSource:
    """The frames of PrairieView, one series per acquisition.

    A series begins with the first frame and ends when no samples come for some time, since PrairieLink tells neither.
    When PrairieView has lost data, where frames begin is unknown: what has not been read as a frame is thrown away and
    reported as a `Gap`, the series ends with reason ``error``, and another one begins.

    Parameters
    ----------
    connect : callable
        Connects to PrairieView.
    scan : ScanGeometry, optional
        How lines are scanned; None: in both directions, and not mirrored.
    channels : int
        PMTs in the stream, which PrairieLink does not tell.
    planes : int
        Planes that are scanned in turn.
    rate_hz : float, optional
        Frames per second; None: as PrairieView says.
    offset : int
        Sample without light.
    buffer_frames : int
        Frames that PrairieView keeps while this connector is busy.
    dma_ms : int
        Time for which the digitizer of a resonant scan collects samples, at least a frame, in ms. A longer time makes
        frames late, and losses rarer.
    idle_s : float, optional
        Seconds without samples after which a series ends; None: 2 s, or 20 frame periods if that is longer.
    """

    def __init__(
        self,
        connect: Callable[[], PrairieLink] = ComLink,
        *,
        scan: ScanGeometry | None = None,
        channels: int = 1,
        planes: int = 1,
        rate_hz: float | None = None,
        offset: int = OFFSET,
        buffer_frames: int = 50,
        dma_ms: int = 0,
        idle_s: float | None = None,
    ) -> None:
        numbers = [number for number in (rate_hz, idle_s) if number is not None]
        right = 1 <= channels <= MAX_CHANNELS and planes >= 1 and 0 <= offset < 2**15
        right = right and 1 <= buffer_frames < 2**16 and dma_ms >= 0
        if not right or not all(number > 0 for number in numbers):
            raise StreamError(
                f"{channels} channels, {planes} planes, an offset of {offset}, a buffer of {buffer_frames} frames "
                f"and {dma_ms} ms, {rate_hz} Hz and an idle time of {idle_s} s",
                expected=f"1..{MAX_CHANNELS} channels, at least 1 plane, an offset of 0..32767, a buffer of 1..65535 "
                "frames and at least 0 ms, and the others more than 0",
                todo="correct the options",
            )
        self._connect, self._scan = connect, scan or ScanGeometry(mirrored=False)
        self._channels, self._planes, self._rate_hz = channels, planes, rate_hz
        self._offset, self._buffer_frames, self._dma_ms, self._idle_given_s = offset, buffer_frames, dma_ms, idle_s
        self._link: PrairieLink | None = None
        self._events: deque[Event] = deque()
        self._layout: _Layout | None = None
        self._samples = np.empty(0, np.int16)
        self._first = self._last = 0
        self._info: StreamInfo | None = None
        self._index = 0
        self._came_s = self._idle_s = 0.0
        self._arrived_ns = 0
        self._dropped = False
        self._pixels = np.empty((0, 0, 0), np.int16)

    def open(self) -> None:
        """Connect, and ask PrairieView for its raw data.

        Raises
        ------
        RefusedError
            When there is no PrairieView, or it does not stream its raw data.
        """
        self.close()
        link = self._connect()
        try:
            self._start(link)
        except (OSError, RefusedError, StageError) as error:
            self._leave(link)
            if not isinstance(error, OSError):
                raise
            raise RefusedError(
                f"PrairieView that stopped answering ({error})",
                expected="PrairieView to be running on this computer",
                todo="restart PrairieView, then this connector",
            ) from error
        self._link = link

    def _start(self, link: PrairieLink) -> None:
        """Switch the stream on, and throw away what is in it."""
        for command, why in (
            ("-DoNotWaitForScans", "commands would wait for the end of an acquisition"),
            (f"-LimitGSDMABufferSize True {self._dma_ms}", "frames will come late, several at once"),
            ("-SetFrameAveraging 1", "frames may be averaged"),
        ):
            if not link.send(command):
                log.warning("PrairieView refused the command %s: %s", command, why)
        if not link.send(f"-StreamRawData True {self._buffer_frames}"):
            raise RefusedError(
                "PrairieView that refused to stream its raw data",
                expected="the command -StreamRawData True to be accepted",
                todo="close other programs that use PrairieLink, and restart PrairieView",
            )
        self._use(_Layout(*link.geometry(), self._channels))
        self._flush(link)
        self._dropped = link.dropped()

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event; None when there was none within `timeout_s` seconds.

        Raises
        ------
        StageError
            When PrairieView no longer answers.
        StreamError
            When its frames are larger than a stream carries.
        """
        until_s = time.monotonic() + timeout_s
        while not self._events and self._link is not None:
            now_s = time.monotonic()
            try:
                self._poll(self._link, now_s)
            except OSError as error:
                raise StageError(
                    f"PrairieView that no longer answers ({error})",
                    expected="it to run as long as this connector",
                    todo="start PrairieView again, then this connector",
                ) from error
            if self._events or now_s >= until_s:
                break
            time.sleep(min(_POLL_S, until_s - now_s))
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Set PrairieView back, and disconnect; may be called twice."""
        if self._link is not None:
            self._leave(self._link)
        self._link = self._info = self._layout = None
        self._events.clear()
        self._first = self._last = 0

    @staticmethod
    def _leave(link: PrairieLink) -> None:
        for command in ("-StreamRawData False", "-LimitGSDMABufferSize False", "-DoNotWaitForScans False"):
            try:
                if not link.send(command):
                    log.warning("PrairieView refused the command %s: restart it before the next acquisition", command)
            except OSError as error:
                log.warning("PrairieView does not answer to %s: %s", command, error)
        try:
            link.close()
        except OSError as error:
            log.warning("PrairieView does not answer: %s", error)

    def _use(self, layout: _Layout) -> None:
        """Make room for frames of a layout, and keep the samples that were read."""
        if layout == self._layout:
            return
        sides = max(layout.lines, layout.pixels)
        if min(layout.lines, layout.pixels, layout.samples) < 1 or sides > MAX_SIDE or layout.size > _MAX_FRAME_SAMPLES:
            raise StreamError(
                f"frames of {layout.lines} lines, {layout.pixels} pixels and {layout.samples} samples per pixel",
                expected=f"1..{MAX_SIDE} lines and pixels, and at most {_MAX_FRAME_SAMPLES} samples of all PMTs",
                todo="choose smaller frames in PrairieView",
            )
        kept = self._samples[self._first : self._last]
        self._samples = np.empty(max(_STORED_FRAMES * layout.size, 2 * kept.size), np.int16)
        self._samples[: kept.size] = kept
        self._first, self._last = 0, kept.size
        self._layout = layout

    @property
    def _stored(self) -> int:
        """Samples that were read and are not in a frame yet."""
        return self._last - self._first

    def _flush(self, link: PrairieLink) -> int:
        """Throw away all samples that this source and PrairieView hold, up to a frame's begin; return how many."""
        thrown, until_s = self._stored, time.monotonic() + _FLUSH_S
        self._first = self._last = 0
        while count := link.read(self._samples):
            thrown += count
            if time.monotonic() > until_s:
                raise StageError(
                    f"PrairieView that gives samples faster than they can be thrown away ({thrown} in {_FLUSH_S:g} s)",
                    expected="a computer that keeps up",
                    todo="stop other programs, or scan fewer channels or smaller frames",
                )
        return thrown

    def _poll(self, link: PrairieLink, now_s: float) -> None:
        """Queue the events that have happened."""
        if self._layout is not None and self._stored >= self._layout.size:
            self._frame(link, self._layout)
            return
        if self._first:
            self._samples[: self._stored] = self._samples[self._first : self._last]
            self._first, self._last = 0, self._stored
        count = link.read(self._samples[self._last :])
        if count == 0:
            if self._info is not None and now_s - self._came_s > self._idle_s:
                self._end("timeout")
            return
        self._arrived_ns, self._came_s = time.time_ns(), now_s
        self._last += count
        dropped = link.dropped()
        if dropped and not self._dropped:
            self._lost(link)
        self._dropped = dropped
        layout = _Layout(*link.geometry(), self._channels)
        if layout != self._layout:
            if self._info is not None:  # the samples may be of either acquisition
                thrown = self._flush(link)
                log.warning("the size of frames has changed: %d samples are left out", thrown)
                self._end("replaced")
            self._use(layout)

    def _lost(self, link: PrairieLink) -> None:
        """Throw away what cannot be read as frames any more, and begin anew."""
        thrown = self._flush(link)
        size = 1 if self._layout is None else self._layout.size
        log.warning(
            "PrairieView has lost data: %d samples are left out, and another series begins. PrairieView does not tell "
            "further losses of this acquisition",
            thrown,
        )
        if self._info is not None:
            self._events.append(Gap(self._index, max(1, -(-thrown // size)), "source"))
            self._end("error")

    def _end(self, reason: str) -> None:
        if self._info is not None:
            if self._stored:
                log.warning("the acquisition ended within a frame: %d samples are left out", self._stored)
            self._events.append(StreamEnd(reason))
        self._info = None
        self._first = self._last = 0

    def _frame(self, link: PrairieLink, layout: _Layout) -> None:
        """Queue the first frame of the stored samples."""
        if self._info is None:
            self._begin(link, layout)
        samples = self._samples[self._first : self._first + layout.size]
        average(samples.reshape(layout.lines, layout.pixels, layout.samples, -1), self._offset, self._pixels)
        self._first += layout.size
        plane = self._index % self._planes
        self._events.append(Frame(self._index, self._pixels, arrived_ns=self._arrived_ns, plane=plane))
        self._index += 1

    def _begin(self, link: PrairieLink, layout: _Layout) -> None:
        said_hz = _positive(link.state("framerate"))
        rate_hz = self._rate_hz or said_hz
        if rate_hz is None:
            log.warning("PrairieView does not say its frame rate: %g Hz are assumed, see --rate", DEFAULT_RATE_HZ)
        mode = link.state("activeMode")
        extra: dict[str, Any] = {"samples_per_px": layout.samples}
        if mode:
            extra["kind"] = "resonant" if "resonant" in mode.lower() else "galvo" if mode.lower() == "galvo" else mode
        user: dict[str, Any] = {
            "software": "PrairieView",
            "channels": [f"Ch{number}" for number in range(1, layout.channels + 1)],
            "level": {"offset": 0},
        }
        y, x = (_positive(link.state("micronsPerPixel", axis)) for axis in ("YAxis", "XAxis"))
        if y and x:
            user["pixel_um"] = [y, x]
        self._info = StreamInfo(
            (layout.channels, layout.lines, layout.pixels),
            np.dtype("<i2"),
            rate_hz or DEFAULT_RATE_HZ,
            replace(self._scan, extra={**extra, **self._scan.extra}),
            source="bruker",
            planes=self._planes,
            user=user,
        )
        given_s = self._idle_given_s
        self._idle_s = max(IDLE_S, IDLE_PERIODS / self._info.rate_hz) if given_s is None else given_s
        self._pixels = np.empty(self._info.shape, np.int16)
        self._index = 0
        self._events.append(self._info)


def average(samples: NDArray[np.int16], offset: int, out: NDArray[np.int16]) -> None:
    """Average the samples of each pixel that are not below the offset, and subtract it; 0 where all are below.

    Parameters
    ----------
    samples : ndarray of int16, (Y, X, S, C)
        S samples of C PMTs in each pixel.
    offset : int
        Sample without light.
    out : ndarray of int16, (C, Y, X)
        Gets the averages, rounded.
    """
    lines = samples.shape[0]
    rows = max(1, _ROWS_SAMPLES * lines // samples.size)
    for first in range(0, lines, rows):
        part = samples[first : first + rows].transpose(2, 3, 0, 1).copy()
        lit = part >= offset
        part -= np.int16(offset)
        part *= lit
        total, count = part.sum(0, dtype=np.float32), lit.sum(0, dtype=np.float32)
        total /= np.maximum(count, 1, out=count)
        out[:, first : first + rows] = np.rint(total)


def _positive(text: str) -> float | None:
    """Return a number above zero, written with a point or a comma; None when it is none."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None


def main(arguments: list[str] | None = None, connect: Callable[[], PrairieLink] = ComLink) -> int:
    """Publish what PrairieView streams until Ctrl-C; return the exit status."""
    made = parser("Publishes the raw data that Bruker's PrairieView streams.")
    add_scan_options(made, mirrored=False)
    made.add_argument("--channels", type=int, default=1, metavar="N", help="PMTs in the stream (default %(default)s)")
    made.add_argument("--planes", type=int, default=1, metavar="N", help="planes scanned in turn (default %(default)s)")
    made.add_argument("--rate", type=float, metavar="HZ", help="frames per second (default: as PrairieView says)")
    made.add_argument("--offset", type=int, default=OFFSET, help="sample without light (default %(default)s)")
    made.add_argument(
        "--buffer-frames", type=int, default=50, metavar="N", help="frames that PrairieView keeps (default %(default)s)"
    )
    made.add_argument(
        "--dma-ms", type=int, default=0, metavar="MS", help="time that the digitizer collects (default %(default)s)"
    )
    made.add_argument("--idle", type=float, metavar="S", help="seconds without data that end a series")
    options = made.parse_args(arguments)
    return run(lambda: _source(options, connect), options)


def _source(options: argparse.Namespace, connect: Callable[[], PrairieLink]) -> BrukerSource:
    return BrukerSource(
        connect,
        scan=scan_of(options),
        channels=options.channels,
        planes=options.planes,
        rate_hz=options.rate,
        offset=options.offset,
        buffer_frames=options.buffer_frames,
        dma_ms=options.dma_ms,
        idle_s=options.idle,
    )


if __name__ == "__main__":
    sys.exit(main())
