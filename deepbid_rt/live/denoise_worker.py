"""The denoising thread: takes raw events from a queue and delivers denoised events.

One thread owns all state here. Other threads only read the counters.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.frame import Event, Frame, Gap, StreamInfo
from deepbid_rt.live.event_queue import EventQueue, QueueClosed
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.motion_stats import MotionStats


class DenoiseWorker:
    """Denoises the events of a queue, one series after the other.

    Parameters
    ----------
    queue : EventQueue
        Raw events. The pipeline closes it; the worker discards its contents when something raises.
    make_denoiser : callable
        Called with the `StreamInfo` of each series; returns its `Denoiser`.
    deliver : callable
        Called with each denoised event, in order.
    """

    def __init__(
        self,
        queue: EventQueue,
        make_denoiser: Callable[[StreamInfo], Denoiser],
        deliver: Callable[[Event], None],
    ) -> None:
        self._queue = queue
        self._make_denoiser = make_denoiser
        self._deliver = deliver
        self._denoiser: Denoiser | None = None
        self._pushed_ns: dict[int, int] = {}
        self._waiting_gaps: deque[Gap] = deque()
        self.latency = {name: LatencyHistogram() for name in ("transport", "queue", "engine")}
        self.motion = MotionStats()
        self.frames_out = 0
        self.first_ns = 0
        """Time at which the first frame was pushed, nanoseconds since the Unix epoch; 0 before."""
        self.last_ns = 0
        """Time at which the latest frame came out, nanoseconds since the Unix epoch; 0 before."""
        self.lost = 0
        """Frames taken from the queue that will never come out; 0 until `run` has returned."""

    def run(self) -> None:
        """Work until the queue is closed and empty. Exceptions of the denoiser and of `deliver` pass through."""
        frames_in = 0
        try:
            while True:
                event = self._queue.get()
                frames_in += isinstance(event, Frame)
                if event is not None:
                    self._handle(event)
        except QueueClosed:
            return
        except BaseException:
            self._queue.discard()
            raise
        finally:
            self.lost = frames_in - self.frames_out

    def _handle(self, event: Event) -> None:
        if isinstance(event, StreamInfo):
            self._denoiser = self._make_denoiser(event)
            self._pushed_ns.clear()
            self._deliver(self._denoiser.info)
        elif self._denoiser is None:
            return  # the start of its series was lost, so the frame counts as lost
        elif isinstance(event, Frame):
            self._pushed_ns[event.index] = now = time.time_ns()
            self.first_ns = self.first_ns or now
            self.latency["queue"].add(now - (event.arrived_ns or now))
            self.latency["transport"].add(event.arrived_ns - (event.t_ns or event.arrived_ns))
            self._deliver_frames(self._denoiser.push(event))
        elif isinstance(event, Gap):
            self._waiting_gaps.append(event)
            self._deliver_frames(self._denoiser.skip(event.count))
            if not self._denoiser.inside:
                self._deliver_gaps()
        else:
            self._deliver_frames(self._denoiser.flush())
            self._deliver_gaps()
            self._deliver(event)
            self._denoiser = None

    def _deliver_frames(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._deliver_gaps(before=frame.index)
            self.frames_out += 1
            self.last_ns = time.time_ns()
            self.latency["engine"].add(self.last_ns - self._pushed_ns.pop(frame.index))
            if frame.motion is not None:
                self.motion.add(frame.motion)
            frame.pixels.flags.writeable = False  # all sinks share the array: none may change what another records
            self._deliver(frame)

    def _deliver_gaps(self, before: float = math.inf) -> None:
        """Deliver the gaps before frame number `before`. A bridged gap waits for the frames that precede it."""
        while self._waiting_gaps and self._waiting_gaps[0].first < before:
            self._deliver(self._waiting_gaps.popleft())
