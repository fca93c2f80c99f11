"""Feeds mutated messages to the decoder, the receiver and its ring, and checks what must hold whatever arrives.

Valid messages of every kind, the golden ones among them, are changed at random: bits, bytes, lengths, values of the
header, parts, order, copies. After each message:

- `decode` has returned a message or raised `WireError`; `push` has raised nothing and met no internal error;
- every frame that arrived is received, a duplicate, refused with a cause, or held (`SourceStatus.unexplained` is 0);
- every frame that the reader gets was sent with this number, shape, type and pixels, as another implementation of
  msgpack reads them, fits the description of its series, and comes in order, with gaps for the numbers between.

At the end the memory of the process has grown by at most ``--memory`` MiB, with a ring of 4 MiB.

The same seed gives the same messages. With ``--guided`` the mutations follow the code that they reach, and
``--messages`` counts sequences of them; this needs the package `atheris`, which ends the process with its own summary.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import struct
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil

import deepbid_rt.wire.receiver as receiver_module
from deepbid_rt.errors import WireError
from deepbid_rt.frame import Frame, Gap, Motion, StreamEnd, StreamInfo
from deepbid_rt.wire.beat_status import BeatStatus
from deepbid_rt.wire.codec import Encoder, decode
from deepbid_rt.wire.message import AnyMessage, BeatMessage, FrameMessage
from deepbid_rt.wire.receive_ring import ReceiveRing
from deepbid_rt.wire.receiver import Receiver
from deepbid_rt.wire.series import fits

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
RING_BYTES = 4 * 2**20
MESSAGES_PER_SESSION = 2000
"""Messages after which a new receiver takes over, so that every state is reached again and again."""
SESSIONS = 64
"""Senders whose messages are prepared at the beginning, 200 of each."""
PACKER = msgspec.msgpack.Encoder()
UNPACKER = msgspec.msgpack.Decoder()
INTERESTING: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, -1, 7, 8, 255, 4095, 4096, 8192, 8193, 65_536, 2**31, 2**32 - 1, 2**62, 2**63 - 1),
    *(2**64 - 1, 0.0, -0.0, 1.5, float("nan"), float("inf"), 1e308, "", "x", "\x1b[2J", "raw", "den", "<i2", "<f4"),
    *("0" * 32, "é" * 40, [], {}, [1, 2, 3], [1, 8192, 8192], [[[[[[[[[1]]]]]]]]], {"a": {"b": {}}}, b"bin"),
)
Message = list[bytes]


class FindingError(AssertionError):
    """Something that must hold did not."""


def main() -> None:
    """Fuzz and print the counts as one JSON object; exit code 1 with a finding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=64, help="largest growth of the process, MiB")
    parser.add_argument("--guided", action="store_true", help="mutate guided by coverage (needs atheris)")
    options = parser.parse_args()
    logging.disable()  # the counters say what was refused
    if options.guided:
        guided(options.messages, options.seed)  # does not return
    fuzzer = Fuzzer(random.Random(options.seed))
    process = psutil.Process()
    began, first_rss, peak = time.monotonic(), 0, 0
    finding = None
    try:
        for number in range(options.messages):
            fuzzer.step()
            if number % 1000 == 0:
                rss = process.memory_info().rss
                first_rss = first_rss or rss
                peak = max(peak, rss - first_rss)
                Reader.require(peak <= options.memory * 2**20, "the process has grown, bytes", peak)
                if time.monotonic() - began > options.seconds:
                    break
        fuzzer.end_session()
    except Exception:  # anything else than a finding is one as well
        finding = traceback.format_exc()
        print(finding, "the last messages, as hex:", *map(shown, fuzzer.latest), sep="\n", file=sys.stderr)
    took_s = time.monotonic() - began
    done = fuzzer.pushed
    print(
        json.dumps(
            {
                "messages": done,
                "seed": options.seed,
                "seconds": round(took_s, 1),
                "messages_per_s": round(done / max(took_s, 1e-9)),
                "decoded": dict(fuzzer.decoded),
                "refused": dict(fuzzer.refused),
                "frames": dict(fuzzer.frames),
                "series_read": fuzzer.series_read,
                "unexplained": fuzzer.unexplained,
                "memory_growth_bytes": peak,
                "finding": finding,
            }
        )
    )
    if finding:
        sys.exit(1)


def shown(parts: Message) -> str:
    """Return a message as text, long parts cut."""
    return " | ".join(bytes(part[:400]).hex() for part in parts)


class Fuzzer:
    """Pushes one mutated message after another and checks the receiver and its reader."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.pushed = self.series_read = self.unexplained = 0
        self.decoded: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.frames: Counter[str] = Counter()
        self.latest: deque[Message] = deque(maxlen=8)
        self.golden = read_golden()
        self.sessions = [list(islice(a_session(rng), 200)) for _ in range(SESSIONS)]
        self.pool = self.golden + [message for session in self.sessions for message in session[:50]]
        receiver_module.decode = self.decode  # type: ignore[assignment, attr-defined]
        self.begin_session()

    def begin_session(self) -> None:
        """Begin with a new receiver and senders."""
        self.ring = ReceiveRing(self.rng.choice((1, 4, 64)), max_bytes=RING_BYTES)
        self.receiver = Receiver(self.ring, default_layout=self.rng.choice((None, "ordinary")))
        self.reader = Reader()
        self.stream = self.messages()
        self.delayed: list[Message] = []
        self.now_s = 1000.0
        self.left = MESSAGES_PER_SESSION

    def end_session(self) -> None:
        """Read everything, and add the counts of this receiver to the totals."""
        self.receiver.close(self.now_s)
        self.read(sys.maxsize)
        status = self.receiver.status(self.now_s)
        self.unexplained += abs(status.unexplained)
        if status.held or status.unread or status.unexplained:
            raise FindingError(f"frames are left over at the end: {status}")
        self.frames.update({"arrived": status.arrived, "received": status.received, "duplicate": status.duplicates})
        self.frames.update({f"refused {cause}": count for cause, count in status.refused.items()})
        self.frames.update({f"lost {cause}": count for cause, count in status.lost.items()})
        self.series_read += self.reader.series

    def step(self) -> None:
        """Push one message, which may be valid, and check everything."""
        if self.left == 0:
            self.end_session()
            self.begin_session()
        self.left -= 1
        rng = self.rng
        choice = rng.random()
        if choice < 0.4:
            parts = next(self.stream)
            if rng.random() < 0.1:
                self.delayed.append(parts)
                parts = next(self.stream)
        elif choice < 0.44 and self.delayed:
            parts = self.delayed.pop(rng.randrange(len(self.delayed)))
        elif choice < 0.7:
            parts = mutated(rng, next(self.stream), self.pool)
        else:
            parts = mutated(rng, rng.choice(self.pool), self.pool)
        self.push(parts)
        if rng.random() < 0.02:
            self.push(parts)
        if rng.random() < 0.05:
            self.now_s += rng.choice((0.001, 0.03, 0.06, 0.2, 3.5))
            self.receiver.tick(self.now_s)
        if rng.random() < 0.3:
            self.read(rng.randrange(1, 20))

    def messages(self) -> Iterator[Message]:
        """Yield the messages of one sender after another."""
        while True:
            yield from self.rng.choice(self.sessions)

    def push(self, parts: Message) -> None:
        """Give a message to the receiver, which decodes it."""
        self.latest.append(parts)
        self.pushed += 1
        self.receiver.push(parts, now_s=self.now_s, now_ns=1)
        self.now_s += 0.01
        if self.pushed % 8 == 0:
            status = self.receiver.status(self.now_s)
            self.unexplained += abs(status.unexplained)
            Reader.require(not status.unexplained and "internal" not in status.bad, "frames without an outcome", status)

    def decode(self, parts: Message, **options: Any) -> AnyMessage:
        """Decode for the receiver, and remember what came of it."""
        try:
            message = decode(parts, **options)
        except WireError as error:
            self.refused[error.kind] += 1
            raise
        self.decoded[type(message).__name__] += 1
        if isinstance(message, BeatMessage):
            BeatStatus.from_map(message.status)
        if isinstance(message, FrameMessage):
            self.reader.expect(parts)
        return message

    def read(self, most: int) -> None:
        """Read up to `most` events and check them."""
        for _ in range(most):
            event = self.ring.get(0)
            if event is None:
                return
            self.reader.check(event)


class Reader:
    """What the reader of a source may rely on."""

    def __init__(self) -> None:
        self.series = 0
        self.info: StreamInfo | None = None
        self.next: int | None = None
        self.sent: dict[bytes, list[tuple[int, list[int], str]]] = {}  # number, shape and type by payload

    def expect(self, parts: Message) -> None:
        """Remember a valid frame message, read with another implementation of msgpack."""
        header: Any = UNPACKER.decode(parts[1])
        if header["v"] != 1 or header["k"] != "frame" or parts[0].split(b"/")[2] != b"frame":
            raise FindingError(f"{header} was accepted as a frame")
        self.sent.setdefault(parts[2], []).append((header["fn"], header["shape"], header["dtype"]))

    def check(self, event: Any) -> None:
        """Check the next event."""
        match event:
            case StreamInfo():
                self.require(self.info is None, "a series begins within another", event)
                self.info, self.next = event, None
                self.series += 1
            case StreamEnd():
                self.require(self.info is not None, "an end outside a series", event)
                self.info = None
            case Gap():
                self.require(self.info is not None and event.count > 0, "a wrong gap", event)
                self.require(self.next in (None, event.first), f"the gap does not begin at {self.next}", event)
                self.next = event.first + event.count
            case Frame():
                info = self.info
                self.require(self.next in (None, event.index), f"the number is not {self.next}", event.index)
                self.next = event.index + 1
                self.require(info is not None and fits(info, event), "the frame does not fit its series", event)
                known = (event.index, list(event.pixels.shape), event.pixels.dtype.str)
                self.require(known in self.sent.get(event.pixels.tobytes(), ()), "nobody sent this frame", known)

    @staticmethod
    def require(holds: bool, text: str, event: Any) -> None:
        """Raise a finding unless something holds."""
        if not holds:
            raise FindingError(f"{text}: {event}")


def read_golden() -> list[Message]:
    """Return the golden messages, those included that must be refused."""
    messages = []
    for path in sorted(GOLDEN.glob("*.bin")):
        data, parts = path.read_bytes(), []
        while data:
            (count,) = struct.unpack("<I", data[:4])
            parts.append(data[4 : 4 + count])
            data = data[4 + count :]
        messages.append(parts)
    return messages


def a_session(rng: random.Random) -> Iterator[Message]:
    """Yield valid messages of one sender without end: series of all types with losses, notes, beats and ends."""
    clock = [1_750_000_000_000_000_000]

    def clock_ns() -> int:
        clock[0] += 10_000_000
        return clock[0]

    series = [f"{rng.getrandbits(128):032x}" for _ in range(3)]
    while True:
        shape = (rng.choice((1, 1, 2)), rng.choice((1, 2, 4)), rng.choice((1, 3, 8)))
        info = StreamInfo(
            shape,
            np.dtype(rng.choice(("|u1", "<u2", "<i2", "<f4"))),
            rng.choice((1.0, 30.0, 1000.0)),
            series=rng.choice(series),
            planes=rng.choice((1, 1, 3)),
            user={"animal": "M7", "values": [1, 2.5, None]},
        )
        encoder, fn = Encoder(info, rng.choice(("raw", "raw", "den")), clock_ns=clock_ns), rng.choice((0, 0, 1000))
        if rng.random() < 0.9:
            yield as_bytes(encoder.start())
        for _ in range(rng.randrange(60)):
            what = rng.random()
            pixels = np.frombuffer(rng.randbytes(info.frame_bytes), info.dtype).reshape(shape)
            motion = Motion(0.5, -1.0, 9.0, "tracked") if encoder.role == "den" else None
            frame = Frame(fn, pixels, plane=fn % info.planes, motion=motion)
            if what < 0.8:
                yield as_bytes(encoder.frame(frame))
                fn += 1
            elif what < 0.85:
                encoder.drop(frame)
                fn += 1
            elif what < 0.9:
                fn += rng.choice((1, 3, 500))
            elif what < 0.95:
                yield as_bytes(encoder.beat({"state": "running", "frames_in": fn, "lost": {"ring": 3}}))
            else:
                yield as_bytes(encoder.note("stimulus on"))
        if rng.random() < 0.7:
            yield as_bytes(encoder.end(StreamEnd("done")))
            yield as_bytes(encoder.beat())


def as_bytes(parts: list[Any]) -> Message:
    """Return the parts as bytes."""
    return [bytes(part) for part in parts]


def mutated(rng: random.Random, parts: Message, pool: list[Message]) -> Message:
    """Return a message changed in one to three ways."""
    parts = list(parts)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        parts = rng.choice(MUTATIONS)(rng, parts, pool)
    return parts


def change_value(rng: random.Random, parts: Message, pool: list[Message]) -> Message:
    """Set, remove or swap a value of the header."""
    try:
        header = UNPACKER.decode(parts[1])
    except (msgspec.DecodeError, IndexError):
        return parts
    if not isinstance(header, dict) or not header:
        return parts
    where = header
    key = rng.choice(list(where))
    if isinstance(where[key], dict) and where[key] and rng.random() < 0.5:
        where = where[key]
        key = rng.choice(list(where))
    value = where[key]
    choice = rng.random()
    if choice < 0.15:
        del where[key]
    elif choice < 0.5 and type(value) is int:
        where[key] = value + rng.choice((-100, -2, -1, 1, 2, 9, 1000, 200_000))
    elif choice < 0.6:
        where[rng.choice(("t_src", "crc", "motion", "plane", "flags", "user", "status", "planes"))] = rng.choice(
            INTERESTING
        )
    else:
        where[key] = rng.choice(INTERESTING)
    try:
        return [parts[0], PACKER.encode(header), *parts[2:]]
    except (OverflowError, ValueError):
        return parts


def change_bytes(rng: random.Random, parts: Message, pool: list[Message]) -> Message:
    """Flip bits, or overwrite, insert, repeat or cut bytes of one part."""
    if not parts:
        return parts
    at = rng.randrange(len(parts))
    data = bytearray(parts[at])
    where = rng.randrange(len(data) + 1)
    match rng.randrange(5):
        case 0 if where < len(data):
            data[where] ^= 1 << rng.randrange(8)
        case 1 if where < len(data):
            data[where] = rng.choice((0, 1, 0x7F, 0x80, 0xC1, 0xDD, 0xDF, 0xFF))
        case 2:
            data[where:where] = rng.randbytes(rng.randrange(1, 9))
        case 3:
            del data[where : where + rng.randrange(1, 9)]
        case _:
            data[where:where] = data[where : where + rng.randrange(1, 65)]
    return [*parts[:at], bytes(data), *parts[at + 1 :]]


def change_parts(rng: random.Random, parts: Message, pool: list[Message]) -> Message:
    """Take away, add, exchange or repeat parts."""
    other = rng.choice(pool)
    match rng.randrange(4):
        case 0:
            return parts[: rng.randrange(4)]
        case 1:
            return [*parts, *rng.choices(other, k=rng.randrange(1, 9))]
        case 2:
            at = rng.randrange(3)
            return [other[part] if part == at and part < len(other) else data for part, data in enumerate(parts)]
        case _:
            return [parts[0], *other[1:]] if parts else other


def change_nothing(rng: random.Random, parts: Message, pool: list[Message]) -> Message:
    """Keep the message: it is out of its order already."""
    return parts


MUTATIONS: tuple[Callable[[random.Random, Message, list[Message]], Message], ...] = (
    *(change_value, change_value, change_value, change_bytes, change_bytes, change_parts, change_nothing),
)


def guided(messages: int, seed: int) -> None:
    """Fuzz with atheris, which changes bytes so that they reach new code. Ends the process."""
    import atheris  # type: ignore[import-untyped]  # not part of any extra

    fuzzer = Fuzzer(random.Random(seed))

    def one(data: bytes) -> None:
        """Take the data as instructions: which messages, and which bytes of them to change."""
        provider = atheris.FuzzedDataProvider(data)
        fuzzer.begin_session()
        while provider.remaining_bytes():
            parts = list(fuzzer.pool[provider.ConsumeIntInRange(0, len(fuzzer.pool) - 1)])
            for _ in range(provider.ConsumeIntInRange(0, 3)):
                at = provider.ConsumeIntInRange(0, 2)
                if at < len(parts) and parts[at]:
                    where = provider.ConsumeIntInRange(0, len(parts[at]) - 1)
                    parts[at] = parts[at][:where] + provider.ConsumeBytes(8) + parts[at][where + 8 :]
            fuzzer.push(parts)
            fuzzer.read(20)
        fuzzer.end_session()

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-runs={messages}", f"-seed={seed + 1}", "-rss_limit_mb=1024"], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
