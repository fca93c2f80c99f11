r"""The threads of a session: one reads the source, one denoises, and each sink has one.

::

    source -> [reading thread = caller of run()] -> queue per raw sink -> [sink thread]
                    \-> queue (keeps the newest) -> [denoising thread] -> queue per denoised sink -> [sink thread]

    WAITING -> RUNNING <-> WAITING -> STOPPING -> DONE
                   any --- a stage raises ---> FAILED

No thread takes a lock while it holds another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import DeepbidError, StageError
from deepbid_rt.frame import Event, Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.live.denoise_worker import DenoiseWorker
from deepbid_rt.live.event_queue import EventQueue, Overflow
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.sink_worker import SinkSettings, SinkWorker
from deepbid_rt.live.status import SessionLimits, SessionState, SessionStatus
from deepbid_rt.ports import FrameSource

POLL_S = 0.1
"""Longest wait for a source that sends nothing, before the reading thread checks its limits again."""


class Pipeline:
    """Runs a source, one denoiser per series, and sinks.

    Parameters
    ----------
    source : FrameSource
        `run` opens and closes it.
    make_denoiser : callable
        Called with the `StreamInfo` of each series, in the denoising thread.
    raw, denoised : sequence of SinkSettings
        Sinks for raw and for denoised frames; `run` closes them.
    limits : SessionLimits, optional
        When to end. Without limits the session runs until `stop`.
    lag_frames : int
        Largest number of frames waiting for the engine. When it is exceeded, the older half is dropped.
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
    ) -> None:
        self._source = source
        self._limits = limits or SessionLimits()
        # Half of the queue is dropped at once, so that a slow engine gets few long gaps and not many short ones.
        self._queue = EventQueue(lag_frames, Overflow.NEWEST, drop_count=max(1, lag_frames // 2), reader="the engine")
        self._raw = [SinkWorker(settings, self._delivered, self.fail) for settings in raw]
        self._denoised = [SinkWorker(settings, self._delivered, self.fail) for settings in denoised]
        self._stop_at_ns: int | None = None
        self._failure: DeepbidError | None = None
        self._failure_lock = threading.Lock()
        self._state = SessionState.WAITING
        self._frames_in = self._gaps = self._series_ended = 0
        self._series_open = False
        self._denoiser = DenoiseWorker(self._queue, make_denoiser, self._put_denoised)
        self._total_latency = LatencyHistogram()

    def stop(self) -> None:
        """Ask `run` to process what has arrived, flush and return. Safe from any thread and from signal handlers."""
        if self._stop_at_ns is None:
            self._stop_at_ns = time.time_ns()

    def status(self) -> SessionStatus:
        """Return the counters at this moment; safe from any thread."""
        timed = [worker for worker in self._denoised if worker.settings.timed]
        return SessionStatus(
            state=self._state,
            frames_in=self._frames_in,
            frames_out=self._denoiser.frames_out,
            busy_s=max(0, self._denoiser.last_ns - self._denoiser.first_ns) / 1e9,
            engine_lost=self._queue.lost + self._denoiser.lost,
            sink_lost={worker.settings.name: worker.lost for worker in self._sinks},
            gaps=self._gaps,
            waiting=self._queue.frames,
            latency={
                **self._denoiser.latency,
                **{worker.settings.name: worker.latency for worker in timed},
                "total": self._total_latency,
            },
            motion=self._denoiser.motion,
        )

    def run(self) -> SessionStatus:
        """Run until the limits, `stop` or a failure; flush, close everything and return the last status.

        Raises
        ------
        RefusedError
            When a stage refuses its input, such as an engine that does not fit the stream.
        StageError
            When a stage raises any other exception, which is the cause of this one.
        OverrunError
            When a sink that must not lose frames is too slow.
        """
        denoise_thread = threading.Thread(target=self._guarded, args=("the engine", self._denoiser.run), name="denoise")
        self._guarded("the source", self._source.open)
        try:
            if self._failure is None:
                for thread in (denoise_thread, *(worker.thread for worker in self._sinks)):
                    thread.start()
                self._guarded("the source", self._read)
                self._guarded("the source", self._end_series)
        finally:
            self._state = SessionState.STOPPING if self._failure is None else SessionState.FAILED
            self._close(denoise_thread)
        if self._failure is not None:
            self._state = SessionState.FAILED
            raise self._failure
        self._state = SessionState.DONE
        return self.status()

    def fail(self, stage: str, error: BaseException) -> None:
        """Stop because `stage` raised `error`. The first failure is kept; `run` raises it. From any thread."""
        with self._failure_lock:
            if self._failure is None:
                if isinstance(error, DeepbidError):
                    self._failure = error
                else:
                    self._failure = StageError(
                        f"{stage} raised {type(error).__name__} ({error})",
                        expected="it to run through the session",
                        todo="see the log; all frames delivered before are complete",
                    )
                    self._failure.__cause__ = error
            self._state = SessionState.FAILED
        self.stop()

    @property
    def _sinks(self) -> list[SinkWorker]:
        return [*self._raw, *self._denoised]

    def _guarded(self, stage: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.fail(stage, error)

    def _close(self, denoise_thread: threading.Thread) -> None:
        """End all threads, then close sinks and source. Upstream first: a thread ends when its queue is drained."""
        self._queue.close()
        for worker in self._raw:
            worker.queue.close()
        if denoise_thread.ident:
            denoise_thread.join()
        for worker in self._denoised:
            worker.queue.close()
        for worker in self._sinks:
            if worker.thread.ident:
                worker.thread.join()
            self._guarded(worker.settings.name, worker.settings.sink.close)
        self._guarded("the source", self._source.close)

    # Reading thread.

    def _read(self) -> None:
        idle_s = 0.0
        while not self._finished(idle_s):
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
                    break  # it arrived after stop(), or it is from a file, which would go on to its end
                idle_s = 0.0
                self._frames_in += 1
                event = replace(event, pixels=event.pixels.copy())  # the source's array is valid until its next read
            elif isinstance(event, Gap):
                self._gaps += event.count
            elif isinstance(event, StreamEnd):
                self._series_ended += 1
            if isinstance(event, StreamInfo | StreamEnd):
                self._series_open = isinstance(event, StreamInfo)
            if self._state is not SessionState.FAILED:
                self._state = SessionState.RUNNING if self._series_open else SessionState.WAITING
            self._put_raw(event)

    def _end_series(self) -> None:
        if self._series_open:
            self._put_raw(StreamEnd("done" if self._failure is None else "error"))

    def _put_raw(self, event: Event) -> None:
        # The engine's queue first: it never refuses a frame, so a raw sink that raises here costs no denoised frame.
        self._queue.put(event)
        for worker in self._raw:
            worker.queue.put(event)

    def _finished(self, idle_s: float) -> bool:
        limits = self._limits
        return (
            self._failure is not None
            or (limits.frames is not None and self._frames_in >= limits.frames)
            or (limits.series is not None and self._series_ended >= limits.series)
            or (limits.idle_s is not None and idle_s >= limits.idle_s)
        )

    # Denoising thread.

    def _put_denoised(self, event: Event) -> None:
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
        now = time.time_ns()
        self._total_latency.add(now - (frame.t_ns or frame.arrived_ns or now))
