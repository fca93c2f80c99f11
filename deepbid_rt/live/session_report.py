"""The report of a session at one moment.

Beats, the page, Prometheus, the session log, the tables and the JSON of the command line all show this one object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepbid_rt.live.line_phase_monitor import NO_LINE_PHASE, LinePhaseReading
from deepbid_rt.live.picture_watch import NO_PICTURE, PictureReading
from deepbid_rt.live.status import SessionStatus
from deepbid_rt.wire.alarm import Alarm
from deepbid_rt.wire.beat_status import BeatStatus
from deepbid_rt.wire.publisher_status import PublisherStatus
from deepbid_rt.wire.source_status import SourceStatus

PUBLISHER = "publisher"
DENOISED_RECORDER = "the denoised recorder"
RAW_RECORDER = "the raw recorder"
"""Names of the sinks whose lost frames are reported. Other sinks, such as the page, may skip frames unnoticed."""


@dataclass(frozen=True)
class SessionReport:
    """A session at one moment."""

    status: SessionStatus
    """Counters of the pipeline."""
    source: SourceStatus
    """Counters of the source."""
    engine: str
    """Name of the engine."""
    runtime: str
    """Runtime, device and precision of the engine."""
    sha256: str | None = None
    """Digest of the engine's file; None when it has none."""
    delay_frames: int | None = None
    """Frames that follow a frame before it comes out; None before the first series."""
    raw_endpoint: str | None = None
    """Address of the raw stream; None for a source without one."""
    line_phase: LinePhaseReading = NO_LINE_PHASE
    recordings: Sequence[str] = ()
    """Files written so far."""
    folder: Path | None = None
    """Folder of the recordings; None when nothing is recorded."""
    disk_free_bytes: float | None = None
    """Free bytes on the disk of the recordings; None without recordings, or when the disk does not answer."""
    record_bytes_per_s: float | None = None
    """Bytes of pixels written per second; None when nothing is recorded."""
    alarms: Sequence[Alarm] = ()
    """What is wrong now."""
    picture: PictureReading = NO_PICTURE
    """What is odd about the raw pixels."""
    clock_problem: str | None = None
    """Why the sender's clock is not used for latencies, which then begin at the arrival of frames; None while it is."""
    max_latency_ms: float | None = None
    """Age at which frames are skipped, so that live output shows the present; None when none is skipped."""
    publisher: PublisherStatus | None = None
    """Who is connected to the denoised stream; None when it is not published."""

    @property
    def lost(self) -> dict[str, int]:
        """Frames that were not denoised or not recorded, by cause."""
        recorders = (DENOISED_RECORDER, RAW_RECORDER)
        return {
            **{str(cause): count for cause, count in self.source.lost.items()},
            "engine": self.status.engine_lost,
            "skipped": self.status.skipped,
            "recorder": sum(self.status.sink_lost.get(name, 0) for name in recorders),
        }

    @property
    def lost_anywhere(self) -> dict[str, int]:
        """The same and the frames that were not published."""
        return {**self.lost, "publisher": self.status.sink_lost.get(PUBLISHER, 0)}

    @property
    def refused(self) -> dict[str, int]:
        """Frames that arrived and could not be used, by cause."""
        at_the_source = {str(cause): count for cause, count in self.source.refused.items()}
        if self.status.refused:
            at_the_source["mismatched"] = at_the_source.get("mismatched", 0) + self.status.refused
        return at_the_source

    @property
    def unexplained(self) -> int:
        """Frames that arrived and are neither out, lost, skipped, refused, nor inside. 0 once a session has ended."""
        status, source = self.status, self.source
        read = status.frames_in + status.refused + status.after_stop
        between = source.received - source.lost.get("ring", 0) - source.unread - read
        return source.unexplained + between + status.unexplained

    @property
    def balance(self) -> str:
        """The account of the session in one line: what arrived, and what became of it."""
        status = self.status
        inside = self.source.unread + self.source.held + status.after_stop + status.waiting + status.inside
        arrived = self.source.arrived
        parts = {
            "out": status.frames_out,
            "lost here": self.source.lost.get("ring", 0) + status.engine_lost,
            "skipped": status.skipped,
            "refused": sum(self.refused.values()),
            "duplicates": self.source.duplicates,
            "inside": inside,
        }
        if self.unexplained:
            parts["UNEXPLAINED"] = self.unexplained
        known = (f"{count} {name}" for name, count in parts.items() if count or name == "out")
        return f"{arrived} arrived = {' + '.join(known)}"

    @property
    def unprotected(self) -> list[str]:
        """What strangers can do, one sentence for each stream that is not protected."""
        ends = (self.source.unprotected, self.publisher.unprotected if self.publisher else None)
        return [end for end in ends if end]

    @property
    def bad_messages(self) -> int:
        """Refused messages of all kinds."""
        return sum(self.source.bad.values())

    def beat_status(self) -> BeatStatus:
        """Return what a beat says about the session."""
        total = self.status.latency["total"]
        quantiles = {"p50": total.quantile_ms(0.5), "p95": total.quantile_ms(0.95)}
        return BeatStatus(
            state=self.status.state.value,
            frames_in=self.status.frames_in,
            frames_out=self.status.frames_out,
            waiting=self.status.waiting,
            lost=self.lost_anywhere,
            latency_ms={name: value for name, value in quantiles.items() if value is not None},
            engine=self.engine,
            runtime=self.runtime,
            delay_frames=self.delay_frames,
            recording=self.folder is not None,
            disk_free_bytes=self.disk_free_bytes,
            record_bytes_per_s=self.record_bytes_per_s,
            raw_endpoint=self.raw_endpoint,
            line_phase_px=self.line_phase.px,
            aligned_px=self.line_phase.aligned_px,
            alarms=self.alarms,
            max_latency_ms=self.max_latency_ms,
            peers=self.publisher.peers if self.publisher else None,
            unprotected="; ".join(self.unprotected) or None,
        )

    def summary(self) -> dict[str, Any]:
        """Return the figures that ``serve --json`` prints and that end the session log."""
        return {
            "frames_in": self.status.frames_in,
            "frames_out": self.status.frames_out,
            "inside": self.status.waiting + self.status.inside,
            "duplicates": self.source.duplicates,
            "unexplained": self.unexplained,
            "lost": self.lost,
            "refused": self.refused,
            "alarms": [alarm.to_map() for alarm in self.alarms],
            "latency_ms": self.status.latency["total"].summary(),
            "clock_problem": self.clock_problem,
            "picture": self.picture.summary(),
            "motion": self.status.motion.summary(),
            "recordings": list(self.recordings),
            "engine": self.engine,
            "sha256": self.sha256,
            "unprotected": self.unprotected,
            "line_phase_px": self.line_phase.px,
            "aligned_px": self.line_phase.aligned_px,
        }
