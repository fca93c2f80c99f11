"""How a received stream stands: plain values for whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from deepbid_rt.frame import GapCause

SourceState = Literal["waiting", "live", "stalled", "lost", "ended"]
"""``waiting``: no series yet; ``stalled``: signs of life but no frames; ``lost``: no signs of life."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A snapshot; each figure is exact, but while frames flow they are read one after the other."""

    state: SourceState
    received: int
    """Frames that came and fitted, including those the ring gave up later."""
    lost: Mapping[GapCause, int]
    """Frames that did not reach the reader: ``source``, ``transport``, ``ring``."""
    bad: Mapping[str, int]
    """Refused messages by kind of fault."""
    unannounced: int
    """Frames of a series whose start or beat had not come yet."""
    unread: int
    """Frames waiting in the ring."""
    sender: Mapping[str, Any] = field(default_factory=dict)
    """What the sender last said of its session in a beat; empty when it said nothing."""
