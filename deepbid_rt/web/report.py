"""The figures of the page (``/status.json``) as plain data."""

from __future__ import annotations

from typing import Any

from deepbid_rt.frame import StreamInfo
from deepbid_rt.live.age_limit import FROZEN_MS, age_limit_ms
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.web.headline import headline, wrong_now
from deepbid_rt.web.latest_frames import MAX_PLANES, LatestFrames
from deepbid_rt.web.session_trace import SessionPoint
from deepbid_rt.wire.received_text import received_text

MAX_ALARM_TEXT = 2000
"""Characters of an alarm that are shown; longer than any sentence, and short of a flood."""
_FROM_SENDING = ("transport", "total")
"""Stages that begin when the frame was sent, on the sender's clock."""


def page_report(session: SessionReport, frames: LatestFrames, after: int = 0, plane: int = 0) -> dict[str, Any]:
    """Return everything that the page shows, except the picture.

    Parameters
    ----------
    session : SessionReport
        The session at this moment.
    frames : LatestFrames
        The frames that the page shows.
    after : int
        Serial of the last point that the browser has; later points are returned.
    plane : int
        The plane whose picture is described.
    """
    status = session.status
    info = frames.info
    points = frames.points(after)
    top = headline(session)
    return {
        "headline": {"text": top.text, "tone": top.tone},
        "alarms": [
            {"kind": alarm.kind, "text": received_text(alarm.text, MAX_ALARM_TEXT)} for alarm in wrong_now(session)
        ],
        "picture": _picture(session, frames, plane),
        "now_ms": round(frames.now_s() * 1e3, 1),
        "state": status.state.value,
        "source": session.source.state,
        "engine": session.engine,
        "runtime": session.runtime,
        "stream": None if info is None else _stream(info),
        "frames": {"in": status.frames_in, "out": status.frames_out, "waiting": status.waiting},
        "lost": session.lost,
        "refused": sum(session.refused.values()),
        "refused_by_cause": session.refused,
        "duplicates": session.source.duplicates,
        "bad_messages": session.bad_messages,
        "latency_ms": {stage: histogram.summary() for stage, histogram in known_latency(session).items()},
        "motion": status.motion.summary(),
        "line_phase_px": session.line_phase.px,
        "aligned_px": session.line_phase.aligned_px,
        "recordings": list(session.recordings),
        "peers": session.publisher.peers if session.publisher else None,
        "unprotected": "; ".join(session.unprotected),
        "points": [_point(point) for point in points],
        "serial": points[-1].serial if points else after,
    }


def known_latency(session: SessionReport) -> dict[str, LatencyHistogram]:
    """Return the durations of each stage; empty ones for those that cannot be known, as the clocks differ."""
    clocks_differ = any(alarm.kind == "clock" for alarm in session.alarms)
    return {
        stage: LatencyHistogram() if clocks_differ and stage in _FROM_SENDING else histogram
        for stage, histogram in session.status.latency.items()
    }


def _picture(session: SessionReport, frames: LatestFrames, plane: int) -> dict[str, Any] | None:
    """Return the number and the age of the newest picture of a plane, and the ages from which it is late and frozen."""
    pair = frames.pair(plane)
    if pair is None:
        return None
    info = pair.info
    limit_ms = age_limit_ms(session.max_latency_ms, info.rate_hz, info.planes, session.delay_frames)
    return {
        "frame": pair.denoised.index,
        "age_ms": round(frames.age_ms(pair), 1),
        "late_ms": round(limit_ms, 1),
        "frozen_ms": round(limit_ms + FROZEN_MS, 1),
        "not_denoised": pair.not_denoised,
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
