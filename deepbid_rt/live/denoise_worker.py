"""The denoising thread: takes raw events from a queue and delivers denoised events.

One thread owns all state here. Other threads only read the counters.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from deepbid_rt.errors import DeepbidError, StreamError
from deepbid_rt.frame import Event, Frame, Gap, StreamInfo
from deepbid_rt.live.event_queue import EventQueue, QueueClosed, append_gap
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.motion_stats import MotionStats
from deepbid_rt.live.safe_denoiser import ENGINE, SafeDenoiser
from deepbid_rt.live.sink_worker import failure_of
from deepbid_rt.live.worker_thread import WorkerThread

RECENT_FRAMES = 8
"""Frames whose durations say how long the engine will take for the next one."""
MARGIN = 1.2
"""Factor on the longest of these durations: delivery takes time too, and the next frame may take a little longer."""
REPAIR_WAIT_S = 5.0
"""Longest wait at the end of a series for an attempt to open the engine again."""


class DenoiseWorker:
    """Denoises the events of a queue, one series after the other, in a thread of its own.

    With `max_latency_s` it keeps to the present: a frame that would come out later than this after its arrival is
    skipped when newer ones wait, up to the newest of its plane. The skipped frames are delivered as gaps.

    Parameters
    ----------
    queue : EventQueue
        Raw events. The pipeline closes it.
    make_denoiser : callable
        Called with the `StreamInfo` of each series; returns its `SafeDenoiser`.
    deliver : callable
        Called with each denoised event, in order.
    failed : callable
        Called with an unexpected error of this worker itself; it then goes on with the next event.
    transport_ns : callable
        Returns the nanoseconds that a frame took to arrive; None when they are unknown.
    max_latency_s : float or None
        Seconds; None denoises every frame, however late.
    """

    def __init__(
        self,
        queue: EventQueue,
        make_denoiser: Callable[[StreamInfo], SafeDenoiser],
        deliver: Callable[[Event], None],
        failed: Callable[[DeepbidError], None],
        *,
        transport_ns: Callable[[Frame], int | None],
        max_latency_s: float | None = None,
    ) -> None:
        self._queue = queue
        self._make_denoiser = make_denoiser
        self._deliver = deliver
        self._transport_ns = transport_ns
        self._max_latency_s = max_latency_s
        self._denoiser: SafeDenoiser | None = None
        self._planes = 1
        self._pushed_ns: dict[int, int] = {}  # of the frames inside, by their index
        self._waiting_gaps: deque[Event] = deque()
        self._skip_left = 0
        self._engine_ns: deque[int] = deque(maxlen=RECENT_FRAMES)
        self.thread = WorkerThread("denoise", self._work, lambda error: failed(failure_of(ENGINE, error)))
        self.latency = {name: LatencyHistogram() for name in ("transport", "queue", "engine")}
        self.motion = MotionStats()
        self.live_since_ns = 0
        """Frames that arrived before this time are from a recording, not live; they are never skipped."""
        self.frames_in = self.frames_out = 0
        """Frames taken from the queue, and frames delivered."""
        self.skipped = 0
        self.lost = 0
        """Frames taken from the queue that will never come out, except the skipped ones."""
        self.last_skip_s = -math.inf
        """Monotonic time of the latest skipped frame."""
        self.first_ns = 0
        """Time at which the first frame was pushed, nanoseconds since the Unix epoch; 0 before."""
        self.last_ns = 0
        """Time at which the latest frame came out, nanoseconds since the Unix epoch; 0 before."""
        self.busy_since_s: float | None = None
        """Monotonic time since which the denoiser works on one event; None while it waits."""

    @property
    def inside(self) -> int:
        """Frames inside the denoiser."""
        return len(self._pushed_ns)

    def _work(self) -> None:
        while True:
            try:
                event = self._queue.get()
            except QueueClosed:
                self._forget()
                return
            if event is not None:
                self.frames_in += isinstance(event, Frame)
                self.busy_since_s = time.monotonic()
                try:
                    self._handle(event)
                finally:
                    self.busy_since_s = None

    def _handle(self, event: Event) -> None:
        if isinstance(event, StreamInfo):
            self._forget()
            self._planes = event.planes
            self._denoiser = self._make_denoiser(event)
            self._deliver(self._denoiser.info)
        elif self._denoiser is None:
            self.lost += isinstance(event, Frame)  # the start of its series was left out
        elif isinstance(event, Frame):
            if self._skips(event):
                self._skip(event, self._denoiser)
            else:
                self._push(event, self._denoiser)
        elif isinstance(event, Gap):
            self._pass_gap(event, self._denoiser.skip(event.count))
        else:
            self._deliver_frames(self._denoiser.flush())
            self._deliver_gaps()
            self._deliver(event)
            self._forget()

    def _forget(self) -> None:
        """Forget the series; frames still inside it are lost."""
        self.lost += len(self._pushed_ns)
        self._pushed_ns.clear()
        self._waiting_gaps.clear()
        self._skip_left = 0
        if self._denoiser:
            self._denoiser.close(REPAIR_WAIT_S)
        self._denoiser = None

    def _skips(self, frame: Frame) -> bool:
        """Tell whether to skip this frame. Whole rounds of planes are skipped, so that no plane starves."""
        if self._skip_left == 0 and self._max_latency_s is not None and frame.arrived_ns >= self.live_since_ns > 0:
            expected_ns = time.time_ns() - frame.arrived_ns + MARGIN * max(self._engine_ns, default=0)
            if expected_ns > self._max_latency_s * 1e9:
                self._skip_left = self._queue.frames // self._planes * self._planes
        if self._skip_left == 0:
            return False
        self._skip_left -= 1
        return True

    def _skip(self, frame: Frame, denoiser: SafeDenoiser) -> None:
        self.skipped += 1
        self.last_skip_s = time.monotonic()
        self._pass_gap(Gap(frame.index, 1, "skipped"), denoiser.leave_out(1))

    def _push(self, frame: Frame, denoiser: SafeDenoiser) -> None:
        now = time.time_ns()
        self.first_ns = self.first_ns or now
        self.latency["queue"].add(now - (frame.arrived_ns or now))
        transport_ns = self._transport_ns(frame)
        if transport_ns is not None:
            self.latency["transport"].add(transport_ns)
        self._pushed_ns[frame.index] = now
        try:
            done = denoiser.push(frame)
        except StreamError:
            del self._pushed_ns[frame.index]
            self.lost += 1
            self._pass_gap(Gap(frame.index, 1, "engine"), [])
            raise
        self._engine_ns.append(time.time_ns() - now)
        self._deliver_frames(done)

    def _pass_gap(self, gap: Gap, done: list[Frame]) -> None:
        """Deliver the frames that the gap made ready, and the gap when all frames before it are out."""
        append_gap(self._waiting_gaps, gap)
        self._deliver_frames(done)
        if not self.inside:
            self._deliver_gaps()

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
        while self._waiting_gaps and isinstance(gap := self._waiting_gaps[0], Gap) and gap.first < before:
            self._deliver(gap)
            del self._waiting_gaps[0]
