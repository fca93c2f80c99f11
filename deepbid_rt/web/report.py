"""What the page tells in figures, as plain data for JSON. Pure; knows no server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepbid_rt.frame import StreamInfo
from deepbid_rt.live.line_phase_monitor import NO_LINE_PHASE, LinePhaseReading
from deepbid_rt.live.status import SessionStatus
from deepbid_rt.web.latest_frames import MOST_PLANES, LatestFrames
from deepbid_rt.web.trace import Point
from deepbid_rt.wire.source_status import SourceStatus


@dataclass(frozen=True)
class Snapshot:
    """A session at one moment."""

    status: SessionStatus
    source: SourceStatus
    lost: Mapping[str, int]
    """Frames lost so far, by cause."""
    engine: str
    runtime: str
    """Runtime, device and precision of the engine."""
    line_phase: LinePhaseReading = NO_LINE_PHASE
    """How far backward lines lie further right than forward lines, and what is done about it."""
    recordings: Sequence[str] = ()
    """Files written so far."""


def report(snapshot: Snapshot, board: LatestFrames, after: int = 0) -> dict[str, Any]:
    """Return everything the page shows but the picture.

    Parameters
    ----------
    snapshot : Snapshot
    board : LatestFrames
    after : int
        Serial of the last point that the reader has; it gets those after it.
    """
    status = snapshot.status
    info = board.info
    points = board.points(after)
    return {
        "state": status.state.value,
        "source": snapshot.source.state,
        "engine": snapshot.engine,
        "runtime": snapshot.runtime,
        "stream": None if info is None else _stream(info),
        "frames": {"in": status.frames_in, "out": status.frames_out, "waiting": status.waiting},
        "lost": dict(snapshot.lost),
        "bad_messages": sum(snapshot.source.bad.values()),
        "latency_ms": {stage: histogram.summary() for stage, histogram in status.latency.items()},
        "motion": status.motion.summary(),
        "line_phase_px": snapshot.line_phase.px,
        "aligned_px": snapshot.line_phase.aligned_px,
        "recordings": list(snapshot.recordings),
        "points": [_point(point) for point in points],
        "serial": points[-1].serial if points else after,
    }


def _stream(info: StreamInfo) -> dict[str, Any]:
    return {
        "series": info.parent,
        "source": info.source,
        "shape": list(info.shape),
        "dtype": info.dtype.str,
        "rate_hz": info.rate_hz,
        "planes": min(info.planes, MOST_PLANES),
        "delay_frames": info.user.get("delay_frames"),
        "stabilized": bool(info.user.get("stabilized")),
    }


def _point(point: Point) -> list[Any]:
    """[t_s, latency_ms, dy, dx, verdict], the last three None without motion."""
    motion = point.motion
    latency = None if point.latency_ms is None else round(point.latency_ms, 2)
    where = [None] * 3 if motion is None else [round(motion.dy, 2), round(motion.dx, 2), motion.status]
    return [round(point.t_s, 3), latency, *where]
