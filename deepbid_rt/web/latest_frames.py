"""What the page shows: the newest pair of raw and denoised frame of each plane, and the last minute as a trace.

Two taps receive frames from the pipeline. Both return at once, however many browsers watch. Thread-safe.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from deepbid_rt.frame import Frame, FrameFlag, Gap, StreamEnd, StreamInfo
from deepbid_rt.live.clock_check import ClockCheck
from deepbid_rt.live.frame_pairing import FramePair, FramePairing
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.web.session_trace import SessionPoint, SessionTrace

MAX_PLANES = 16
"""Planes that are shown; bounds the memory, as the newest pair of each plane is kept."""
_MAX_WAITING_FRAMES = 64
_MAX_WAITING_BYTES = 2**27
"""Limits for the frames of each stream that wait for their counterparts."""


@dataclass(frozen=True)
class LatestPair:
    """A raw frame and its denoised frame."""

    serial: int
    """Number of the pair within the session; rises with every pair."""
    info: StreamInfo
    """The raw series."""
    raw: Frame
    denoised: Frame
    arrived_s: float
    """When the raw frame arrived at the session, monotonic seconds."""

    @property
    def not_denoised(self) -> bool:
        """True when the denoised frame holds raw pixels, because the engine had failed."""
        return FrameFlag.NOT_DENOISED in self.denoised.flags


class LatestFrames:
    """Keeps the newest pair of each plane, and the latency and motion of the last minute.

    Parameters
    ----------
    merge : {"mean", "forward", "backward", "interleave"}
        How the denoised frames were merged; the page merges raw frames in the same way.
    clock_ns : callable
        Returns nanoseconds since the Unix epoch.
    clock : callable
        Returns monotonic seconds.
    """

    def __init__(
        self,
        merge: MergeMode = "mean",
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.merge: MergeMode = merge
        self.raw = FrameTap(self._start_raw, self._push_raw)
        """A `Sink` for raw frames."""
        self.denoised = FrameTap(self._start_denoised, self._push_denoised)
        """A `Sink` for denoised frames."""
        self._clock_ns, self._clock = clock_ns, clock
        self._clock_check = ClockCheck()
        self._lock = threading.Lock()
        self._trace = SessionTrace()
        self._raw_info: StreamInfo | None = None
        self._info: StreamInfo | None = None
        self._pairing = FramePairing(_MAX_WAITING_FRAMES, _MAX_WAITING_FRAMES, _MAX_WAITING_BYTES)
        self._pairs: dict[int, LatestPair] = {}
        self._serial = 0

    @property
    def info(self) -> StreamInfo | None:
        """The denoised series; None before the first."""
        with self._lock:
            return self._info

    @property
    def waiting(self) -> tuple[int, int]:
        """Numbers of raw and of denoised frames that wait for their counterparts."""
        with self._lock:
            return self._pairing.waiting

    def pair(self, plane: int) -> LatestPair | None:
        """Return the newest pair of a plane; None before the first."""
        with self._lock:
            return self._pairs.get(plane)

    def age_ms(self, pair: LatestPair) -> float:
        """Return the time since a pair's raw frame arrived at the session, ms."""
        return (self._clock() - pair.arrived_s) * 1e3

    def now_s(self) -> float:
        """Return the monotonic seconds on which `LatestPair.arrived_s` is measured."""
        return self._clock()

    def points(self, after: int) -> list[SessionPoint]:
        """Return the points of the last minute whose serial is greater than `after`."""
        with self._lock:
            return list(self._trace.since(after))

    # The pipeline calls these from two threads, one for each stream. The two may run in different series for a while.

    def _start_raw(self, info: StreamInfo) -> None:
        with self._lock:
            self._raw_info = info
            self._clock_check = ClockCheck()
            self._reset()

    def _start_denoised(self, info: StreamInfo) -> None:
        with self._lock:
            self._info = info
            if self._same_series():
                self._pairing.reset_denoised()
            else:
                self._reset()

    def _push_raw(self, frame: Frame) -> None:
        with self._lock:
            self._clock_check.push(frame)
            self._show(self._pairing.push_raw(frame))

    def _push_denoised(self, frame: Frame) -> None:
        now_ns = self._clock_ns()
        with self._lock:
            known = 0 < frame.t_ns <= now_ns and self._clock_check.usable
            self._trace.add(now_ns / 1e9, (now_ns - frame.t_ns) / 1e6 if known else None, frame.motion)
            if self._same_series():
                self._show(self._pairing.push_denoised(frame))

    def _same_series(self) -> bool:
        """Return whether the denoised series was made from the raw series."""
        raw, denoised = self._raw_info, self._info
        return raw is not None and denoised is not None and denoised.parent == raw.series

    def _reset(self) -> None:
        self._pairing.reset_raw()
        self._pairing.reset_denoised()
        self._pairs.clear()

    def _show(self, pairs: Iterable[FramePair]) -> None:
        """Keep each pair that is complete as the newest of its plane."""
        for pair in pairs:
            raw, denoised, info = pair.raw, pair.denoised, self._raw_info
            if raw is not None and denoised is not None and info is not None and denoised.plane < MAX_PLANES:
                self._serial += 1
                self._pairs[denoised.plane] = LatestPair(self._serial, info, raw, denoised, self._arrived_s(raw))

    def _arrived_s(self, raw: Frame) -> float:
        """Return the monotonic time at which a raw frame arrived. One from a file arrives now.

        From here on only the monotonic clock counts, so that a picture ages steadily when the clock is set.
        """
        held_ns = self._clock_ns() - raw.arrived_ns if raw.arrived_ns else 0
        return self._clock() - max(0, held_ns) / 1e9


class FrameTap:
    """A `Sink` that hands the series and the frames it receives to two functions.

    Parameters
    ----------
    start : callable
        Called with each series that begins.
    put : callable
        Called with each frame; it may keep the frame.
    """

    def __init__(self, start: Callable[[StreamInfo], None], put: Callable[[Frame], None]) -> None:
        self._start, self._put = start, put

    def start(self, info: StreamInfo) -> None:
        """Begin a series."""
        self._start(info)

    def put(self, frame: Frame) -> None:
        """Take one frame; its pixels are kept, not copied."""
        self._put(frame)

    def skip(self, gap: Gap) -> None:
        """Do nothing: the session counts gaps."""

    def end(self, end: StreamEnd) -> None:
        """Do nothing: the last frames stay on the page."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
