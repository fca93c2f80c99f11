r"""The threads of a session: one reads the source, one denoises, and each sink has one.

::

    source -> [reading thread = caller of run()] -> queue per raw sink -> [sink thread]
                    \-> queue (keeps the newest) -> [denoising thread] -> queue per denoised sink -> [sink thread]

    WAITING -> RUNNING <-> WAITING -> STOPPING -> DONE
               RUNNING <-> BEHIND
                   any --- the source raises ---> FAILED

Only a source that fails ends a session early. An engine or a sink that fails is reported, and tried again; the others
go on. No thread takes a lock while it holds another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.denoising.pass_through import PassThrough
from deepbid_rt.errors import DeepbidError, StageError
from deepbid_rt.frame import Event, Frame, FrameFlag, Gap, StreamEnd, StreamInfo
from deepbid_rt.live.alarms import Alarms
from deepbid_rt.live.back_off import FIRST_S, BackOff
from deepbid_rt.live.clock_check import ClockCheck
from deepbid_rt.live.denoise_worker import DenoiseWorker
from deepbid_rt.live.event_queue import EventQueue
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.safe_denoiser import SafeDenoiser
from deepbid_rt.live.sink_worker import SinkSettings, SinkWorker, failure_of
from deepbid_rt.live.status import SessionLimits, SessionState, SessionStatus
from deepbid_rt.live.worker_thread import WorkerThread
from deepbid_rt.ports import FrameSource

POLL_S = 0.1
"""Longest wait for a source that sends nothing, before the reading thread checks its limits again."""
DRAIN_S = 60.0
"""Longest time after the end of the source for denoising and writing what is waiting; the rest is counted as lost."""
ABORT_S = 2.0
"""The same after `Pipeline.abort`, for the sinks; frames waiting for the engine are given up at once."""
GIVE_UP_S = 2.0
"""A thread that has not ended this long after its queue was emptied hangs, and is left behind."""
HOLD_S = 30.0
"""Longest wait for a part whose queue does not move, before a source that can wait is read again without it."""
CLEAR_S = 1.0
"""The state is ``behind`` until so many seconds have passed without a skipped frame."""


class Pipeline:
    """Runs a source, one denoiser per series, and sinks.

    Parameters
    ----------
    source : FrameSource
        `run` opens and closes it.
    make_denoiser : callable
        Called with the `StreamInfo` of each series, in the denoising thread, and by a thread that repairs the engine.
    raw, denoised : sequence of SinkSettings
        Sinks for raw and for denoised frames; `run` closes them.
    limits : SessionLimits, optional
        When to end. Without limits the session runs until `stop`.
    lag_frames : int
        Largest number of frames waiting for the engine. When it is exceeded, the older half is dropped.
    max_latency_s : float or None
        Frames that would come out later than this after their arrival are skipped when newer ones wait, see
        `DenoiseWorker`; None denoises every frame.
    wait_for_room : bool
        Read the source only while engine and sinks have room, and put out denoised frames only while sinks have: for
        sources that make their sender wait. Observers, which are not `SinkSettings.timed`, are not waited for.
    pass_through : callable
        Returns what puts out the raw frames of a series while the engine does not work.
    reopen_engine : callable, optional
        Called in a thread of its own after the engine has failed; `make_denoiser` then uses a new one.
    safe_mode_changed : callable, optional
        Called with the raw series, True or False, and a frame number when safe mode begins or ends.
    alarms : Alarms, optional
        Gets the alarms of sinks and engine.
    drain_s : float
        See `DRAIN_S`.
    retry_s : float
        Seconds until a failed engine is opened again for the first time.
    """

    def __init__(
        self,
        source: FrameSource,
        make_denoiser: Callable[[StreamInfo], Denoiser],
        *,
        raw: Sequence[SinkSettings] = (),
        denoised: Sequence[SinkSettings] = (),
        limits: SessionLimits | None = None,
        lag_frames: int = 256,
        max_latency_s: float | None = None,
        wait_for_room: bool = False,
        pass_through: Callable[[StreamInfo], PassThrough] = PassThrough,
        reopen_engine: Callable[[], None] | None = None,
        safe_mode_changed: Callable[[StreamInfo, bool, int | None], None] | None = None,
        alarms: Alarms | None = None,
        drain_s: float = DRAIN_S,
        retry_s: float = FIRST_S,
    ) -> None:
        self._source = source
        self._make_denoiser = make_denoiser
        self._pass_through = pass_through
        self._reopen_engine = reopen_engine
        self._safe_mode_changed = safe_mode_changed
        self._limits = limits or SessionLimits()
        self._max_latency_s = max_latency_s
        self._waits_for_room = wait_for_room
        self._drain_s = drain_s
        self._back_off = BackOff(retry_s)
        self.alarms = alarms or Alarms()
        """What is wrong now."""
        # Half of the queue is dropped at once, so that a slow engine gets few long gaps and not many short ones.
        self._queue = EventQueue(lag_frames, drop_count=max(1, lag_frames // 2))
        self._raw = [SinkWorker(settings, self._delivered, self._note_failure, self.alarms) for settings in raw]
        self._denoised = [
            SinkWorker(settings, self._delivered, self._note_failure, self.alarms) for settings in denoised
        ]
        # Queues that did not move for `HOLD_S`, until they have room again. Each is touched by its writer alone.
        self._stuck: set[EventQueue] = set()
        self._stop_at_ns: int | None = None
        self._aborted = threading.Event()
        self._failure: DeepbidError | None = None  # the first one
        self._failure_lock = threading.Lock()
        self._source_failed = False
        self._state = SessionState.WAITING
        self._frames_in = self._refused = self._after_stop = self._gaps = self._series_ended = 0
        self._info: StreamInfo | None = None  # of the running series
        self._last_index: int | None = None
        self._clocks = ClockCheck()  # of the latest series
        self._denoiser = DenoiseWorker(
            self._queue,
            self._begin_series,
            self._put_denoised,
            self._note_failure,
            transport_ns=lambda frame: self._clocks.transport_ns(frame),
            max_latency_s=max_latency_s,
        )
        self._total_latency = LatencyHistogram()

    def stop(self) -> None:
        """Ask `run` to process what has arrived, flush and return. Safe from any thread and from signal handlers."""
        if self._stop_at_ns is None:
            self._stop_at_ns = time.time_ns()

    def abort(self) -> None:
        """Ask `run` to return within seconds: frames that wait are given up and counted, files are closed.

        Safe from any thread and from signal handlers.
        """
        self.stop()
        self._aborted.set()

    def status(self) -> SessionStatus:
        """Return the counters at this moment; safe from any thread."""
        timed = [worker for worker in self._denoised if worker.settings.timed]
        denoiser = self._denoiser
        return SessionStatus(
            state=SessionState.BEHIND if self._is_behind() else self._state,
            frames_in=self._frames_in,
            frames_out=denoiser.frames_out,
            busy_s=max(0, denoiser.last_ns - denoiser.first_ns) / 1e9,
            engine_lost=self._queue.lost + denoiser.lost,
            sink_lost={worker.settings.name: worker.lost for worker in self._sinks},
            gaps=self._gaps,
            waiting=self._queue.frames,
            latency={
                **denoiser.latency,
                **{worker.settings.name: worker.latency for worker in timed},
                "total": self._total_latency,
            },
            motion=denoiser.motion,
            skipped=denoiser.skipped,
            inside=denoiser.inside,
            refused=self._refused,
            after_stop=self._after_stop,
        )

    @property
    def clock_problem(self) -> str | None:
        """Why the clock of the sender is not used for latencies; None while it is used."""
        return self._clocks.problem

    def busy_s(self) -> dict[str, float]:
        """Return the seconds that each part has spent on its present frame; parts that wait are left out."""
        now_s = time.monotonic()
        since = {"the engine": self._denoiser.busy_since_s}
        since |= {worker.settings.name: worker.busy_since_s for worker in self._sinks}
        return {name: now_s - since_s for name, since_s in since.items() if since_s is not None}

    def run(self) -> SessionStatus:
        """Run until the limits, `stop` or a failure of the source; flush, close everything, return the last status.

        Raises
        ------
        RefusedError
            At the end, when a part refused its input, such as an engine that does not fit the stream.
        StageError
            When a part raised any other exception, which is the cause of this one, or hangs. With several failures
            the first one is raised. Parts that recovered count as well, because frames are missing from them.
        """
        self._denoiser.live_since_ns = time.time_ns()
        self._guarded("the source", self._source.open)
        self._source_failed = self._failure is not None
        threads: list[WorkerThread] = []
        try:
            if not self._source_failed:
                threads = [self._denoiser.thread, *(worker.thread for worker in self._sinks)]
                for thread in threads:
                    thread.start()
                self._source_failed = not self._guarded("the source", self._read)
                self._end_series()
        finally:
            self._state = SessionState.STOPPING
            self._close(started=bool(threads))
        if self._failure is not None:
            self._state = SessionState.FAILED
            raise self._failure
        self._state = SessionState.DONE
        return self.status()

    @property
    def _sinks(self) -> list[SinkWorker]:
        return [*self._raw, *self._denoised]

    def _note_failure(self, failure: DeepbidError) -> None:
        """Keep the first failure, for `run` to raise. From any thread."""
        with self._failure_lock:
            if self._failure is None:
                self._failure = failure

    def _guarded(self, stage: str, work: Callable[[], None]) -> bool:
        """Do the work; note what it raises. Returns False when it raised."""
        try:
            work()
        except BaseException as error:
            self._note_failure(failure_of(stage, error))
            return False
        return True

    def _is_behind(self) -> bool:
        """Tell whether live frames are skipped, or come out later than they may."""
        if self._state is not SessionState.RUNNING:
            return False
        if time.monotonic() - self._denoiser.last_skip_s < CLEAR_S:
            return True
        oldest_ns = self._queue.oldest_ns
        if oldest_ns is None or oldest_ns < self._denoiser.live_since_ns:
            return False
        return time.time_ns() - oldest_ns > max(self._max_latency_s or 0.0, CLEAR_S) * 1e9

    # Closing. Upstream first: a thread ends when its queue is closed and drained.

    def _close(self, *, started: bool) -> None:
        deadline_s = time.monotonic() + self._drain_s
        self._queue.close()
        for worker in self._raw:
            worker.queue.close()
        if started:
            self._join("the engine", self._denoiser.thread, self._queue, deadline_s)
        for worker in self._denoised:
            worker.queue.close()
        abort_by_s: float | None = None
        for worker in self._sinks:
            if self._aborted.is_set():
                abort_by_s = abort_by_s or time.monotonic() + ABORT_S
                deadline_s = min(deadline_s, abort_by_s)
            ended = not started or self._join(worker.settings.name, worker.thread, worker.queue, deadline_s)
            if ended:  # a thread that hangs is still inside the sink, which therefore cannot be closed
                self._guarded(worker.settings.name, worker.settings.sink.close)
        self._guarded("the source", self._source.close)

    def _join(self, name: str, thread: threading.Thread, queue: EventQueue, deadline_s: float) -> bool:
        """Wait until a thread has drained its queue; after the deadline throw the rest away. False when it hangs."""
        is_engine = thread is self._denoiser.thread
        while thread.is_alive() and time.monotonic() < deadline_s:
            if self._aborted.is_set():
                deadline_s = min(deadline_s, time.monotonic() + (0.0 if is_engine else ABORT_S))
                thread.join(max(0.0, deadline_s - time.monotonic()))
                break
            thread.join(POLL_S)
        if not thread.is_alive():
            return True
        given_up = queue.discard()
        thread.join(GIVE_UP_S)
        hangs = thread.is_alive()
        if given_up or hangs:
            self._note_failure(
                StageError(
                    f"{name} {'hangs' if hangs else 'was not done'} at the end; {given_up} frames were given up",
                    expected=f"it to finish within {self._drain_s:g} s, or before it was cut short",
                    todo="use a faster disk, a smaller frame or a faster engine; the raw recording does not need one",
                )
            )
        return not hangs

    # Reading thread.

    def _read(self) -> None:
        idle_s = 0.0
        raw_queues = [self._queue, *(worker.queue for worker in self._raw if worker.settings.timed)]
        while not self._finished(idle_s):
            self._wait_for_room(raw_queues)
            timeout_s = POLL_S if self._stop_at_ns is None else 0.0
            asked_s = time.monotonic()
            event = self._source.read(timeout_s)
            if event is None:
                if self._stop_at_ns is not None:
                    break
                # Only time in which the source had the chance to send. While this thread was held up, by a suspended
                # process for instance, frames may have arrived that are still to be read.
                idle_s += min(time.monotonic() - asked_s, timeout_s)
                continue
            if isinstance(event, Frame):
                if self._stop_at_ns is not None and not 0 < event.arrived_ns <= self._stop_at_ns:
                    # It arrived after stop(), or it is from a file, which would go on to its end.
                    self._after_stop += 1
                    break
                idle_s = 0.0
                if not self._fits(event):
                    self._refused += 1
                    continue
                self._clocks.push(event)
                self._frames_in += 1
                event = replace(event, pixels=event.pixels.copy())  # the source's array is valid until its next read
            elif isinstance(event, Gap):
                self._gaps += event.count
            elif isinstance(event, StreamEnd):
                self._series_ended += 1
            if isinstance(event, StreamInfo | StreamEnd):
                self._info = event if isinstance(event, StreamInfo) else None
                self._last_index = None
                if self._info:
                    self._clocks = ClockCheck()
            self._state = SessionState.RUNNING if self._info else SessionState.WAITING
            self._put_raw(event)

    def _fits(self, frame: Frame) -> bool:
        """Tell whether a frame belongs to the running series. One that does not is refused, and nothing else."""
        info, last = self._info, self._last_index
        if (
            info is None
            or (frame.pixels.shape, frame.pixels.dtype) != (info.shape, info.dtype)
            or (last is not None and frame.index <= last)
            or not (0 <= frame.plane < info.planes or frame.flags & FrameFlag.FLYBACK)
        ):
            return False
        self._last_index = frame.index
        return True

    def _wait_for_room(self, queues: Sequence[EventQueue]) -> None:
        """Wait until there is room in the queues, if the source can wait. Called by the writer of these queues."""
        for queue in queues if self._waits_for_room else ():
            give_up_s = time.monotonic() + (0.0 if queue in self._stuck else HOLD_S)
            while not (room := queue.wait_for_room(0.0 if queue in self._stuck else POLL_S)):
                if self._aborted.is_set() or time.monotonic() >= give_up_s:
                    break
            (self._stuck.discard if room else self._stuck.add)(queue)

    def _end_series(self) -> None:
        if self._info:
            self._put_raw(StreamEnd("error" if self._source_failed else "done"))

    def _put_raw(self, event: Event) -> None:
        self._queue.put(event)
        for worker in self._raw:
            worker.queue.put(event)

    def _finished(self, idle_s: float) -> bool:
        limits = self._limits
        return (
            self._aborted.is_set()
            or (limits.frames is not None and self._frames_in >= limits.frames)
            or (limits.series is not None and self._series_ended >= limits.series)
            or (limits.idle_s is not None and idle_s >= limits.idle_s)
        )

    # Denoising thread.

    def _begin_series(self, info: StreamInfo) -> SafeDenoiser:
        def changed(safe_mode: bool, frame: int | None) -> None:
            if self._safe_mode_changed:
                self._safe_mode_changed(info, safe_mode, frame)

        return SafeDenoiser(
            info,
            self._make_denoiser,
            self._reopen_engine,
            self._pass_through(info),
            self._back_off,
            self._note_failure,
            changed,
            self.alarms,
        )

    def _put_denoised(self, event: Event) -> None:
        self._wait_for_room([worker.queue for worker in self._denoised if worker.settings.timed])
        for worker in self._denoised:
            worker.queue.put(event)
        if isinstance(event, Frame) and not self._denoised:
            self._count_total_latency(event)

    # Sink threads.

    def _delivered(self, worker: SinkWorker, frame: Frame) -> None:
        """Count the total latency of a frame, which ends at the first denoised sink."""
        if self._denoised and worker is self._denoised[0]:
            self._count_total_latency(frame)

    def _count_total_latency(self, frame: Frame) -> None:
        begins_ns = self._clocks.begins_ns(frame)
        if begins_ns is not None:
            self._total_latency.add(time.time_ns() - begins_ns)
