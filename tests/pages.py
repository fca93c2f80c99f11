"""A session for the page to show, without a session."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepbid_rt.frame import Frame, Motion, ScanGeometry, StreamInfo
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.motion_stats import MotionStats
from deepbid_rt.live.status import SessionState, SessionStatus
from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.web.report import Snapshot
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


def board_of(count: int = 0, *, clock_ns: int = 10**18) -> LatestFrames:
    """A board that has seen `count` frames."""
    board = LatestFrames(clock_ns=lambda: clock_ns)
    board.raw.start(RAW)
    board.denoised.start(DENOISED)
    for index in range(count):
        board.raw.put(raw(index))
        board.denoised.put(denoised(index))
    return board


def snapshot(**more: Any) -> Snapshot:
    total = LatencyHistogram()
    for _ in range(10):
        total.add(20_000_000)
    motion = MotionStats()
    for verdict in ("restarted", "tracked", "held"):
        motion.add(Motion(1.5, -0.5, 9.0, verdict))
    source = SourceStatus("live", 12, {"source": 1, "transport": 2, "ring": 3}, {"crc": 4}, 0, 0)
    status = SessionStatus(
        SessionState.RUNNING, 12, 11, 1.0, 5, {}, 3, 1, {"total": total, "queue": LatencyHistogram()}, motion
    )
    lost = {"source": 1, "transport": 2, "ring": 3, "engine": 5, "recorder": 0}
    return Snapshot(**{"status": status, "source": source, "lost": lost, "engine": "average", "runtime": "cpu", **more})
