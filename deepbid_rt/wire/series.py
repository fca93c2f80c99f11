"""How far one received series has come, and which of its frames are missing.

Pure counting: knows nothing of messages, rings or clocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from deepbid_rt.frame import Gap, StreamInfo


@dataclass(slots=True)
class Series:
    """The running series of a sender.

    Messages are numbered (``seq``) and so are frames (``fn``). A message that is missing was lost on the wire; a
    frame that is missing although no message is was lost at the source.
    """

    role: str
    sid: str
    """Series id as sent; that of ``info`` differs when the sender began again under the same id."""
    hh: str
    info: StreamInfo
    next_seq: int
    next_fn: int | None
    """None before the first frame: any number may be the first."""
    missed: int = 0
    """Messages lost since the last frame; how many of them were frames shows with the next frame number."""
    fits: bool = True
    """False once a frame contradicted ``info``."""

    def goes_back(self, seq: int, fn: int) -> bool:
        """Tell whether a frame with these numbers stands before what already came: the sender has begun again."""
        return seq < self.next_seq or (self.next_fn is not None and fn < self.next_fn)

    def follow(self, seq: int) -> None:
        """Count a message that came, and those missing before it. One from the past changes nothing."""
        if seq >= self.next_seq:
            self.miss_before(seq)
            self.next_seq = seq + 1

    def miss_before(self, seq: int) -> None:
        """Count every message before number ``seq`` that did not come; a late beat's from the past changes nothing."""
        if seq > self.next_seq:
            self.missed += seq - self.next_seq
            self.next_seq = seq

    def gaps_before(self, fn: int) -> list[Gap]:
        """Return the frames missing before number ``fn``: as many as messages were missed are the wire's."""
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
