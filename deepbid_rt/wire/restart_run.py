"""Frames in a row whose numbers do not follow those of their series: a sender that has restarted, or stray frames."""

from __future__ import annotations

from dataclasses import dataclass, field

from deepbid_rt.wire.message import AnyMessage, FrameMessage, StreamKey
from deepbid_rt.wire.reorder_window import kept
from deepbid_rt.wire.source_status import FrameOutcome

RUN = 3
"""Frames in a row that show a restart."""
_STEP = 64
"""Largest step of the numbers from one frame of a row to the next."""


@dataclass(slots=True)
class RestartRun:
    """A row of frames with rising numbers, none of which follows those of its series.

    Frames that were sent after all others of the series may be the first of a new run of the sender, so they are held
    until it is certain. Others are copies or late, and only their number counts.
    """

    key: StreamKey
    seq: int = -1
    fn: int = -1
    length: int = 0
    all_newer: bool = True
    held: list[tuple[AnyMessage, FrameOutcome]] = field(default_factory=list)

    def continues(self, message: FrameMessage) -> bool:
        """Return True when the message goes on from the last one of the row."""
        steps = message.seq - self.seq, message.frame.index - self.fn
        return self.length == 0 or (message.key == self.key and all(1 <= step <= _STEP for step in steps))

    def holds(self, message: FrameMessage) -> bool:
        """Return True for a copy of a message that is held."""
        return message.key == self.key and any(
            (each.seq, each.sent_ns) == (message.seq, message.sent_ns) for each, _ in self.held
        )

    def add(self, message: FrameMessage, outcome: FrameOutcome, *, newer: bool) -> bool:
        """Add a message; returns True when it is held, with a copy of its pixels."""
        self.seq, self.fn = message.seq, message.frame.index
        self.length += 1
        self.all_newer = self.all_newer and newer
        if newer and self.length <= RUN:
            self.held.append((kept(message), outcome))
            return True
        return False
