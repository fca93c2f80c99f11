"""State and counters of a received stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from deepbid_rt.frame import GapCause

SourceState = Literal["waiting", "undescribed", "live", "stalled", "lost", "ended"]
"""``waiting``: no series yet. ``undescribed``: frames arrive, but no start or beat has described their series.
``live``: frames arrive. ``stalled``: messages but no frames. ``lost``: no messages. ``ended``: the last series has
ended."""

RefusalCause = Literal["undescribed", "mismatched", "late", "implausible", "other-sender", "internal"]
"""``undescribed``: no start or beat had described the frame's series. ``mismatched``: the frame contradicts the
description of its series. ``late``: the frame had already been counted as lost when it came. ``implausible``: its
number is so far from the others that it cannot be right. ``other-sender``: another sender's stream is running.
``internal``: an error in this program."""

FrameOutcome = Literal["duplicate", "late", "implausible"]
"""What becomes of a frame whose numbers do not follow those of its series."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """State and counters at one moment."""

    state: SourceState
    received: int
    """Valid frames received, including those that the ring dropped later."""
    lost: Mapping[GapCause, int]
    """Frames that did not reach the reader, by cause: ``source``, ``transport``, ``ring``. A frame that arrived and
    was refused is counted in `refused` alone, except for late ones, which had been counted as lost before they came."""
    bad: Mapping[str, int]
    """Refused messages, by kind of fault."""
    refused: Mapping[RefusalCause, int]
    """Frames that arrived and could not be used, by cause."""
    unread: int
    """Frames waiting in the ring."""
    sender: Mapping[str, Any] = field(default_factory=dict)
    """Status of the sender's session from its last beat, see `BeatStatus`; empty when it gave none."""
    duplicates: int = 0
    """Frames that arrived more than once; the further copies are dropped and are no loss."""
    arrived: int = 0
    """Messages that hold a valid frame, whatever became of them."""
    held: int = 0
    """Frames that arrived ahead of a missing one, or whose series is not certain yet; they wait for a moment."""
    unprotected: str | None = None
    """What strangers can do, in one sentence; None when the stream is protected or stays on this computer."""
    problem: str = ""
    """Why nothing comes or frames are refused, in one sentence; empty when all is well."""

    @property
    def unexplained(self) -> int:
        """Arrived frames of which nobody knows what became of them. It is always 0."""
        return self.arrived - self.received - self.duplicates - sum(self.refused.values()) - self.held
