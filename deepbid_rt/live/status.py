"""What a session is doing and when it ends: plain values, no threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.motion_stats import MotionStats


class SessionState(Enum):
    """What a pipeline is doing."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class SessionLimits:
    """When a session ends by itself."""

    frames: int | None = None
    """After this many frames; None for no limit."""
    idle_s: float | None = None
    """After this many seconds without a frame; None for no limit."""
    series: int | None = None
    """After this many series have ended; None for no limit."""


@dataclass(frozen=True)
class SessionStatus:
    """A snapshot of a session."""

    state: SessionState
    frames_in: int
    frames_out: int
    busy_s: float
    """From the first frame taken to the latest frame out, seconds."""
    engine_lost: int
    """Frames given up because the engine was too slow, or failed."""
    sink_lost: dict[str, int]
    """Frames each outlet could not take."""
    gaps: int
    """Frames announced missing by the source."""
    waiting: int
    """Frames waiting for the engine."""
    latency: dict[str, LatencyHistogram] = field(repr=False)
    """Durations by stage: transport, queue, engine, one per denoised outlet, and total."""
    motion: MotionStats = field(repr=False)
    """Of the answered frames; empty for engines that do not estimate motion."""
