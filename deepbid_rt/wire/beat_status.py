"""The `status` map of a beat: what the sender of a denoised stream says about its session.

`bridge/PROTOCOL.md` defines the keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from deepbid_rt.wire.alarm import Alarm, read_alarms
from deepbid_rt.wire.received_text import received_text

LOSS_CAUSES = ("source", "transport", "ring", "engine", "skipped", "publisher", "recorder")
"""Where a session can lose frames, from the microscope to the disk."""

_TEXTS = ("state", "engine", "runtime", "raw_endpoint", "unprotected")
_COUNTS = ("frames_in", "frames_out", "waiting", "delay_frames", "peers")
_NUMBERS = ("disk_free_bytes", "record_bytes_per_s", "line_phase_px", "aligned_px", "max_latency_ms")
_MAX_ENTRIES = 32
"""Entries that are read from a map of counts or numbers."""


@dataclass(frozen=True, slots=True)
class BeatStatus:
    """A session at one moment, as a beat carries it. None means that a value is unknown or was not measured."""

    state: str | None = None
    """Value of `deepbid_rt.live.status.SessionState`."""
    frames_in: int | None = None
    frames_out: int | None = None
    waiting: int | None = None
    """Frames waiting for the engine."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Lost frames by cause, see `LOSS_CAUSES`."""
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    """``p50`` and ``p95`` from the sending of the raw frame to the published frame, over the whole session."""
    engine: str | None = None
    runtime: str | None = None
    """Runtime, device and precision of the engine."""
    delay_frames: int | None = None
    recording: bool | None = None
    disk_free_bytes: float | None = None
    record_bytes_per_s: float | None = None
    raw_endpoint: str | None = None
    """Address from which the session receives its raw frames."""
    line_phase_px: float | None = None
    """Pixels by which backward lines of the raw stream are displaced to the right of forward lines."""
    aligned_px: float | None = None
    """Pixels by which backward lines are moved to the left before the frame is denoised."""
    alarms: Sequence[Alarm] = ()
    """What is wrong now."""
    max_latency_ms: float | None = None
    """Age at which the session skips frames, so that it shows the present; None when it skips none."""
    peers: int | None = None
    """Connections to the denoised stream, this receiver included."""
    unprotected: str | None = None
    """What strangers on the network can do; None when all streams are protected or stay on one computer."""

    @property
    def minutes_left(self) -> float | None:
        """Minutes until the disk of the recording is full; None without a recording or when it is unknown."""
        if not self.recording or self.disk_free_bytes is None or not self.record_bytes_per_s:
            return None
        return self.disk_free_bytes / self.record_bytes_per_s / 60

    def to_map(self) -> dict[str, Any]:
        """Return the known values as a map for the wire."""
        values = {**asdict(self), "alarms": [alarm.to_map() for alarm in self.alarms]}
        return {key: value for key, value in values.items() if value not in (None, {}, [])}

    @classmethod
    def from_map(cls, values: Mapping[str, Any]) -> BeatStatus:
        """Read a received map. A value that is absent or of a wrong type is unknown; other keys are ignored."""
        read: dict[str, Any] = {
            **{key: _text(values.get(key)) for key in _TEXTS},
            **{key: _count(values.get(key)) for key in _COUNTS},
            **{key: _number(values.get(key)) for key in _NUMBERS},
            "recording": _typed(values.get("recording"), bool),
            "lost": _entries(values.get("lost"), _count),
            "latency_ms": _entries(values.get("latency_ms"), _number),
            "alarms": read_alarms(values.get("alarms")),
        }
        return cls(**read)


def _text(value: Any) -> str | None:
    return received_text(value) if isinstance(value, str) else None


def _typed(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


def _entries(value: Any, read: Any) -> dict[str, Any]:
    entries = islice(value.items(), _MAX_ENTRIES) if isinstance(value, dict) else ()
    return {key: number for key, item in entries if (number := read(item)) is not None}
