"""One way out of the pipeline: a sink, its mailbox and its thread."""

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
    """A sink and what to do when it is too slow."""

    name: str
    sink: Sink
    overflow: Overflow = Overflow.NEWEST
    capacity: int = 256
    """Most frames waiting for this sink."""
    timed: bool = True
    """Whether the time that frames spend here is one of the latencies of a session."""


class SinkWorker:
    """An outlet at work.

    Parameters
    ----------
    outlet : SinkSettings
        The sink is used by this branch's thread alone, but closed by the pipeline.
    delivered : callable
        Called with this branch and each frame that the sink took, in the branch's thread.
    failed : callable
        Called with the outlet's name and the error when the sink raised; the branch's thread then ends.
    """

    def __init__(
        self,
        outlet: SinkSettings,
        delivered: Callable[[SinkWorker, Frame], None],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self.outlet = outlet
        self.box = EventQueue(outlet.capacity, outlet.overflow, owner=outlet.name)
        self.taken = LatencyHistogram()
        self.thread = threading.Thread(target=self._run, name=f"sink {outlet.name}")
        self._delivered = delivered
        self._failed = failed
        self._broken = 0

    @property
    def lost(self) -> int:
        """Frames that the sink did not take: given up, refused, or the one at which it raised."""
        return self.box.lost + self._broken

    def _run(self) -> None:
        try:
            self._drain()
        except QueueClosed:
            return
        except BaseException as error:
            self.box.abandon()
            self._failed(self.outlet.name, error)

    def _drain(self) -> None:
        sink = self.outlet.sink
        while True:
            event = self.box.get()
            if isinstance(event, Frame):
                begun_ns = time.time_ns()
                try:
                    sink.put(event)
                except BaseException:
                    self._broken = 1
                    raise
                self.taken.add(time.time_ns() - begun_ns)
                self._delivered(self, event)
            elif isinstance(event, StreamInfo):
                sink.start(event)
            elif isinstance(event, Gap):
                sink.skip(event)
            elif isinstance(event, StreamEnd):
                sink.end(event)
