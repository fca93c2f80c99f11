"""The progress of a received series: which message and frame number comes next, and which frames are missing."""

from __future__ import annotations

from dataclasses import dataclass

from deepbid_rt.frame import Gap, StreamInfo


@dataclass(slots=True)
class Series:
    """The running series of a sender.

    Messages have numbers (``seq``), and so have frames (``fn``). A missing message was lost on the wire. A frame that
    is missing although no message is missing was lost at the source.
    """

    role: str
    sid: str
    """Series identifier, as sent. That of `info` differs when the sender has restarted with the same identifier."""
    hh: str
    info: StreamInfo
    next_seq: int
    next_fn: int | None
    """Number of the next frame; None before the first frame, which may have any number."""
    missed: int = 0
    """Messages lost since the last frame. The next frame number shows how many of them were frames."""
    fits: bool = True
    """False once a frame has contradicted `info`."""

    def goes_back(self, seq: int, fn: int) -> bool:
        """Return True when these numbers come before those already received: the sender has restarted."""
        return seq < self.next_seq or (self.next_fn is not None and fn < self.next_fn)

    def follow(self, seq: int) -> None:
        """Count a received message and the missing ones before it. A late message changes nothing."""
        if seq >= self.next_seq:
            self.miss_before(seq)
            self.next_seq = seq + 1

    def miss_before(self, seq: int) -> None:
        """Count the messages before number `seq` that did not come. A late beat changes nothing."""
        if seq > self.next_seq:
            self.missed += seq - self.next_seq
            self.next_seq = seq

    def gaps_before(self, fn: int) -> list[Gap]:
        """Return the gaps before frame number `fn`. As many frames as messages are missing were lost on the wire."""
        first = max(fn - self.missed, 0) if self.next_fn is None else self.next_fn
        missing = max(fn - first, 0)
        on_the_wire = min(self.missed, missing)
        self.missed = 0
        self.next_fn = first + missing
        gaps = (
            Gap(first, on_the_wire, "transport"),
            Gap(first + on_the_wire, missing - on_the_wire, "source"),
        )
        return [gap for gap in gaps if gap.count]
