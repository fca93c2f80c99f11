"""A sink at work: its settings, its queue and its thread. A sink that fails is tried again; the session goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deepbid_rt.errors import DeepbidError, StageError
from deepbid_rt.frame import Event, Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.live.alarms import Alarms
from deepbid_rt.live.back_off import FIRST_S, BackOff
from deepbid_rt.live.event_queue import EventQueue, QueueClosed, append_gap
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.worker_thread import WorkerThread
from deepbid_rt.ports import Sink


@dataclass(frozen=True)
class SinkSettings:
    """A sink, its name in reports, and how much may wait for it."""

    name: str
    sink: Sink
    capacity: int = 256
    """Largest number of frames waiting for this sink. Beyond it the oldest are dropped and counted."""
    capacity_s: float = 0.0
    """The same in seconds of the stream; the larger one holds."""
    timed: bool = True
    """Whether the time that this sink needs for a frame is one of the latencies of the session."""
    retry_s: float = FIRST_S
    """Seconds until the first attempt after a failure, see `BackOff`."""


class SinkWorker:
    """Feeds one sink from a queue, in a thread of its own.

    When the sink raises, its failure is reported, and `Sink.start` of the running series is called again after a
    while. Frames in between count as lost, and the sink then gets them as gaps. A new series is tried at once.

    Parameters
    ----------
    settings : SinkSettings
        The sink is used by this worker's thread alone; the pipeline closes it.
    delivered : callable
        Called with this worker and each frame that the sink has taken, in the worker's thread.
    failed : callable
        Called with the failure, each time the sink raises.
    alarms : Alarms
        Gets an alarm of the sink's name from a failure until the sink has taken a frame again.
    """

    def __init__(
        self,
        settings: SinkSettings,
        delivered: Callable[[SinkWorker, Frame], None],
        failed: Callable[[DeepbidError], None],
        alarms: Alarms,
    ) -> None:
        self.settings = settings
        # An eighth of the queue at once, so that a slow disk gets few long gaps and not many short ones.
        self.queue = EventQueue(
            settings.capacity, capacity_s=settings.capacity_s, cause="sink", drop_count=max(1, settings.capacity // 8)
        )
        self.latency = LatencyHistogram()
        """Time that the sink needs for a frame."""
        self.thread = WorkerThread(f"sink {settings.name}", self._work, self._fail)
        self.busy_since_s: float | None = None
        """Monotonic time at which the present call of the sink began; None when no call is running. From any thread."""
        self.given = self.taken = 0
        """Frames that came out of the queue, and those of them that the sink took."""
        self._delivered = delivered
        self._report_failure = failed
        self._alarms = alarms
        self._back_off = BackOff(settings.retry_s)
        self._info: StreamInfo | None = None  # of the running series
        self._down = False  # after a failure, until `start` has worked
        self._failing = False  # after a failure, until a frame was taken
        self._missed: list[Event] = []  # gaps that the sink has not been told of
        self._offered: Frame | None = None  # the frame that the sink has been given and not taken

    @property
    def lost(self) -> int:
        """Frames that the sink did not take: dropped from its queue, or given while it had failed."""
        return self.queue.lost + self.given - self.taken - (self._offered is not None)

    def _work(self) -> None:
        while True:
            try:
                event = self.queue.get(self._back_off.remaining_s if self._down and self._info else None)
            except QueueClosed:
                return
            if isinstance(event, StreamInfo):
                self._info, self._down = event, False
                self._missed.clear()
                self._call(self.settings.sink.start, event)
            elif self._down:
                self._pass_over(event)
                if self._info and not self._back_off.remaining_s:
                    self._start_again(self._info)
            elif isinstance(event, Frame):
                self._give(event)
            elif isinstance(event, Gap):
                self._call(self.settings.sink.skip, event)
            elif isinstance(event, StreamEnd):
                self._info = None
                self._call(self.settings.sink.end, event)

    def _give(self, frame: Frame) -> None:
        begun_ns = time.time_ns()
        self._offered = frame
        self.given += 1
        self._call(self.settings.sink.put, frame)
        self._offered = None
        self.taken += 1
        self.latency.add(time.time_ns() - begun_ns)
        if self._failing:
            self._failing = False
            self._alarms.clear(self.settings.name)
        self._delivered(self, frame)

    def _pass_over(self, event: Event | None) -> None:
        """Note what the sink misses while it is down."""
        if isinstance(event, Frame):
            self.given += 1
            append_gap(self._missed, Gap(event.index, 1, "sink"))
        elif isinstance(event, Gap):
            append_gap(self._missed, event)
        elif isinstance(event, StreamEnd):
            self._info = None

    def _start_again(self, info: StreamInfo) -> None:
        self._call(self.settings.sink.start, info)
        self._down = False
        while self._missed:
            gap = self._missed[0]
            if isinstance(gap, Gap):
                self._call(self.settings.sink.skip, gap)
            del self._missed[0]

    def _call(self, method: Callable[[Any], None], argument: Event) -> None:
        self.busy_since_s = time.monotonic()
        try:
            method(argument)
        finally:
            self.busy_since_s = None

    def _fail(self, error: BaseException) -> None:
        name = self.settings.name
        self._down = self._failing = True
        if self._offered is not None:
            append_gap(self._missed, Gap(self._offered.index, 1, "sink"))
            self._offered = None
        self._back_off.failed()
        failure = failure_of(name, error)
        self._report_failure(failure)
        self._alarms.set(name, "sink", f"{name} has failed and is tried again; frames are missing from it: {failure}")


def failure_of(stage: str, error: BaseException) -> DeepbidError:
    """Return the error of a part of the session as one of our own; an unexpected one becomes its cause."""
    if isinstance(error, DeepbidError):
        return error
    failure = StageError(
        f"{stage} raised {type(error).__name__} ({error})",
        expected="it to run through the session",
        todo="see the log; everything else went on",
    )
    failure.__cause__ = error
    return failure
