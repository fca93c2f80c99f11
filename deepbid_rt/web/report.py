"""The figures of the page (``/status.json``) as plain data."""

from __future__ import annotations

from typing import Any

from deepbid_rt.frame import StreamInfo
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.web.latest_frames import MAX_PLANES, LatestFrames
from deepbid_rt.web.session_trace import SessionPoint


def page_report(session: SessionReport, frames: LatestFrames, after: int = 0) -> dict[str, Any]:
    """Return everything that the page shows, except the picture.

    Parameters
    ----------
    session : SessionReport
        The session at this moment.
    frames : LatestFrames
        The frames that the page shows.
    after : int
        Serial of the last point that the browser has; later points are returned.
    """
    status = session.status
    info = frames.info
    points = frames.points(after)
    return {
        "state": status.state.value,
        "source": session.source.state,
        "engine": session.engine,
        "runtime": session.runtime,
        "stream": None if info is None else _stream(info),
        "frames": {"in": status.frames_in, "out": status.frames_out, "waiting": status.waiting},
        "lost": session.lost,
        "refused": sum(session.refused.values()),
        "bad_messages": session.bad_messages,
        "latency_ms": {stage: histogram.summary() for stage, histogram in status.latency.items()},
        "motion": status.motion.summary(),
        "line_phase_px": session.line_phase.px,
        "aligned_px": session.line_phase.aligned_px,
        "recordings": list(session.recordings),
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
        "planes": min(info.planes, MAX_PLANES),
        "delay_frames": info.user.get("delay_frames"),
        "stabilized": bool(info.user.get("stabilized")),
    }


def _point(point: SessionPoint) -> list[Any]:
    """Return [t_s, latency_ms, dy, dx, motion status]; the last three are None without motion."""
    motion = point.motion
    latency = None if point.latency_ms is None else round(point.latency_ms, 2)
    where = [None] * 3 if motion is None else [round(motion.dy, 2), round(motion.dx, 2), motion.status]
    return [round(point.t_s, 3), latency, *where]
