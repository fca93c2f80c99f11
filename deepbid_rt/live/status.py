"""State, limits and counters of a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.motion_stats import MotionStats


class SessionState(Enum):
    """What a pipeline is doing."""

    WAITING = "waiting"
    RUNNING = "running"
    BEHIND = "behind"
    """Running, and frames are skipped or come out late."""
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class SessionLimits:
    """When a session ends by itself. None means: no limit."""

    frames: int | None = None
    """End after this many frames."""
    idle_s: float | None = None
    """End after the source has sent no frame for so many seconds. Pauses of the session itself do not count."""
    series: int | None = None
    """End after this many series have ended."""


@dataclass(frozen=True)
class SessionStatus:
    """The counters of a pipeline at one moment."""

    state: SessionState
    frames_in: int
    frames_out: int
    busy_s: float
    """Time from the first frame in to the latest frame out, seconds."""
    engine_lost: int
    """Frames dropped because the engine was too slow, or lost because it failed."""
    sink_lost: dict[str, int]
    """Frames that each sink did not take, by its name."""
    gaps: int
    """Frames that the source reported as missing."""
    waiting: int
    """Frames waiting for the engine."""
    latency: dict[str, LatencyHistogram] = field(repr=False)
    """Durations by stage: transport, queue, engine, one for each timed denoised sink, and total."""
    motion: MotionStats = field(repr=False)
    """Motion of the denoised frames; empty for engines that do not estimate motion."""
    skipped: int = 0
    """Frames left out so that live output shows the present."""
    inside: int = 0
    """Frames inside the denoiser."""
    refused: int = 0
    """Frames that the source delivered and that did not fit their series; they are not among `frames_in`."""

    after_stop: int = 0
    """Frames that were read and not used, because they arrived after the session was told to stop."""

    @property
    def unexplained(self) -> int:
        """Frames that are neither out, lost, skipped nor inside. Always 0 once a session has ended."""
        return self.frames_in - self.frames_out - self.engine_lost - self.skipped - self.waiting - self.inside
