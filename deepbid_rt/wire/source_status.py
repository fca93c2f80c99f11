"""State and counters of a received stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from deepbid_rt.frame import GapCause

SourceState = Literal["waiting", "live", "stalled", "lost", "ended"]
"""``waiting``: no series yet. ``live``: frames arrive. ``stalled``: messages but no frames. ``lost``: no messages.
``ended``: the last series has ended."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """State and counters at one moment. While frames arrive, the counters are read one after the other."""

    state: SourceState
    received: int
    """Valid frames received, including those that the ring dropped later."""
    lost: Mapping[GapCause, int]
    """Frames that did not reach the reader, by cause: ``source``, ``transport``, ``ring``."""
    bad: Mapping[str, int]
    """Refused messages, by kind of fault."""
    unannounced: int
    """Frames ignored because the start or beat of their series had not arrived."""
    unread: int
    """Frames waiting in the ring."""
    sender: Mapping[str, Any] = field(default_factory=dict)
    """Status of the sender's session from its last beat, see `BeatStatus`; empty when it gave none."""
