"""The DBRT/1 codec: encodes and decodes messages as `bridge/PROTOCOL.md` defines them.

`decode` validates everything: for any bytes it returns a message or raises `WireError`, never another exception.
"""

from __future__ import annotations

import math
import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, get_args

import numpy as np

from deepbid_rt.errors import StreamError, WireError
from deepbid_rt.frame import Frame, FrameFlag, Gap, Layout, Motion, MotionStatus, StreamEnd, StreamInfo
from deepbid_rt.wire.header import CHECK_SENDER, MAX_HEADER_BYTES, Header, digest, pack
from deepbid_rt.wire.message import AnyMessage, BeatMessage, EndMessage, FrameMessage, NoteMessage, StartMessage
from deepbid_rt.wire.quiet_log import QuietLog
from deepbid_rt.wire.received_text import received_text
from deepbid_rt.wire.start_body import SERIES, read_body, read_dtype, read_shape, write_body

log = QuietLog(__name__)

VERSION = 1
KINDS = ("start", "frame", "end", "beat", "note")
REASONS = ("done", "abort", "error", "timeout", "replaced")
Part = bytes | bytearray | memoryview

_TOPIC = re.compile(rb"([A-Za-z0-9_-]{1,64})/([A-Za-z0-9_-]{1,64})/([a-z]{1,16})/")


def decode(parts: Sequence[Part], *, default_layout: Layout | None = None, arrived_ns: int = 0) -> AnyMessage:
    """Decode one message. The pixels (C, Y, X) of a frame are a read-only view of ``parts[2]``, not a copy.

    Parameters
    ----------
    parts : sequence of buffers
        Topic, header and payload; further parts are ignored.
    default_layout : Layout or None
        Scan layout of streams whose start body does not state one; with None such a start is refused (error kind
        ``layout``).
    arrived_ns : int
        Time of arrival, for `Frame.arrived_ns`.

    Raises
    ------
    WireError
        When the bytes are not a DBRT/1 message.
    """
    if len(parts) < 3:
        raise WireError(
            "parts", f"a message of {len(parts)} parts", expected="topic, header, payload", todo=CHECK_SENDER
        )
    topic, packed, payload = (memoryview(part) for part in parts[:3])
    match = _TOPIC.fullmatch(topic)
    if match is None:
        came = f"the topic {bytes(topic[:80])!r}"
        raise WireError("topic", came, expected="<role>/<source>/<kind>/ in ASCII", todo=CHECK_SENDER)
    role, source, kind = (group.decode("ascii") for group in match.groups())
    header = Header.unpack(packed)
    if header.values.get("v") != VERSION or type(header.values["v"]) is not int:
        raise header.refusal("v", f"{VERSION}, the version this program speaks", kind="version")
    if kind not in KINDS or header.values.get("k") != kind:
        raise header.refusal("k", f"one of {', '.join(KINDS)}, as in the topic ({kind})", kind="kind")
    header.name = f"a {kind} message"
    sid, hh = header.text("sid"), header.text("hh")
    if not SERIES.fullmatch(sid):
        raise header.refusal("sid", "8 to 64 letters, digits and hyphens")
    if kind != "frame" and payload.nbytes:
        raise _byte_count(f"a payload of {payload.nbytes} bytes in a {kind} message", 0)
    common = (role, source, sid, header.integer("seq"), header.integer("ts"), hh)
    match kind:
        case "start":
            return StartMessage(*common, read_body(header, source, default_layout))
        case "frame":
            return FrameMessage(*common, _read_frame(header, payload, role, arrived_ns))
        case "end":
            return EndMessage(*common, _read_end(header), header.integer_or_none("last_fn"))
        case "beat":
            end = _read_end(header, "done") if header.choice("state", ("running", "idle")) == "idle" else None
            info = read_body(header, source, default_layout)
            last = header.integer("last_seq"), header.integer_or_none("last_fn")
            return BeatMessage(*common, info, *last, end, header.section("status").values)
        case _:
            return NoteMessage(*common, header.text("text", default=""))


def _read_frame(header: Header, payload: memoryview, role: str, arrived_ns: int) -> Frame:
    index, shape, dtype = header.integer("fn"), read_shape(header), read_dtype(header)
    if header.values.get("comp") is not None:
        raise header.refusal("comp", "nil: this version sends plain pixels", kind="comp")
    count = math.prod(shape) * dtype.itemsize
    if payload.nbytes != count:
        raise _byte_count(f"a payload of {payload.nbytes} bytes for frame {index}, {shape} {dtype.str}", count)
    crc = header.integer_or_none("crc", high=2**32 - 1)
    if crc is not None and crc != zlib.crc32(payload):
        raise header.refusal("crc", f"{zlib.crc32(payload)}, that of the payload", kind="crc")
    if header.values.get("t_rx") is not None:
        header.number("t_rx")
    sent_ns = header.integer("ts") if role == "raw" else 0
    pixels = np.frombuffer(payload, dtype).reshape(shape)
    pixels.flags.writeable = False
    return Frame(
        index=index,
        pixels=pixels,
        t_ns=header.integer("t_src", default=sent_ns),
        arrived_ns=arrived_ns,
        acquired_s=None if header.values.get("t_acq") is None else header.number("t_acq"),
        plane=header.integer("plane", high=4095, default=0),
        flags=FrameFlag(header.integer("flags", high=2**32 - 1, default=0)),
        motion=None if header.values.get("motion") is None else _read_motion(header.section("motion")),
        aligned_px=0.0 if header.values.get("aligned_px") is None else header.number("aligned_px"),
    )


def _read_motion(section: Header) -> Motion:
    dy, dx, confidence = (section.number(key) for key in ("dy", "dx", "confidence"))
    strips = section.numbers("bend_dy"), section.numbers("bend_dx")
    if len(strips[0]) != len(strips[1]):
        raise section.refusal("bend_dx", f"a list of {len(strips[0])} numbers, like bend_dy")
    status = cast("MotionStatus", section.choice("verdict", get_args(MotionStatus)))
    return Motion(dy, dx, confidence, status, *strips)


def _write_motion(motion: Motion) -> dict[str, Any]:
    shift = {"dy": motion.dy, "dx": motion.dx, "confidence": motion.confidence, "verdict": motion.status}
    return {**shift, "bend_dy": motion.strip_dy, "bend_dx": motion.strip_dx}


def _read_end(header: Header, default: str | None = None) -> StreamEnd:
    return StreamEnd(header.choice("reason", REASONS, default=default))


def _byte_count(came: str, count: int) -> WireError:
    return WireError("byte-count", came, expected=f"exactly {count} bytes", todo=CHECK_SENDER)


class Encoder:
    """Encodes one series and numbers its messages. Not thread-safe: callers must not overlap.

    Parameters
    ----------
    info : StreamInfo
        The series; every frame must match its shape and type.
    role : str
        First word of the topic: ``raw`` from a microscope, ``den`` for denoised frames.
    clock_ns : callable
        Returns nanoseconds since the Unix epoch.

    `start`, `end` and `note` raise `WireError` when `decode` would refuse their message: when a name does not fit a
    topic, or a fact is not of a plain type. Facts that are too large or nested too deep are left out, with a warning.
    """

    def __init__(self, info: StreamInfo, role: str = "raw", *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.info = info
        self.role = role
        self._clock_ns = clock_ns
        self._body, left_out = write_body(info)
        if left_out:
            names = ", ".join(received_text(name, 40) for name in left_out[:5])
            log.warning(
                "%d facts of series %s do not fit a message and are not sent: %s%s",
                len(left_out),
                info.series,
                names,
                " ..." if len(left_out) > 5 else "",
            )
        self._hh = digest(self._body)
        self._seq = 0
        self._frames = 0
        self._last_fn: int | None = None
        self._ended: StreamEnd | None = None
        self._lost_before = FrameFlag.NONE

    @property
    def ended(self) -> bool:
        """True once `end` was called."""
        return self._ended is not None

    def start(self) -> list[Part]:
        """Return the message that announces the series."""
        return self._pack_next("start", self._body)

    def frame(self, frame: Frame) -> list[Part]:
        """Return the message of a frame; its payload is a view of the pixels.

        Raises `StreamError` when shape or type differ from the series.
        """
        info, pixels = self.info, frame.pixels
        if pixels.shape != info.shape or pixels.dtype != info.dtype:
            raise StreamError(
                f"frame {frame.index} of shape {pixels.shape} and type {pixels.dtype.str}",
                expected=f"{info.shape} and {info.dtype.str} as announced for series {info.series}",
                todo="begin a new series when the frame changes",
            )
        fields: dict[str, Any] = {
            "fn": frame.index,
            "shape": info.shape,
            "dtype": info.dtype.str,
            "plane": frame.plane,
            "flags": int(frame.flags | self._lost_before),
            "t_acq": frame.acquired_s,
            "t_rx": frame.arrived_ns or None,
        }
        if self.role != "raw" and frame.t_ns:
            fields["t_src"] = frame.t_ns
        if frame.motion is not None:
            fields["motion"] = _write_motion(frame.motion)
        if frame.aligned_px:
            fields["aligned_px"] = frame.aligned_px
        self._count_frame(frame)
        return self._pack_next("frame", fields, np.ascontiguousarray(pixels).data.cast("B"))

    def drop(self, frame: Frame) -> None:
        """Count a frame that is not sent: receivers see a loss on the wire."""
        self._count_frame(frame)
        self._seq += 1

    def skip(self, gap: Gap) -> None:
        """Count frames that the source lost: receivers see a loss at the source."""
        self._last_fn = gap.first + gap.count - 1
        self._lost_before = FrameFlag.SOURCE_LOST_BEFORE

    def end(self, end: StreamEnd) -> list[Part]:
        """Return the message that ends the series."""
        parts = self._pack_next("end", {"reason": end.reason, "n_sent": self._frames, "last_fn": self._last_fn})
        self._ended = end
        return parts

    def beat(self, status: Mapping[str, Any] | None = None) -> list[Part]:
        """Return a beat: the start body again, and the status of the session. Beats have no number of their own."""
        last_seq = max(self._seq - 1, 0)
        fields = {**self._body, "last_seq": last_seq, "last_fn": self._last_fn, "state": "running"}
        if self._ended is not None:
            fields |= {"state": "idle", "reason": self._ended.reason}
        if not status:
            return self._pack("beat", fields, last_seq)
        parts = self._pack("beat", {**fields, "status": status}, last_seq)
        if len(parts[1]) > MAX_HEADER_BYTES:  # receivers would refuse it
            log.warning("a status of %d bytes does not fit a beat and is not sent", len(pack(status)))
            parts = self._pack("beat", fields, last_seq)
        return parts

    def note(self, text: str) -> list[Part]:
        """Return a message with a remark."""
        return self._pack_next("note", {"text": text})

    def _count_frame(self, frame: Frame) -> None:
        self._frames += 1
        self._last_fn = frame.index
        self._lost_before = FrameFlag.NONE

    def _pack_next(self, kind: str, fields: Mapping[str, Any], payload: Part = b"") -> list[Part]:
        parts = self._pack(kind, fields, self._seq, payload)
        if kind != "frame":
            decode(parts)  # a message that receivers would refuse must not be sent; `frame` has its own check
        self._seq += 1
        return parts

    def _pack(self, kind: str, fields: Mapping[str, Any], seq: int, payload: Part = b"") -> list[Part]:
        common = {"v": VERSION, "k": kind, "sid": self.info.series, "seq": seq, "ts": self._clock_ns(), "hh": self._hh}
        topic = f"{self.role}/{self.info.source}/{kind}/".encode("ascii", "replace")
        return [topic, pack({**fields, **common}), payload]
