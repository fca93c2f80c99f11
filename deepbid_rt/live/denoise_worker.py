"""The work of the denoising thread: events from a mailbox through the denoiser of their series.

One thread owns everything here; others only read the counters.
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
    """Takes events in, and hands denoised events on.

    Parameters
    ----------
    inbox : EventQueue
        Of raw events; closed by the pipeline, or thrown away here when something raises.
    make_denoiser : callable
        Called with each series' `StreamInfo`.
    hand_on : callable
        Called with each denoised event, in order.
    """

    def __init__(
        self,
        inbox: EventQueue,
        make_denoiser: Callable[[StreamInfo], Denoiser],
        hand_on: Callable[[Event], None],
    ) -> None:
        self._inbox = inbox
        self._make_denoiser = make_denoiser
        self._hand_on = hand_on
        self._denoiser: Denoiser | None = None
        self._started_ns: dict[int, int] = {}
        self._held_gaps: deque[Gap] = deque()
        self.latency = {name: LatencyHistogram() for name in ("transport", "queue", "engine")}
        self.motion = MotionStats()
        self.frames_out = 0
        self.first_ns = 0
        """When the first frame was taken, nanoseconds since the Unix epoch; 0 before."""
        self.last_ns = 0
        """When the latest frame came out, likewise."""
        self.lost = 0
        """Frames taken in that will never come out; known once `run` has returned."""

    def run(self) -> None:
        """Work until the inbox is closed and empty. What the denoiser or `hand_on` raises goes through."""
        taken = 0
        try:
            while True:
                event = self._inbox.get()
                taken += isinstance(event, Frame)
                if event is not None:
                    self._take(event)
        except QueueClosed:
            return
        except BaseException:
            self._inbox.abandon()
            raise
        finally:
            self.lost = taken - self.frames_out

    def _take(self, event: Event) -> None:
        if isinstance(event, StreamInfo):
            self._denoiser = self._make_denoiser(event)
            self._started_ns.clear()
            self._hand_on(self._denoiser.info)
        elif self._denoiser is None:
            return  # of a series whose beginning was lost: counted as taken and never out
        elif isinstance(event, Frame):
            self._started_ns[event.index] = now = time.time_ns()
            self.first_ns = self.first_ns or now
            self.latency["queue"].add(now - (event.arrived_ns or now))
            self.latency["transport"].add(event.arrived_ns - (event.t_ns or event.arrived_ns))
            self._emit(self._denoiser.push(event))
        elif isinstance(event, Gap):
            self._held_gaps.append(event)
            self._emit(self._denoiser.skip(event.count))
            if not self._denoiser.inside:
                self._pass_gaps()
        else:
            self._emit(self._denoiser.flush())
            self._pass_gaps()
            self._hand_on(event)
            self._denoiser = None

    def _emit(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._pass_gaps(before=frame.index)
            self.frames_out += 1
            self.last_ns = time.time_ns()
            self.latency["engine"].add(self.last_ns - self._started_ns.pop(frame.index))
            if frame.motion is not None:
                self.motion.add(frame.motion)
            self._hand_on(frame)

    def _pass_gaps(self, before: float = math.inf) -> None:
        """Hand on the gaps that come before frame number `before`; a bridged gap waits for the frames before it."""
        while self._held_gaps and self._held_gaps[0].first < before:
            self._hand_on(self._held_gaps.popleft())
