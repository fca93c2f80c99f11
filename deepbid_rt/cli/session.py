"""One live session: source, engine, outputs and log joined, run, watched and summed up. `serve` and `demo` use it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from deepbid_rt.cli.output import live_line, number
from deepbid_rt.cli.series_denoisers import SeriesDenoisers
from deepbid_rt.cli.session_log import SessionLog
from deepbid_rt.cli.session_report import report
from deepbid_rt.denoising.denoiser import Denoiser, GapPolicy, check_stabilizes
from deepbid_rt.errors import DeepbidError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.live.event_queue import Overflow
from deepbid_rt.live.line_phase_monitor import LinePhaseMonitor
from deepbid_rt.live.motion_stats import MotionStats
from deepbid_rt.live.pipeline import Pipeline
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits, SessionStatus
from deepbid_rt.ports import Engine
from deepbid_rt.recording.recorder import Recorder
from deepbid_rt.scan.directions import Merge
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy
from deepbid_rt.zmq_io import ZmqSink, ZmqSource

if TYPE_CHECKING:
    from deepbid_rt.web import Server
    from deepbid_rt.web.report import Snapshot

RECORDERS = ("the denoised recorder", "the raw recorder")


@dataclass(frozen=True)
class SessionPlan:
    """What a session is to do."""

    source: ZmqSource
    engine: Engine
    sha256: str | None
    """Of the engine's file; None when it has none."""
    publish: ZmqSink | None = None
    page: Server | None = None
    """Shown to browsers while the session runs."""
    record: Path | None = None
    record_raw: bool = False
    roll_frames: int = 0
    merge: Merge = "mean"
    gap: GapPolicy = "auto"
    stabilize: bool = False
    line_phase: LinePhasePolicy = "auto"
    limits: SessionLimits = field(default_factory=SessionLimits)
    lag_frames: int = 256
    recorder_frames: int = 300
    """Most frames waiting for the disk."""


@dataclass(frozen=True)
class SessionOutcome:
    """What a session came to."""

    status: SessionStatus
    summary: dict[str, Any]
    """As ``serve --json`` prints it."""
    error: DeepbidError | None
    """Why it stopped early; None when it did not."""


def run_session(plan: SessionPlan) -> SessionOutcome:
    """Run a session to its end; Ctrl-C ends it cleanly.

    Raises
    ------
    FileError
        When the recording folder cannot be written, before anything starts.
    EngineError
        When the engine is to stabilize and does not estimate motion, likewise.
    """
    if plan.stabilize:
        check_stabilizes(plan.engine)
    log = SessionLog(plan.record)
    recorders: list[Recorder] = []
    raw: list[SinkSettings] = []
    denoised = [SinkSettings("publisher", plan.publish)] if plan.publish else []
    if plan.record and log.sidecar:
        recorders.append(Recorder(plan.record, "denoised", log.sidecar, roll_frames=plan.roll_frames))
        denoised.append(SinkSettings(RECORDERS[0], recorders[0], Overflow.FAIL, plan.recorder_frames))
        if plan.record_raw:
            recorders.append(Recorder(plan.record, "raw", log.sidecar, roll_frames=plan.roll_frames))
            raw.append(SinkSettings(RECORDERS[1], recorders[1], Overflow.FAIL, plan.recorder_frames))
        recorders[0].check()
    if plan.page:
        raw.append(SinkSettings("the page, raw", plan.page.board.raw))
        denoised.append(SinkSettings("the page", plan.page.board.denoised))
    present = SeriesDenoisers(
        plan.engine,
        lambda info: Denoiser(
            plan.engine,
            info,
            merge=plan.merge,
            gap=plan.gap,
            stabilize=plan.stabilize,
            line_phase=plan.line_phase,
        ),
    )
    watch = LinePhaseMonitor(lambda info, found, frame: log.note("line_phase", info, **asdict(found), frame=frame))
    denoised.append(SinkSettings("the line phase", watch, timed=False))

    def make_denoiser(info: StreamInfo) -> Denoiser:
        denoiser = present.begin(info)
        facts = {"name": plan.engine.card.name, "sha256": plan.sha256, "runtime": denoiser.runtime}
        ways = {"merge": plan.merge, "gap": denoiser.gap, "stabilized": plan.stabilize, "line_phase": plan.line_phase}
        log.begin(info, **facts, **ways, delay_frames=denoiser.delay)
        return denoiser

    pipeline = Pipeline(
        plan.source, make_denoiser, raw=raw, denoised=denoised, limits=plan.limits, lag_frames=plan.lag_frames
    )
    if plan.publish:

        def tell() -> dict[str, Any]:
            status = pipeline.status()
            return report(
                status,
                _lost_anywhere(plan, status),
                present.streams if plan.record_raw else present.streams[1:],
                plan.record,
                engine=plan.engine.card.name,
                runtime=present.runtime,
                delay_frames=present.delay_frames,
                raw_endpoint=plan.source.endpoint,
                line_phase_px=watch.reading.px,
                aligned_px=watch.reading.aligned_px,
            ).to_map()

        plan.publish.tell(tell)
    error: DeepbidError | None = None
    with ExitStack() as stack:
        stack.enter_context(_stop_on_signal(pipeline.stop))
        stack.enter_context(live_line(lambda: status_line(now := pipeline.status(), _lost_anywhere(plan, now))))
        stack.enter_context(log.watching(pipeline.status, pipeline.fail))
        if plan.page:
            shown = recorders, present, watch
            stack.enter_context(plan.page.showing(lambda: _snapshot(plan, pipeline.status(), *shown)))
        try:
            pipeline.run()
        except DeepbidError as failure:
            error = failure
    status = pipeline.status()
    summary = _summary(plan, status, recorders) | _phase(watch)
    try:
        log.close(**summary, normalization=present.normalizers, error=str(error) if error else None)
    except DeepbidError as failure:
        error = error or failure
    if error:
        summary["error"] = str(error)
    return SessionOutcome(status, summary, error)


def status_line(status: SessionStatus, lost: Mapping[str, int]) -> str:
    """Return the state of a session in one line; `lost` are its lost frames by cause."""
    total = status.latency["total"]
    return (
        f"{status.state.value:8} in {status.frames_in}  out {status.frames_out}  lost {sum(lost.values())}  "
        f"waiting {status.waiting}  latency p50 {number(total.quantile_ms(0.5), 0)} ms  "
        f"p99 {number(total.quantile_ms(0.99), 0)} ms{_motion_text(status.motion)}"
    )


def _motion_text(motion: MotionStats) -> str:
    """Return the last shift, and how many frames of each verdict but ``tracked``; nothing when there is no motion."""
    if motion.last is None:
        return ""
    others = [f"  {verdict} {count}" for verdict, count in motion.counts.items() if count and verdict != "tracked"]
    return f"  shift {motion.last.dy:+.1f} {motion.last.dx:+.1f} px{''.join(others)}"


def _snapshot(
    plan: SessionPlan,
    status: SessionStatus,
    recorders: list[Recorder],
    present: SeriesDenoisers,
    watch: LinePhaseMonitor,
) -> Snapshot:
    from deepbid_rt.web.report import Snapshot

    paths = [str(path) for recorder in recorders for path in recorder.paths]
    of_engine = plan.engine.card.name, present.runtime
    return Snapshot(status, plan.source.status(), _lost(plan, status), *of_engine, watch.reading, paths)


def _summary(plan: SessionPlan, status: SessionStatus, recorders: list[Recorder]) -> dict[str, Any]:
    return {
        "frames_in": status.frames_in,
        "frames_out": status.frames_out,
        "lost": _lost(plan, status),
        "latency_ms": status.latency["total"].summary(),
        "motion": status.motion.summary(),
        "recordings": [str(path) for recorder in recorders for path in recorder.paths],
        "engine": plan.engine.card.name,
        "sha256": plan.sha256,
    }


def _phase(watch: LinePhaseMonitor) -> dict[str, Any]:
    return {"line_phase_px": watch.reading.px, "aligned_px": watch.reading.aligned_px}


def _lost(plan: SessionPlan, status: SessionStatus) -> dict[str, int]:
    recorder_lost = sum(status.sink_lost.get(name, 0) for name in RECORDERS)
    before = {str(cause): count for cause, count in plan.source.status().lost.items()}
    return {**before, "engine": status.engine_lost, "recorder": recorder_lost}


def _lost_anywhere(plan: SessionPlan, status: SessionStatus) -> dict[str, int]:
    """Lost frames by all causes; what the page did not show is not lost."""
    return {**_lost(plan, status), "publisher": status.sink_lost.get("publisher", 0)}


@contextmanager
def _stop_on_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Turn the first Ctrl-C (or terminate signal) into a clean end; the second breaks through."""

    def handle(_signum: int, _frame: FrameType | None) -> None:
        restore()
        stop()

    def restore() -> None:
        for signum, handler in previous.items():
            signal.signal(signum, handler)

    previous = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        restore()
