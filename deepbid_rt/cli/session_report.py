"""What a running session tells: its plan, counters and disk as a `SessionReport`, its line phase in its log."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepbid_rt.denoiser import Denoiser
from deepbid_rt.frame import StreamInfo
from deepbid_rt.phase_watch import PhaseWatch
from deepbid_rt.ports import Engine
from deepbid_rt.recording.sidecar import Sidecar
from deepbid_rt.session_report import SessionReport
from deepbid_rt.status import Status


def report(
    status: Status,
    lost: Mapping[str, int],
    engine: Engine,
    denoisers: Sequence[Denoiser],
    recorded: Sequence[StreamInfo],
    folder: Path | None,
    raw_endpoint: str,
    line_phase_px: float | None,
) -> SessionReport:
    """Describe a session at this moment.

    Parameters
    ----------
    status : Status
        Of the pipeline.
    lost : mapping
        Lost frames by cause.
    engine : Engine
        What denoises.
    denoisers : sequence of Denoiser
        The last is that of the present series; none before the first.
    recorded : sequence of StreamInfo
        The streams that are written now.
    folder : Path or None
        Where to; None when nothing is recorded.
    raw_endpoint : str
        Where the raw frames come from.
    line_phase_px : float or None
        Of the present series; None when it is not known.
    """
    last = next(iter(denoisers[-1:]), None)  # a thread of its own may empty the list
    total = status.latency["total"]
    quantiles = {"p50": total.quantile_ms(0.5), "p95": total.quantile_ms(0.95)}
    return SessionReport(
        state=status.state.value,
        frames_in=status.frames_in,
        frames_out=status.frames_out,
        waiting=status.waiting,
        lost=lost,
        latency_ms={name: value for name, value in quantiles.items() if value is not None},
        engine=engine.card.name,
        runtime=last.runtime if last else engine.description,
        delay_frames=last.delay if last else None,
        recording=folder is not None,
        disk_free_bytes=free_bytes(folder) if folder else None,
        record_bytes_per_s=sum(info.frame_bytes * info.rate_hz for info in recorded) if folder else None,
        raw_endpoint=raw_endpoint,
        line_phase_px=line_phase_px,
    )


def phase_watch(sidecar: Sidecar | None) -> PhaseWatch:
    """Make a watch on the line phase that notes in the session log, where there is one, what it finds."""

    def note(info: StreamInfo, px: float) -> None:
        if sidecar:
            sidecar.note("line_phase", series=sidecar.begin(info), px=px)

    return PhaseWatch(note)


def free_bytes(folder: Path) -> float | None:
    """Return the room left where `folder` is; None when the disk does not say, which must not end a session."""
    try:
        return float(shutil.disk_usage(folder).free)
    except OSError:
        return None
