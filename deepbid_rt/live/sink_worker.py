"""A sink at work: its settings, its queue and its thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.live.event_queue import EventQueue, Overflow, QueueClosed
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.ports import Sink


@dataclass(frozen=True)
class SinkSettings:
    """A sink, its name in reports, and what happens when it is too slow."""

    name: str
    sink: Sink
    overflow: Overflow = Overflow.NEWEST
    capacity: int = 256
    """Largest number of frames waiting for this sink."""
    timed: bool = True
    """Whether the time that this sink needs for a frame is one of the latencies of the session."""


class SinkWorker:
    """Feeds one sink from a queue, in a thread of its own.

    Parameters
    ----------
    settings : SinkSettings
        The sink is used by this worker's thread alone; the pipeline closes it.
    delivered : callable
        Called with this worker and each frame that the sink has taken, in the worker's thread.
    failed : callable
        Called with the sink's name and the error when the sink raises; the worker's thread then ends.
    """

    def __init__(
        self,
        settings: SinkSettings,
        delivered: Callable[[SinkWorker, Frame], None],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self.settings = settings
        self.queue = EventQueue(settings.capacity, settings.overflow, reader=settings.name)
        self.latency = LatencyHistogram()
        """Time that the sink needs for a frame."""
        self.thread = threading.Thread(target=self._run, name=f"sink {settings.name}")
        self._delivered = delivered
        self._failed = failed
        self._failed_frames = 0

    @property
    def lost(self) -> int:
        """Frames that the sink did not take: dropped, refused, or the one at which it raised."""
        return self.queue.lost + self._failed_frames

    def _run(self) -> None:
        try:
            self._feed()
        except QueueClosed:
            return
        except BaseException as error:
            self.queue.discard()
            self._failed(self.settings.name, error)

    def _feed(self) -> None:
        sink = self.settings.sink
        while True:
            event = self.queue.get()
            if isinstance(event, Frame):
                begun_ns = time.time_ns()
                try:
                    sink.put(event)
                except BaseException:
                    self._failed_frames = 1
                    raise
                self.latency.add(time.time_ns() - begun_ns)
                self._delivered(self, event)
            elif isinstance(event, StreamInfo):
                sink.start(event)
            elif isinstance(event, Gap):
                sink.skip(event)
            elif isinstance(event, StreamEnd):
                sink.end(event)
