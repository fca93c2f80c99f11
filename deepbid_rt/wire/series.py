"""The progress of a received series: which message and frame number comes next, and which are missing."""

from __future__ import annotations

from dataclasses import dataclass, field

from deepbid_rt.frame import Frame, Gap, StreamInfo
from deepbid_rt.wire.message import StreamKey
from deepbid_rt.wire.number_ranges import NumberRanges
from deepbid_rt.wire.reorder_window import ReorderWindow
from deepbid_rt.wire.source_status import FrameOutcome


@dataclass(frozen=True, slots=True)
class Restart:
    """A sign that the sender has begun the same series anew: its counters went back. Frames must confirm it."""

    info: StreamInfo
    next_seq: int
    """Number of the first message that may belong to the new run."""
    next_fn: int | None
    sent_ns: int


@dataclass(slots=True)
class Series:
    """The running series of a sender, or one that has ended.

    Messages have numbers (``seq``), and so have frames (``fn``). A missing message was lost on the wire. A frame that
    is missing although no message is missing was lost at the source.
    """

    key: StreamKey
    """As sent. The identifier in `info` differs when the sender has restarted with the same one."""
    info: StreamInfo
    next_seq: int
    next_fn: int | None
    """Number of the next frame; None before the first frame, which may have any number."""
    begun_ns: int
    """Sending time of the message with which the series began."""
    frame_s: float
    """Monotonic time of the latest frame, or of the beginning."""
    window: ReorderWindow
    newest_ns: int = 0
    """Latest sending time of its messages. What was sent later and has lower numbers belongs to a new run."""
    missed: int = 0
    """Messages lost since the last frame. The next frame number shows how many of them were frames."""
    restart: Restart | None = None
    _first_fn: int | None = None
    _absent: NumberRanges = field(default_factory=NumberRanges)
    _lost: NumberRanges = field(default_factory=NumberRanges)

    def goes_on_with(self, seq: int, fn: int) -> bool:
        """Return True when these numbers come after all that were received."""
        return seq >= self.next_seq and (self.next_fn is None or fn >= self.next_fn)

    def follow(self, seq: int) -> None:
        """Count a received message and the missing ones before it. A late message changes nothing."""
        if seq >= self.next_seq:
            self.miss_before(seq)
            self.next_seq = seq + 1

    def miss_before(self, seq: int) -> None:
        """Count the messages before number `seq` that did not come. A late beat changes nothing."""
        if seq > self.next_seq:
            self.missed += seq - self.next_seq
            self._absent.add(self.next_seq, seq - self.next_seq)
            self.next_seq = seq

    def find(self, seq: int) -> bool:
        """Return True when the message had been counted as missing; it no longer is."""
        if not self._absent.discard(seq):
            return False
        self.missed = max(self.missed - 1, 0)
        return True

    def gaps_before(self, fn: int) -> list[Gap]:
        """Return the gaps before frame number `fn`. As many frames as messages are missing were lost on the wire."""
        first = max(fn - self.missed, 0) if self.next_fn is None else self.next_fn
        missing = max(fn - first, 0)
        on_the_wire = min(self.missed, missing)
        self.missed = 0
        self._pass(first, first + missing)
        self._lost.add(first, missing)
        gaps = (
            Gap(first, on_the_wire, "transport"),
            Gap(first + on_the_wire, missing - on_the_wire, "source"),
        )
        return [gap for gap in gaps if gap.count]

    def take(self, fn: int) -> None:
        """Count frame number `fn`, the next one, as received."""
        self._pass(fn, fn + 1)

    def leave_out(self, fn: int) -> Gap:
        """Return the gap in place of frame number `fn`, the next one, which arrived and cannot be used."""
        self._pass(fn, fn + 1)
        self._lost.add(fn, 1)
        return Gap(fn, 1, "source")

    def outcome_of(self, fn: int) -> FrameOutcome:
        """Return what a frame whose numbers do not follow is: one that was there before, or one that came too late."""
        if self.next_fn is None or self._first_fn is None or fn >= self.next_fn:
            return "implausible"
        if fn < max(self._first_fn, self._lost.known_from) or fn in self._lost:
            return "late"
        return "duplicate"

    def fits(self, frame: Frame) -> bool:
        """Return True when shape, type and plane of a frame are those of the description."""
        return fits(self.info, frame)

    def _pass(self, first: int, after: int) -> None:
        if self._first_fn is None:
            self._first_fn = first
        self.next_fn = after


def fits(info: StreamInfo, frame: Frame) -> bool:
    """Return True when shape, type and plane of a frame are those of a description."""
    return frame.pixels.shape == info.shape and frame.pixels.dtype == info.dtype and frame.plane < info.planes
