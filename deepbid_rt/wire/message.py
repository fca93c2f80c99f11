"""What one DBRT/1 message says, once read. Plain data: knows nothing of bytes or sockets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deepbid_rt.frame import Frame, StreamEnd, StreamInfo


@dataclass(frozen=True, slots=True)
class Message:
    """What every message says."""

    role: str
    """``raw`` or ``den``."""
    source: str
    sid: str
    """Series id as sent."""
    seq: int
    """Number of this message in its series; beats are not counted."""
    sent_ns: int
    """Sender's clock, nanoseconds since the Unix epoch."""
    hh: str
    """Hash of the series' start body."""


@dataclass(frozen=True, slots=True)
class StartMessage(Message):
    """A series begins."""

    info: StreamInfo


@dataclass(frozen=True, slots=True)
class FrameMessage(Message):
    """One frame; its pixels are a read-only view of the payload that was decoded."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class EndMessage(Message):
    """A series is over."""

    end: StreamEnd
    last_fn: int | None
    """Number of the last frame that was sent or given up; None when there was none."""


@dataclass(frozen=True, slots=True)
class BeatMessage(Message):
    """A sign of life that repeats the start body for those who came late."""

    info: StreamInfo
    last_seq: int
    """Number of the last counted message."""
    last_fn: int | None
    end: StreamEnd | None
    """Set when the series is already over and the sender idle."""
    status: Mapping[str, Any] = field(default_factory=dict)
    """What the sender says of its session, see `SessionReport`; empty when it says nothing."""


@dataclass(frozen=True, slots=True)
class NoteMessage(Message):
    """Something the sender wants recorded at this point of the series."""

    text: str


AnyMessage = StartMessage | FrameMessage | EndMessage | BeatMessage | NoteMessage
