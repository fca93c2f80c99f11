r"""The threads around the denoiser: one reads the source, one denoises, one for each sink.

::

    source -> [reading thread = caller of run()] -> raw sinks
                    \-> mailbox (keeps the newest) -> [denoising thread] -> mailbox per sink -> [sink thread]

    WAITING -> RUNNING <-> WAITING -> STOPPING -> DONE
                   any --- a stage raises ---> FAILED

Knows nothing of sockets, files or networks. No lock is held while another is taken.
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
"""How often the reading thread looks up from an idle source."""


class Pipeline:
    """Runs one session: a source, a denoiser per series, and sinks.

    Parameters
    ----------
    source : FrameSource
        Opened and closed by `run`.
    make_denoiser : callable
        Called with each series' `StreamInfo`, in the denoising thread.
    raw, denoised : sequence of SinkSettings
        Sinks for raw and for denoised frames; closed by `run`.
    limits : SessionLimits, optional
        When to end; when left out, the session runs until it is stopped.
    lag_frames : int
        Most frames waiting for the engine. When they are more, the older half is given up at once.
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
        self._inbox = EventQueue(lag_frames, Overflow.NEWEST, give_up=max(1, lag_frames // 2), owner="the engine")
        self._raw = [SinkWorker(outlet, self.delivered, self.fail) for outlet in raw]
        self._denoised = [SinkWorker(outlet, self.delivered, self.fail) for outlet in denoised]
        self._stop_at_ns: int | None = None
        self._failure: DeepbidError | None = None
        self._failure_lock = threading.Lock()
        self._state = SessionState.WAITING
        self._frames_in = self._gaps = self._series_ended = 0
        self._open_series = False
        self._denoising = DenoiseWorker(self._inbox, make_denoiser, self._hand_on)
        self._total = LatencyHistogram()

    def stop(self) -> None:
        """Ask `run` to take in what has arrived, flush and return. Safe from any thread and from signal handlers."""
        if self._stop_at_ns is None:
            self._stop_at_ns = time.time_ns()

    def status(self) -> SessionStatus:
        """Return a snapshot; safe from any thread."""
        return SessionStatus(
            self._state,
            self._frames_in,
            self._denoising.frames_out,
            max(0, self._denoising.last_ns - self._denoising.first_ns) / 1e9,
            self._inbox.lost + self._denoising.lost,
            {branch.outlet.name: branch.lost for branch in [*self._raw, *self._denoised]},
            self._gaps,
            self._inbox.frames,
            self._denoising.latency
            | {branch.outlet.name: branch.taken for branch in self._denoised if branch.outlet.timed}
            | {"total": self._total},
            self._denoising.motion,
        )

    def run(self) -> SessionStatus:
        """Run until the limits, `stop`, or a failure; flush, close everything and return the last status.

        Raises
        ------
        RefusedError
            What a stage refused (an unfit engine, a contradictory stream), after everything was closed.
        StageError
            When a stage raised anything else, which is its cause.
        OverrunError
            When a sink that must not lose frames was too slow.
        """
        denoising = threading.Thread(target=self._guarded, args=("the engine", self._denoising.run), name="denoise")
        threads = [denoising, *(branch.thread for branch in [*self._raw, *self._denoised])]
        self._guarded("the source", self._source.open)
        try:
            if self._failure is None:
                for thread in threads:
                    thread.start()
                self._guarded("the source", self._read)
                self._guarded("the source", self._end_series)
        finally:
            self._state = SessionState.STOPPING if self._failure is None else SessionState.FAILED
            # Upstream first: each thread ends when its mailbox is closed and drained.
            for box in (self._inbox, *(branch.box for branch in self._raw)):
                box.close()
            if denoising.ident:
                denoising.join()
            for branch in self._denoised:
                branch.box.close()
            for branch in [*self._raw, *self._denoised]:
                if branch.thread.ident:
                    branch.thread.join()
                self._guarded(branch.outlet.name, branch.outlet.sink.close)
            self._guarded("the source", self._source.close)
        if self._failure is not None:
            self._state = SessionState.FAILED
            raise self._failure
        self._state = SessionState.DONE
        return self.status()

    def fail(self, stage: str, error: BaseException) -> None:
        """Keep the first failure and stop; called by the thread of `stage`."""
        with self._failure_lock:
            if self._failure is None:
                if isinstance(error, DeepbidError):
                    self._failure = error
                else:
                    self._failure = StageError(
                        f"{stage} raised {type(error).__name__} ({error})",
                        expected="it to run through the session",
                        todo="see the log; frames delivered before are complete",
                    )
                    self._failure.__cause__ = error
            self._state = SessionState.FAILED
        self.stop()

    def _guarded(self, stage: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.fail(stage, error)

    # Reading thread.

    def _read(self) -> None:
        idle_since = time.monotonic()
        while not self._finished(idle_since):
            event = self._source.read(POLL_S if self._stop_at_ns is None else 0.0)
            if event is None:
                if self._stop_at_ns is not None:
                    break
                continue
            if isinstance(event, Frame):
                if self._stop_at_ns is not None and not 0 < event.arrived_ns <= self._stop_at_ns:
                    break  # it came after stop(), or lies in a file that would go on to its end
                idle_since = time.monotonic()
                self._frames_in += 1
                event = replace(event, pixels=event.pixels.copy())  # the source's array is valid until its next read
            elif isinstance(event, Gap):
                self._gaps += event.count
            elif isinstance(event, StreamEnd):
                self._series_ended += 1
            if isinstance(event, StreamInfo | StreamEnd):
                self._open_series = isinstance(event, StreamInfo)
            if self._state is not SessionState.FAILED:
                self._state = SessionState.RUNNING if self._open_series else SessionState.WAITING
            self._hand_in(event)

    def _end_series(self) -> None:
        if self._open_series:
            self._hand_in(StreamEnd("done" if self._failure is None else "error"))

    def _hand_in(self, event: Event) -> None:
        # The engine's mailbox first: it takes every frame, and a raw sink that raises here costs no denoised frame.
        for box in (self._inbox, *(branch.box for branch in self._raw)):
            box.put(event)

    def _finished(self, idle_since: float) -> bool:
        limits = self._limits
        return (
            self._failure is not None
            or (limits.frames is not None and self._frames_in >= limits.frames)
            or (limits.series is not None and self._series_ended >= limits.series)
            or (limits.idle_s is not None and time.monotonic() - idle_since >= limits.idle_s)
        )

    def _hand_on(self, event: Event) -> None:
        for branch in self._denoised:
            branch.box.put(event)
        if isinstance(event, Frame) and not self._denoised:
            self._arrived(event)

    def delivered(self, branch: SinkWorker, frame: Frame) -> None:
        """Note that an outlet took `frame`; the first denoised outlet ends the frame's way."""
        if self._denoised and branch is self._denoised[0]:
            self._arrived(frame)

    def _arrived(self, frame: Frame) -> None:
        now = time.time_ns()
        self._total.add(now - (frame.t_ns or frame.arrived_ns or now))
