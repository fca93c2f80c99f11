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

RefusalCause = Literal["undescribed", "mismatched", "late"]
"""``undescribed``: no start or beat had described the frame's series. ``mismatched``: the frame contradicts the
description of its series. ``late``: the series had already ended, and its end had counted the frame as lost."""


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
    refused: Mapping[RefusalCause, int]
    """Frames that arrived and could not be used, by cause."""
    unread: int
    """Frames waiting in the ring."""
    sender: Mapping[str, Any] = field(default_factory=dict)
    """Status of the sender's session from its last beat, see `BeatStatus`; empty when it gave none."""
