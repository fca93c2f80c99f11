"""Publishes frames that another program sends over a TCP connection: LabVIEW, MATLAB, MScan, Bonsai, your own code.

    python bridge/tcp_frames.py --shape 512,512 --dtype ">u2" --rate 30
    python bridge/tcp_frames.py --connect 127.0.0.1:5601 --shape 2,512,512 --dtype "<i2" --order columns --rate 30

The acquisition program sends each frame as its length in bytes and then its pixels. ``--length`` says how the length is
written: ``8be`` (8 bytes, big-endian, the default), ``4be``, ``8le``, ``4le``, or ``none`` when nothing but pixels is
sent, as CLOOSE does. With ``--numbers`` the number of the frame follows the length in the same form. Then lost frames
are noticed; without it frames are counted.

Each connection is a series of its own. It ends when the other side closes the connection. A frame of which a part is
missing is never published. By default only programs on this computer can connect, and one at a time.
"""

from __future__ import annotations

import argparse
import logging
import math
import re
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import EndpointError, OptionError
from deepbid_rt.frame import DTYPES, Event, Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.relay import add_scan_options, parser, run, scan_of

log = logging.getLogger(__name__)

DEFAULT_LISTEN = "127.0.0.1:5600"
_LENGTH = re.compile(r"([1248])(be|le)|none")
_RETRY_S = 1.0
_READ_BYTES = 2**20
_RECEIVE_BUFFER_BYTES = 2**22
"""Asked of the system, so that a sender seldom waits while a frame is published."""
_MAX_JUMP = 1_000_000
"""Frames that a number may jump by; more is no loss but a damaged stream."""


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """How frames are written to a connection.

    Raises
    ------
    OptionError
        When the values make no sense together.
    """

    shape: tuple[int, int, int]
    """(C, Y, X) of a frame."""
    dtype: np.dtype[Any]
    """Type of the pixels as they are sent, such as ``>u2``."""
    length: str = "8be"
    """Form of the length in front of each frame: bytes (1, 2, 4, 8) and byte order, or ``none``."""
    numbers: bool = False
    """Whether the frame's number follows the length, in the same form; the length does not count it."""
    order: Literal["rows", "columns"] = "rows"
    """``rows``: X fastest, then Y, then C. ``columns``: Y fastest, then X, then C, as MATLAB stores a matrix (Y, X)."""

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise OptionError(
                f"--shape {','.join(map(str, self.shape))}",
                expected="channels, lines and pixels, each at least 1; or lines and pixels for one channel",
                todo="correct it, such as 2,512,512",
            )
        if not _LENGTH.fullmatch(self.length):
            raise OptionError(
                f"--length {self.length}",
                expected="1, 2, 4 or 8 bytes and their order (8be, 4le), or none",
                todo="use the form that the sender writes",
            )
        if self.numbers and self.length == "none":
            raise OptionError(
                "--numbers without a length in front of each frame",
                expected="a length, in whose form the number is written",
                todo="let the sender write lengths, or leave --numbers out",
            )
        if self.stored.str not in DTYPES:
            raise OptionError(
                f"--dtype {self.dtype.str}",
                expected="uint8, uint16, int16 or float32, with < or > for the byte order (>u2)",
                todo="let the sender convert its pixels",
            )
        if self.length != "none" and self.nbytes >= 2 ** (8 * self.width):
            raise OptionError(
                f"frames of {self.nbytes} bytes with --length {self.length}",
                expected="a length that fits its bytes",
                todo="use more bytes for the length",
            )

    @property
    def stored(self) -> np.dtype[Any]:
        """Type of the pixels as they are published."""
        return self.dtype.newbyteorder("<")

    @property
    def nbytes(self) -> int:
        """Bytes of a frame's pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def width(self) -> int:
        """Bytes of a length."""
        return 0 if self.length == "none" else int(self.length[0])

    @property
    def head_bytes(self) -> int:
        """Bytes in front of the pixels of a frame."""
        return self.width * (2 if self.numbers else 1)

    def integers(self, head: bytes) -> list[int]:
        """Return the length, and the number when there is one."""
        order: Literal["little", "big"] = "big" if self.length.endswith("be") else "little"
        return [int.from_bytes(head[at : at + self.width], order) for at in range(0, len(head), self.width or 1)]

    def pixels(self, raw: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the frame (C, Y, X), C-contiguous and little-endian; a view of `raw` where that is possible."""
        channels, lines, pixels = self.shape
        values = raw.view(self.dtype)
        if self.order == "columns":
            values = values.reshape(channels, pixels, lines).transpose(0, 2, 1)
        return np.ascontiguousarray(values.reshape(self.shape), self.stored)


@dataclass(frozen=True, slots=True)
class TcpSettings:
    """Where frames come from, and what a series is."""

    format: FrameFormat
    rate_hz: float
    """Frames per second over all planes."""
    listen: str = DEFAULT_LISTEN
    """``HOST:PORT`` on which the sender connects; port 0 takes a free one."""
    connect: str | None = None
    """``HOST:PORT`` of a sender that waits for a connection; instead of `listen`."""
    open_to_network: bool = False
    """Whether `listen` may be an address that other computers reach. Anybody there can then send frames."""
    planes: int = 1
    scan: ScanGeometry = field(default_factory=ScanGeometry)
    first: int = 0
    """Number of the first frame when frames are counted."""


class TcpSource:
    """A `FrameSource` that reads frames from one TCP connection after the other.

    Parameters
    ----------
    settings : TcpSettings
    say : callable
        Gets one sentence when it listens and when a sender connects.

    Raises
    ------
    OptionError
        When options contradict each other.
    StreamError
        When no stream carries such frames.
    """

    def __init__(self, settings: TcpSettings, *, say: Callable[[str], None] = lambda _: None) -> None:
        self._settings, self._format, self._say = settings, settings.format, say
        self._description()
        self._host, self._port = _address(settings.connect or settings.listen)
        if not settings.connect and not settings.open_to_network and not _is_loopback(self._host):
            raise EndpointError(
                f"--listen {settings.listen}, which other computers can reach: any of them could send frames",
                expected="an address of this computer alone, such as 127.0.0.1",
                todo="run this connector on the computer that sends, or add --open-to-network in a private network",
            )
        self._listener: socket.socket | None = None
        self._connection: socket.socket | None = None
        self._next_try_s = 0.0
        self._problem = ""
        self._events: deque[Event] = deque()
        self._head = bytearray(self._format.head_bytes)
        self._raw = np.empty(self._format.nbytes, np.uint8)
        self._have = 0
        self._expected: int | None = None
        self.address = ("", 0)
        """Host and port on which it listens, from `open` on."""

    def _description(self) -> StreamInfo:
        settings = self._settings
        return StreamInfo(
            settings.format.shape, settings.format.stored, settings.rate_hz, settings.scan, planes=settings.planes
        )

    def open(self) -> None:
        """Listen, or begin to connect. Raises `EndpointError` when the address cannot be used."""
        self.close()
        self._next_try_s, self._problem = 0.0, ""
        self._events.clear()
        if self._settings.connect:
            return
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if sys.platform != "win32":  # there it would let two programs use one port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            listener.bind((self._host, self._port))
            listener.listen(1)
        except OSError as error:
            listener.close()
            raise EndpointError(
                f"{self._host}:{self._port} cannot be listened on ({error.strerror or error})",
                expected="a free port of this computer",
                todo="choose another port with --listen, or end the program that uses it",
            ) from error
        self._listener = listener
        self.address = listener.getsockname()[:2]
        self._say(f"listening on {self.address[0]}:{self.address[1]}")

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event, or None when there was none within `timeout_s` seconds."""
        until_s = time.monotonic() + timeout_s
        while not self._events:
            left_s = until_s - time.monotonic()
            if self._connection is None:
                self._accept(max(left_s, 0.0))
            else:
                self._receive(self._connection, max(left_s, 0.0))
            if not self._events and left_s <= 0:
                return None
        return self._events.popleft()

    def close(self) -> None:
        """Close the connection; may be called twice."""
        for one in (self._connection, self._listener):
            if one is not None:
                one.close()
        self._connection = self._listener = None

    def _accept(self, timeout_s: float) -> None:
        """Wait for a connection, at most so long."""
        if self._settings.connect:
            self._connect(timeout_s)
            return
        if self._listener is None:
            time.sleep(timeout_s)
            return
        self._listener.settimeout(timeout_s)
        try:
            connection, peer = self._listener.accept()
        except (TimeoutError, BlockingIOError):
            return
        except OSError as error:
            self._say_once(f"a connection failed ({error.strerror or error})")
            return
        self._begin(connection, peer)

    def _connect(self, timeout_s: float) -> None:
        wait_s = self._next_try_s - time.monotonic()
        if wait_s > 0:
            time.sleep(min(wait_s, timeout_s))
            return
        try:
            connection = socket.create_connection((self._host, self._port), timeout=max(timeout_s, 0.05))
        except OSError as error:
            self._next_try_s = time.monotonic() + _RETRY_S
            self._say_once(f"{self._settings.connect} does not answer ({error.strerror or error}); it is tried again")
            return
        self._begin(connection, (self._host, self._port))

    def _say_once(self, text: str) -> None:
        if text != self._problem:
            self._problem = text
            log.warning("%s", text)

    def _begin(self, connection: socket.socket, peer: Any) -> None:
        # A computer that vanishes closes nothing: without this its series would never end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 2)):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._connection, self._problem = connection, ""
        self._have, self._expected = 0, None
        self._peer = f"{peer[0]}:{peer[1]}"
        self._begun = False
        self._say(f"{self._peer} is connected")

    def _receive(self, connection: socket.socket, timeout_s: float) -> None:
        """Read a part of a frame, and take the frame when it is whole."""
        head = self._format.head_bytes
        if self._have < head:
            part = memoryview(self._head)[self._have :]
        else:
            part = memoryview(self._raw.data)[self._have - head :][:_READ_BYTES]
        connection.settimeout(timeout_s)
        try:
            count = connection.recv_into(part)
        except (TimeoutError, BlockingIOError):
            return
        except OSError as error:
            self._end(f"the connection of {self._peer} failed ({error.strerror or error})", "error")
            return
        if count == 0:
            self._end("", "done")
            return
        self._have += count
        if head and self._have == head and (problem := self._check_head()):
            self._end(problem, "error")
        elif self._have == head + self._format.nbytes:
            self._take()

    def _check_head(self) -> str:
        """Return what is wrong with the bytes in front of a frame; empty when nothing is."""
        length, *number = self._format.integers(bytes(self._head))
        if length != self._format.nbytes:
            hint = ""
            swapped = int.from_bytes(length.to_bytes(self._format.width, "big"), "little")
            if swapped == self._format.nbytes:
                hint = "; it fits in the other byte order: see --length"
            elif self._format.numbers and length == self._format.nbytes + self._format.width:
                hint = "; the length must not count the frame number"
            elif length % self._format.nbytes == 0 and length:
                hint = f"; it is {length // self._format.nbytes} times as much: see --shape and --dtype"
            return f"{self._peer} announces a frame of {length} bytes, where {self._format.nbytes} are expected{hint}"
        if number and self._expected is not None and number[0] - self._expected > _MAX_JUMP:
            return f"{self._peer} sends frame {number[0]} after frame {self._expected - 1}: that is no loss but damage"
        if number and number[0] >= 2**63:
            return f"{self._peer} sends frame number {number[0]}, which is too large"
        return ""

    def _take(self) -> None:
        """Publish the frame that has come."""
        self._have = 0
        settings = self._settings
        numbers = self._format.integers(bytes(self._head))[1:] if self._format.numbers else []
        expected = self._expected
        number = numbers[0] if numbers else settings.first if expected is None else expected
        if expected is not None and number < expected:
            if number == expected - 1:
                log.warning("%s sends frame %d twice; the second one is left out", self._peer, number)
                return
            log.warning("%s begins to count its frames again with %d: a new series begins", self._peer, number)
            self._events.append(StreamEnd("done"))
            self._begun, expected = False, None
        if not self._begun:
            self._begun = True
            self._events.append(self._description())
        if expected is not None and number > expected:
            self._events.append(Gap(expected, number - expected, "source"))
        self._expected = number + 1
        pixels = self._format.pixels(self._raw)
        self._events.append(Frame(number, pixels, arrived_ns=time.time_ns(), plane=number % settings.planes))

    def _end(self, problem: str, reason: str) -> None:
        """End the series with its connection; a frame that is not whole counts as missing."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        if problem:
            log.warning("%s; the connection is closed", problem)
        torn = self._have > 0
        if torn and not problem:
            whole = self._format.head_bytes + self._format.nbytes
            log.warning("%s closed the connection after %d of %d bytes of a frame", self._peer, self._have, whole)
        if self._begun:
            if torn and self._expected is not None and not problem:
                self._events.append(Gap(self._expected, 1, "source"))
            self._events.append(StreamEnd("error" if torn else reason))
        self._have, self._begun = 0, False
        self._next_try_s = time.monotonic() + _RETRY_S


def _address(text: str) -> tuple[str, int]:
    """Take ``HOST:PORT`` or ``[HOST]:PORT`` apart. Raises `EndpointError`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise EndpointError(f"the address {text}", expected="HOST:PORT, such as 127.0.0.1:5600", todo="correct it")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def main() -> int:
    """Publish until Ctrl-C; return the exit status."""
    made = parser("Publishes frames that another program sends over a TCP connection.")
    where = made.add_mutually_exclusive_group()
    where.add_argument(
        "--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT", help="where the sender connects (default %(default)s)"
    )
    where.add_argument("--connect", metavar="HOST:PORT", help="address of a sender that waits for a connection")
    made.add_argument(
        "--open-to-network", action="store_true", help="listen on an address from which anybody can send frames"
    )
    made.add_argument("--shape", type=_shape, required=True, metavar="C,Y,X", help="of a frame; Y,X for one channel")
    made.add_argument("--dtype", default="<i2", help="type of the pixels, such as >u2 or <i2 (default %(default)s)")
    made.add_argument("--rate", type=float, required=True, metavar="HZ", help="frames per second over all planes")
    made.add_argument("--planes", type=int, default=1, metavar="N", help="planes that are scanned in turn")
    made.add_argument(
        "--length", default="8be", help="form of the length before each frame: 8be, 4be, 8le, 4le, none (default 8be)"
    )
    made.add_argument("--numbers", action="store_true", help="a frame number follows the length, in the same form")
    made.add_argument(
        "--order", choices=("rows", "columns"), default="rows", help="columns: as MATLAB stores a matrix of lines"
    )
    add_scan_options(made)
    options = made.parse_args()
    return run(lambda: _source(options), options)


def _source(options: argparse.Namespace) -> TcpSource:
    try:
        dtype = np.dtype(options.dtype)
    except TypeError as error:
        raise OptionError(f"--dtype {options.dtype}", expected="a pixel type such as >u2", todo="correct it") from error
    return TcpSource(
        TcpSettings(
            FrameFormat(options.shape, dtype, options.length, options.numbers, options.order),
            options.rate,
            options.listen,
            options.connect,
            options.open_to_network,
            options.planes,
            scan_of(options),
        ),
        say=_say,
    )


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _shape(text: str) -> tuple[int, ...]:
    sides = tuple(int(one) for one in re.split(r"[,x]", text))
    return (1, *sides) if len(sides) == 2 else sides


if __name__ == "__main__":
    sys.exit(main())
