"""A live session: a source, an engine, recordings, a log and sinks, joined and run.

It prints nothing and installs no signal handlers, so it can run from a script or inside another program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from deepbid_rt.denoising.denoiser import Denoiser, GapPolicy, check_stabilizes
from deepbid_rt.denoising.memory import check_memory
from deepbid_rt.denoising.pass_through import PassThrough
from deepbid_rt.errors import DeepbidError, RefusedError, StageError, StreamError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.live.alarms import Alarms
from deepbid_rt.live.duplicate_watch import DuplicateWatch
from deepbid_rt.live.line_phase_monitor import LinePhaseMonitor, LinePhaseReading
from deepbid_rt.live.picture_watch import PictureWatch
from deepbid_rt.live.pipeline import Pipeline
from deepbid_rt.live.series_denoisers import SeriesDenoisers
from deepbid_rt.live.session_log import SessionLog
from deepbid_rt.live.session_report import DENOISED_RECORDER, PUBLISHER, RAW_RECORDER, SessionReport
from deepbid_rt.live.session_watch import SessionWatch
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits, SessionState, SessionStatus
from deepbid_rt.ports import Engine, FrameSource, Sink
from deepbid_rt.recording.disk_room import DiskRoom
from deepbid_rt.recording.disk_sync import SYNC_S
from deepbid_rt.recording.recorder import Recorder
from deepbid_rt.recording.recording_name import series_name
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy
from deepbid_rt.wire.alarm import Alarm
from deepbid_rt.wire.publisher_status import PublisherStatus
from deepbid_rt.wire.source_status import SourceState, SourceStatus


@runtime_checkable
class MonitoredSource(FrameSource, Protocol):
    """A source with an address and counters of its own, such as `ZmqSource`."""

    endpoint: str

    def status(self) -> SourceStatus:
        """Return state and counts; from any thread, before `open` and after `close` too."""
        ...


class StatusPublisher(Sink, Protocol):
    """A sink that sends the status of the session along with the frames, such as `ZmqSink`."""

    def set_status(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Send what `status` returns with every beat from now on."""
        ...

    def status(self) -> PublisherStatus:
        """Return who is connected and what went wrong; safe from any thread."""
        ...


@dataclass(frozen=True)
class SessionSettings:
    """How a session denoises, records and ends."""

    record: Path | None = None
    """Folder of the recordings; None records nothing."""
    record_raw: bool = False
    """Record the raw frames as well."""
    name: str = ""
    """Part of the names of the files, such as that of the animal; letters, digits, _ and -."""
    sync_s: float = SYNC_S
    """Seconds between two fsyncs of each recording; 0 for an fsync after each frame."""
    roll_frames: int = 0
    """Frames in one file; 0 for a single file per series."""
    recorder_s: float = 10.0
    """Seconds of the stream that may wait for the disk; beyond it frames are missing from the recording."""
    merge: MergeMode = "mean"
    gap: GapPolicy = "auto"
    stabilize: bool = False
    line_phase: LinePhasePolicy = "auto"
    denoise_channels: tuple[int, ...] | None = None
    """Channels to denoise; the others are passed through. None: all."""
    limits: SessionLimits = field(default_factory=SessionLimits)
    lag_frames: int = 256
    """Largest number of frames waiting for the engine; beyond it the older half is dropped."""
    max_latency_ms: float | None = 200.0
    """Frames that would come out later than this after their arrival are skipped when newer ones wait; None denoises
    every frame, however late."""
    wait_for_room: bool = False
    """Read the source only while engine and recordings have room, see `Pipeline`; only for sources that can wait."""


class Session:
    """Denoises what a source sends, until it is stopped or its limits are reached.

    Parameters
    ----------
    source : FrameSource
        `run` opens and closes it. A `MonitoredSource` adds its own counters to the report.
    engine : Engine
        Used by all series; not closed here.
    settings : SessionSettings, optional
    sha256 : str, optional
        Digest of the engine's file, for the log.
    publisher : StatusPublisher, optional
        Publishes denoised frames; its beats carry the status of the session.
    raw, denoised : sequence of SinkSettings
        Further sinks for raw and for denoised frames; `run` closes them. Each has its own thread, and loses its oldest
        frames when it is too slow.
    reopen_engine : callable, optional
        Returns a new engine after the present one has failed; the session closes both. By default the same engine is
        tried again.

    Raises
    ------
    FileError
        When the recording folder cannot be written.
    EngineError
        When the denoised movie is to be stabilized and the engine does not estimate motion.
    """

    def __init__(
        self,
        source: FrameSource,
        engine: Engine,
        settings: SessionSettings | None = None,
        *,
        sha256: str | None = None,
        publisher: StatusPublisher | None = None,
        raw: Sequence[SinkSettings] = (),
        denoised: Sequence[SinkSettings] = (),
        reopen_engine: Callable[[], Engine] | None = None,
    ) -> None:
        self._settings = settings = settings or SessionSettings()
        if settings.stabilize:
            check_stabilizes(engine)
        self._source = source
        self._publisher = publisher
        self._engine = engine
        self._reopen_engine = reopen_engine
        self._opened: list[Engine] = []  # engines that this session has opened itself
        self.alarms = Alarms(self._log_alarm)
        """What is wrong now; further parts of a program may add theirs."""
        self._log = SessionLog(settings.record, name=settings.name, alarms=self.alarms)
        self._room = DiskRoom(settings.record) if settings.record else None
        if self._room:
            self._room.look(0.0)  # so that the first beat knows it
        self._picture = PictureWatch(self.alarms, engine.card.normalization.frames)
        self._duplicates = DuplicateWatch(self.alarms)
        self._sha256 = sha256
        self._denoisers = SeriesDenoisers(engine, self._make_denoiser)
        self._line_phase = LinePhaseMonitor(self._log_line_phase)
        self._recorders: list[Recorder] = []
        recorded_denoised = self._recorder_sink("denoised", DENOISED_RECORDER)
        recorded_raw = self._recorder_sink("raw", RAW_RECORDER) if settings.record_raw else []
        published = [SinkSettings(PUBLISHER, publisher)] if publisher else []
        self._pipeline = Pipeline(
            source,
            self._begin_series,
            raw=[*recorded_raw, *raw, SinkSettings("the picture watch", self._picture, capacity=16, timed=False)],
            # The total latency of a frame ends at the first of these.
            denoised=[
                *published,
                *recorded_denoised,
                *denoised,
                SinkSettings("the line phase", self._line_phase, timed=False),
            ],
            limits=settings.limits,
            lag_frames=settings.lag_frames,
            max_latency_s=None if settings.max_latency_ms is None else settings.max_latency_ms / 1e3,
            wait_for_room=settings.wait_for_room,
            pass_through=self._make_pass_through,
            reopen_engine=self._open_engine_again if reopen_engine else None,
            safe_mode_changed=self._log_safe_mode,
            alarms=self.alarms,
        )
        self._watch = SessionWatch(self.report, self._pipeline.busy_s, self.alarms, self._check_further)
        if publisher:
            publisher.set_status(lambda: self.report().beat_status().to_map())

    def run(self) -> SessionReport:
        """Run until the limits, `stop` or a failure; flush, close everything and return the last report.

        Raises
        ------
        DeepbidError
            What ended the session early, see `Pipeline.run`. Everything is flushed and closed, and `report` still
            answers.
        StreamError
            When frames arrived and none of them could be used.
        """
        try:
            with self._watch.watching(), self._log.writing_totals(self._totals):
                self._pipeline.run()
            self._require_usable_frames()
            self._require_conservation()
        except DeepbidError as error:
            with suppress(DeepbidError):  # the first error is the one to report
                self._close_log(error)
            raise
        finally:
            for engine in self._opened:
                with suppress(Exception):  # a broken driver may refuse even this; everything else is done
                    engine.close()
        self._close_log(None)
        return self.report()

    def abort(self) -> None:
        """Ask `run` to return within seconds: frames that wait are given up and counted, files are closed.

        Safe from any thread and from signal handlers.
        """
        self._pipeline.abort()

    def stop(self) -> None:
        """Ask `run` to process what has arrived, flush and return. Safe from any thread and from signal handlers."""
        self._pipeline.stop()

    def report(self) -> SessionReport:
        """Return the state of the session at this moment; safe from any thread."""
        settings, status = self._settings, self._pipeline.status()
        streams = self._denoisers.streams if settings.record_raw else self._denoisers.streams[1:]
        source = self._source if isinstance(self._source, MonitoredSource) else None
        return SessionReport(
            status,
            source.status() if source else _source_status(status),
            engine=self._engine.card.name,
            runtime=self._denoisers.runtime,
            sha256=self._sha256,
            delay_frames=self._denoisers.delay_frames,
            raw_endpoint=source.endpoint if source else None,
            line_phase=self._line_phase.reading,
            recordings=[str(path) for recorder in self._recorders for path in recorder.paths],
            folder=settings.record,
            disk_free_bytes=room.free_bytes if self._room and (room := self._room.room) else None,
            record_bytes_per_s=sum(s.frame_bytes * s.rate_hz for s in streams) if settings.record else None,
            alarms=self.alarms.current(),
            picture=self._picture.reading,
            clock_problem=self._pipeline.clock_problem,
            max_latency_ms=settings.max_latency_ms,
            publisher=self._publisher.status() if self._publisher else None,
        )

    def _recorder_sink(self, stream: Literal["denoised", "raw"], name: str) -> list[SinkSettings]:
        """Return the sink that records one stream; none when nothing is recorded."""
        settings = self._settings
        if not (settings.record and self._log.sidecar):
            return []
        recorder = Recorder(
            settings.record,
            stream,
            self._log.sidecar,
            roll_frames=settings.roll_frames,
            sync_s=settings.sync_s,
            room=self._room,
        )
        recorder.check()
        self._recorders.append(recorder)
        return [SinkSettings(name, recorder, capacity_s=settings.recorder_s)]

    def _make_denoiser(self, info: StreamInfo) -> Denoiser:
        settings = self._settings
        check_memory(info, self._engine.card)
        return Denoiser(
            self._engine,
            info,
            merge=settings.merge,
            gap=settings.gap,
            stabilize=settings.stabilize,
            line_phase=settings.line_phase,
            channels=settings.denoise_channels,
        )

    def _make_pass_through(self, info: StreamInfo) -> PassThrough:
        try:
            return PassThrough(info, self._settings.merge)
        except RefusedError:  # the scan has no such view; the denoiser refuses it too, and says so
            return PassThrough(info)

    def _begin_series(self, info: StreamInfo) -> Denoiser:
        settings, denoiser = self._settings, self._denoisers.begin(info)
        self._log.write(
            "engine",
            info,
            name=self._engine.card.name,
            sha256=self._sha256,
            runtime=denoiser.runtime,
            merge=settings.merge,
            gap=denoiser.gap,
            stabilized=settings.stabilize,
            line_phase=settings.line_phase,
            denoise_channels=settings.denoise_channels,
            delay_frames=denoiser.delay,
        )
        return denoiser

    def _log_line_phase(self, info: StreamInfo, reading: LinePhaseReading, frame: int) -> None:
        self._log.write("line_phase", info, **asdict(reading), frame=frame)

    def _check_further(self, report: SessionReport) -> None:
        if self._room:
            if text := self._room.look(report.record_bytes_per_s or 0.0):
                self.alarms.set("the room on the disk", "disk", text)
            else:
                self.alarms.clear("the room on the disk")
        self._duplicates.check(report.source, report.status.frames_in)
        if problem := report.source.problem:
            self.alarms.set("the source", "source", problem, logged=True)
        else:
            self.alarms.clear("the source", logged=True)

    def _open_engine_again(self) -> None:
        """Replace the engine; called in the thread that repairs it, while no other thread uses the engine."""
        if self._reopen_engine is None:
            return
        with suppress(Exception):  # a broken engine may refuse to close; its memory is then lost, not the session
            self._engine.close()
        self._engine = self._reopen_engine()
        self._opened.append(self._engine)
        self._denoisers.use(self._engine)

    def _log_safe_mode(self, info: StreamInfo, safe_mode: bool, frame: int | None) -> None:
        self._log.note("safe_mode", series=series_name(info), begins=safe_mode, frame=frame)

    def _log_alarm(self, part: str, alarm: Alarm | None) -> None:
        self._log.note("alarm", part=part, alarm=alarm.kind if alarm else None, text=alarm.text if alarm else None)

    def _totals(self) -> dict[str, object]:
        """Return what the log says every second, so that a killed session leaves figures that are hardly older."""
        report = self.report()
        figures = {key: value for key, value in report.summary().items() if key != "recordings"}
        stages = {stage: histogram.summary() for stage, histogram in report.status.latency.items()}
        recorded = {recorder.stream: recorder.frames for recorder in self._recorders}
        return {**figures, "recorded": recorded, "ms": stages}

    def _require_conservation(self) -> None:
        report = self.report()
        if report.unexplained:
            raise StageError(
                f"frames are unaccounted for ({report.balance})",
                expected="each frame to be denoised, skipped, or lost with a cause",
                todo="report this as a fault of the program, with the session log",
            )

    def _require_usable_frames(self) -> None:
        report = self.report()
        refused = {cause: count for cause, count in report.refused.items() if count}
        if refused and not report.status.frames_in:
            raise StreamError(
                f"{sum(refused.values())} frames, none of which could be used "
                f"({', '.join(f'{count} {cause}' for cause, count in refused.items())})",
                expected="frames whose series a start message or a beat describes",
                todo=report.source.problem or "check that the sender sends a start message and a beat every second",
            )

    def _close_log(self, error: DeepbidError | None) -> None:
        self._log.close(
            **self.report().summary(),
            normalization=self._denoisers.normalizers,
            error=str(error) if error else None,
        )


def _source_status(status: SessionStatus) -> SourceStatus:
    """Return the counters of a source that has none of its own, from what the pipeline counted."""
    states: dict[SessionState, SourceState] = {
        SessionState.WAITING: "waiting",
        SessionState.RUNNING: "live",
        SessionState.BEHIND: "live",
    }
    return SourceStatus(
        state=states.get(status.state, "ended"),
        received=status.frames_in + status.refused + status.after_stop,
        arrived=status.frames_in + status.refused + status.after_stop,
        lost={"source": status.gaps, "transport": 0, "ring": 0},
        bad={},
        refused={},
        unread=0,
    )
