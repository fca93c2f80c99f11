"""Who is connected to a publisher, and what went wrong there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PublisherStatus:
    """A publisher at one moment."""

    peers: int = 0
    """Connections, whether or not they have said who they are."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Refused connections by cause, see `deepbid_rt.zmq_io.access_control.AccessControl`."""
    failures: int = 0
    """Beats and answers to clients that an error in this program prevented."""
    unprotected: str | None = None
    """What strangers can do, in one sentence; None when the stream is protected or stays on this computer."""
