"""The frames that ScanImage publishes itself, turned into DBRT/1 messages.

ScanImage Premium (2025.0 and later, resonant scanning with a vDAQ) publishes each frame over ZeroMQ in two parts
without a topic (https://docs.scanimage.org/Premium+Features/ZeroMQ.html): five little-endian float64 (pixels per line,
lines per frame, channels, time stamp in seconds, frame number), and int16 pixels with x fastest, then y, then channel.
It sends neither the begin nor the end of a series, nor the frame rate or the plane. They are found out or given here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import WireError
from deepbid_rt.frame import MAX_CHANNELS, MAX_SIDE, Frame, Layout, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.wire.codec import Encoder, Part
from deepbid_rt.wire.quiet_log import QuietLog

log = QuietLog(__name__)

HEADER = struct.Struct("<5d")
IDLE_S, IDLE_PERIODS = 2.0, 20
"""A series ends when nothing came for so many seconds, and so many frame periods."""
FIRST_IDLE_S = 10.0
"""The same for a series of one frame, whose rate is not known."""
DEFAULT_RATE_HZ = 30.0
"""Frame rate of a series whose time stamps do not tell it."""
RATES_HZ = (0.01, 10_000.0)
"""Frame rates that are believed."""
_CHECK = "check that the address is that of ScanImage's ZeroMQ publisher, and its version"


@dataclass(frozen=True, slots=True)
class _Message:
    """A message of ScanImage."""

    shape: tuple[int, int, int]  # (C, Y, X)
    time_s: float
    number: int
    pixels: NDArray[np.int16]  # (C, Y, X)
    arrived_ns: int

    @classmethod
    def read(cls, parts: Sequence[Part], arrived_ns: int) -> _Message:
        """Check the parts. The pixels are a view of the second one. Raises `WireError`."""
        if len(parts) != 2 or len(memoryview(parts[0]).cast("B")) != HEADER.size:
            sizes = [memoryview(part).nbytes for part in parts[:3]]
            raise WireError(
                "scanimage",
                f"a message of {len(parts)} parts of {sizes} bytes",
                expected=f"two parts: {HEADER.size} bytes of header, and pixels",
                todo=_CHECK,
            )
        pixels_per_line, lines, channels, time_s, number = HEADER.unpack(parts[0])
        limits = ((pixels_per_line, MAX_SIDE), (lines, MAX_SIDE), (channels, MAX_CHANNELS))
        whole = all(math.isfinite(side) and side == int(side) and 1 <= side <= most for side, most in limits)
        if not whole or not (math.isfinite(number) and number == int(number) and 0 <= number < 2**53):
            raise WireError(
                "scanimage",
                f"frame {number:g} of {channels:g} channels, {lines:g} lines and {pixels_per_line:g} pixels",
                expected=f"1..{MAX_CHANNELS} channels, 1..{MAX_SIDE} lines and pixels, and a whole frame number",
                todo=_CHECK,
            )
        shape = int(channels), int(lines), int(pixels_per_line)
        payload = memoryview(parts[1]).cast("B")
        if payload.nbytes != 2 * math.prod(shape):
            raise WireError(
                "byte-count",
                f"{payload.nbytes} bytes of pixels for a frame of (C, Y, X) = {shape}",
                expected=f"{2 * math.prod(shape)} bytes",
                todo=_CHECK,
            )
        time_s = time_s if abs(time_s) < 1e8 else math.nan  # three years; False for NaN
        return cls(shape, time_s, int(number), np.frombuffer(payload, "<i2").reshape(shape), arrived_ns)

    def kept(self) -> _Message:
        """Return the same message with pixels of its own."""
        return _Message(self.shape, self.time_s, self.number, self.pixels.copy(), self.arrived_ns)


class ScanImageDialect:
    """Translates ScanImage's messages into those of DBRT/1. For one thread; it has no clock and no socket.

    A series begins with the first message, with another shape, with a frame number that falls, and after a pause. Its
    first frame is held until the second one comes, since only their time stamps tell the frame rate.

    Parameters
    ----------
    layout : Layout
        Scan layout, which ScanImage does not send.
    planes, flyback : int
        Planes that are scanned in turn, and frames behind them that are left out, as in the stack's definition.
        Frame number 1 is plane 0.
    source : str
        Name of the source.
    """

    def __init__(
        self, *, layout: Layout = "ordinary", planes: int = 1, flyback: int = 0, source: str = "scanimage"
    ) -> None:
        self._layout, self._planes, self._flyback, self._source = layout, planes, flyback, source
        self._encoder: Encoder | None = None
        self._first: _Message | None = None  # the held first frame of a series that has not been announced
        self._last: _Message | None = None  # its pixels must not be used: they are the receiver's
        self._last_s = 0.0
        self._epoch_ns = 0  # of time stamp 0, on the clock of this computer
        self._now_ns = 0

    def translate(self, parts: Sequence[Part], *, now_s: float, now_ns: int) -> list[list[Part]]:
        """Return the DBRT/1 messages that a message stands for; they may refer to its bytes.

        Parameters
        ----------
        parts : sequence of buffers
            The received parts.
        now_s : float
            Monotonic time, seconds.
        now_ns : int
            Nanoseconds since the Unix epoch.

        Raises
        ------
        WireError
            When it is not a message of ScanImage.
        """
        message = _Message.read(parts, now_ns)
        self._now_ns = now_ns
        out = self.tick(now_s)
        before = self._last
        if before is not None and (message.shape != before.shape or message.number < before.number):
            out += self._end("replaced")
        self._last, self._last_s = message, now_s
        if self._encoder is None and self._first is None:
            self._first = message.kept()
            return out
        if self._encoder is None and self._first is not None:
            out += self._begin(self._first, message)
        return out + self._frame(message)

    def tick(self, now_s: float) -> list[list[Part]]:
        """Return the end of a series after which nothing has come for some time; to be called now and then."""
        if self._last is None:
            return []
        # The rate of the series leaves the fly-back frames out, so this is no shorter than that of all frames.
        idle_s = max(IDLE_S, IDLE_PERIODS / self._encoder.info.rate_hz) if self._encoder else FIRST_IDLE_S
        if now_s - self._last_s < idle_s:
            return []
        return self._end("timeout")

    def _begin(self, first: _Message, second: _Message | None) -> list[list[Part]]:
        """Announce the series and send its first frame."""
        rate_hz = _rate_hz(first, second)
        if rate_hz is None:
            log.warning("the time stamps of ScanImage do not give the frame rate; %g Hz is assumed", DEFAULT_RATE_HZ)
        used = self._planes / (self._planes + self._flyback)
        info = StreamInfo(
            shape=first.shape,
            dtype=np.dtype("<i2"),
            rate_hz=(rate_hz or DEFAULT_RATE_HZ) * used,
            scan=ScanGeometry(self._layout),
            source=self._source,
            planes=self._planes,
        )
        self._first = None
        self._epoch_ns = first.arrived_ns - round(first.time_s * 1e9) if rate_hz else 0
        self._encoder = Encoder(info, "raw", clock_ns=lambda: self._now_ns)
        self._now_ns = first.arrived_ns
        return [self._encoder.start(), *self._frame(first)]

    def _frame(self, message: _Message) -> list[list[Part]]:
        encoder = self._encoder
        if encoder is None:
            return []
        volume, place = divmod(max(message.number - 1, 0), self._planes + self._flyback)
        if place >= self._planes:
            return []
        # The time of the microscope, counted from the arrival of the first frame: its clock has another zero.
        timed = self._epoch_ns and math.isfinite(message.time_s)
        self._now_ns = self._epoch_ns + round(message.time_s * 1e9) if timed else message.arrived_ns
        index = message.number if self._planes + self._flyback == 1 else volume * self._planes + place
        return [encoder.frame(Frame(index, message.pixels, arrived_ns=message.arrived_ns, plane=place))]

    def _end(self, reason: str) -> list[list[Part]]:
        """End the series, if one runs; a held first frame is its only one."""
        out = self._begin(self._first, None) if self._first is not None else []
        if self._encoder is not None:
            out.append(self._encoder.end(StreamEnd(reason)))
        self._encoder = self._last = None
        return out


def _rate_hz(first: _Message, second: _Message | None) -> float | None:
    """Return the rate that two time stamps tell; None when they tell none."""
    if second is None or second.number <= first.number:
        return None
    apart_s = (second.time_s - first.time_s) / (second.number - first.number)
    rate_hz = 1 / apart_s if math.isfinite(apart_s) and apart_s > 0 else 0.0
    return rate_hz if RATES_HZ[0] <= rate_hz <= RATES_HZ[1] else None
