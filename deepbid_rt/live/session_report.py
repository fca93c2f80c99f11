"""What a session says of itself once a second, for whoever watches: plain values, to and from a map.

Knows no socket, thread or display. The map travels as ``status`` in the beats of a denoised stream,
see bridge/PROTOCOL.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

CAUSES = ("source", "transport", "ring", "engine", "publisher", "recorder")
"""Where frames can be lost, in the order of their way."""
_NUMBERS = ("disk_free_bytes", "record_bytes_per_s", "line_phase_px", "aligned_px")
LARGE_PHASE_PX = 0.5
"""A line phase that is further from 0 is worth a warning."""


@dataclass(frozen=True, slots=True)
class SessionReport:
    """A session at one moment. None says that something is not known, or not measured."""

    state: str | None = None
    """Value of `deepbid_rt.live.status.SessionState`."""
    frames_in: int | None = None
    frames_out: int | None = None
    waiting: int | None = None
    """Frames waiting for the engine."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Frames lost, by the causes in `CAUSES`."""
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    """``p50`` and ``p95`` from the raw frame's sending to the published frame, over the whole session."""
    engine: str | None = None
    runtime: str | None = None
    """Runtime, device and precision of the engine."""
    delay_frames: int | None = None
    recording: bool | None = None
    disk_free_bytes: float | None = None
    record_bytes_per_s: float | None = None
    raw_endpoint: str | None = None
    """Where the session takes its raw frames from."""
    line_phase_px: float | None = None
    """Pixels by which backward lines of the raw stream lie further right than forward lines."""
    aligned_px: float | None = None
    """Pixels by which they are moved to the left before they are denoised."""

    @property
    def minutes_left(self) -> float | None:
        """Minutes until the disk of the recording is full; None when nothing is recorded or it is not known."""
        if not self.recording or self.disk_free_bytes is None or not self.record_bytes_per_s:
            return None
        return self.disk_free_bytes / self.record_bytes_per_s / 60

    def to_map(self) -> dict[str, Any]:
        """Return what is known, as plain values for the wire."""
        return {key: value for key, value in asdict(self).items() if value not in (None, {})}

    @classmethod
    def from_map(cls, values: Mapping[str, Any]) -> SessionReport:
        """Read a received map; what is absent, unknown or of another type counts as not known."""
        read: dict[str, Any] = {
            **{key: _kept(values.get(key), str) for key in ("state", "engine", "runtime", "raw_endpoint")},
            **{key: _count(values.get(key)) for key in ("frames_in", "frames_out", "waiting", "delay_frames")},
            **{key: _number(values.get(key)) for key in _NUMBERS},
            "recording": _kept(values.get("recording"), bool),
            "lost": _entries(values.get("lost"), _count),
            "latency_ms": _entries(values.get("latency_ms"), _number),
        }
        return cls(**read)


def _kept(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


def _entries(value: Any, read: Any) -> dict[str, Any]:
    entries = value.items() if isinstance(value, dict) else ()
    return {key: number for key, item in entries if (number := read(item)) is not None}
