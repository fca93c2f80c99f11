"""Decoded DBRT/1 messages: one class per kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from deepbid_rt.frame import Frame, StreamEnd, StreamInfo


class StreamKey(NamedTuple):
    """What all messages of one stream have in common, and no other stream has."""

    role: str
    source: str
    sid: str
    hh: str

    def same_sender(self, other: StreamKey) -> bool:
        """Return True when both streams bear the name of one sender."""
        return self[:2] == other[:2]


@dataclass(frozen=True, slots=True)
class Message:
    """The fields that all messages share."""

    role: str
    """``raw`` or ``den``."""
    source: str
    sid: str
    """Series identifier, as sent."""
    seq: int
    """Number of this message in its series. A beat repeats the last number."""
    sent_ns: int
    """Time of sending on the sender's clock, nanoseconds since the Unix epoch."""
    hh: str
    """Hash of the start body of the series."""

    @property
    def key(self) -> StreamKey:
        """Key of the stream that the message belongs to."""
        return StreamKey(self.role, self.source, self.sid, self.hh)


@dataclass(frozen=True, slots=True)
class StartMessage(Message):
    """A series begins."""

    info: StreamInfo


@dataclass(frozen=True, slots=True)
class FrameMessage(Message):
    """One frame. Its pixels are a read-only view of the received payload."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class EndMessage(Message):
    """A series has ended."""

    end: StreamEnd
    last_fn: int | None
    """Number of the last frame, whether it was sent or lost; None when there was none."""


@dataclass(frozen=True, slots=True)
class BeatMessage(Message):
    """A sign of life. It repeats the start body, so that late receivers can join."""

    info: StreamInfo
    last_seq: int
    """Number of the last message before this beat."""
    last_fn: int | None
    end: StreamEnd | None
    """Set when the series has ended and the sender is idle."""
    status: Mapping[str, Any] = field(default_factory=dict)
    """Status of the sender's session, see `BeatStatus`; empty when the sender gives none."""


@dataclass(frozen=True, slots=True)
class NoteMessage(Message):
    """A remark of the sender at this point of the series."""

    text: str


AnyMessage = StartMessage | FrameMessage | EndMessage | BeatMessage | NoteMessage
