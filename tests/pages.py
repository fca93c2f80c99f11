"""Frames and a session report for the tests of the page, which run no session."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepbid_rt.frame import Frame, Motion, ScanGeometry, StreamInfo
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.motion_stats import MotionStats
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.live.status import SessionState, SessionStatus
from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.wire.source_status import SourceStatus

RAW = StreamInfo((1, 8, 6), np.dtype("<i2"), 30.0, ScanGeometry("collinear"), series="raw-series")
DENOISED = StreamInfo(
    (1, 4, 6), np.dtype("<i2"), 30.0, series="den-series", parent="raw-series", user={"delay_frames": 0}
)


def raw(index: int, info: StreamInfo = RAW, **more: Any) -> Frame:
    return Frame(index, np.full(info.shape, index, info.dtype), plane=index % info.planes, **more)


def denoised(index: int, info: StreamInfo = DENOISED, **more: Any) -> Frame:
    more.setdefault("motion", Motion(1.5, -0.5, 9.0, "tracked"))
    return Frame(index, np.full(info.shape, -index, info.dtype), plane=index % info.planes, **more)


def latest_frames_of(count: int = 0, *, clock_ns: int = 10**18) -> LatestFrames:
    """The latest frames of a session after `count` frames."""
    frames = LatestFrames(clock_ns=lambda: clock_ns)
    frames.raw.start(RAW)
    frames.denoised.start(DENOISED)
    for index in range(count):
        frames.raw.put(raw(index))
        frames.denoised.put(denoised(index))
    return frames


def example_report(sink_lost: dict[str, int] | None = None, **more: Any) -> SessionReport:
    """A report of a running session; `more` are fields of `SessionReport`."""
    total = LatencyHistogram()
    for _ in range(10):
        total.add(20_000_000)
    motion = MotionStats()
    for status in ("restarted", "tracked", "held"):
        motion.add(Motion(1.5, -0.5, 9.0, status))
    latency = {"total": total, "queue": LatencyHistogram()}
    return SessionReport(
        **{
            "status": SessionStatus(SessionState.RUNNING, 12, 11, 1.0, 5, sink_lost or {}, 3, 1, latency, motion),
            "source": SourceStatus(
                "live", 12, {"source": 1, "transport": 2, "ring": 3}, {"crc": 4}, {"undescribed": 2}, 0
            ),
            "engine": "average",
            "runtime": "cpu",
            **more,
        }
    )
