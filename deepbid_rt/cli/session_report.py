"""What a running session tells: its plan, counters and disk as a `SessionReport`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepbid_rt.frame import StreamInfo
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.live.status import SessionStatus


def report(
    status: SessionStatus,
    lost: Mapping[str, int],
    recorded: Sequence[StreamInfo],
    folder: Path | None,
    *,
    engine: str,
    runtime: str,
    delay_frames: int | None,
    raw_endpoint: str,
    line_phase_px: float | None,
    aligned_px: float,
) -> SessionReport:
    """Describe a session at this moment.

    Parameters
    ----------
    status : SessionStatus
        Of the pipeline.
    lost : mapping
        Lost frames by cause.
    recorded : sequence of StreamInfo
        The streams that are written now.
    folder : Path or None
        Where to; None when nothing is recorded.
    engine, runtime, delay_frames, raw_endpoint, line_phase_px, aligned_px
        As of `SessionReport`.
    """
    total = status.latency["total"]
    quantiles = {"p50": total.quantile_ms(0.5), "p95": total.quantile_ms(0.95)}
    return SessionReport(
        state=status.state.value,
        frames_in=status.frames_in,
        frames_out=status.frames_out,
        waiting=status.waiting,
        lost=lost,
        latency_ms={name: value for name, value in quantiles.items() if value is not None},
        engine=engine,
        runtime=runtime,
        delay_frames=delay_frames,
        recording=folder is not None,
        disk_free_bytes=free_bytes(folder) if folder else None,
        record_bytes_per_s=sum(info.frame_bytes * info.rate_hz for info in recorded) if folder else None,
        raw_endpoint=raw_endpoint,
        line_phase_px=line_phase_px,
        aligned_px=aligned_px,
    )


def free_bytes(folder: Path) -> float | None:
    """Return the room left where `folder` is; None when the disk does not say, which must not end a session."""
    try:
        return float(shutil.disk_usage(folder).free)
    except OSError:
        return None
