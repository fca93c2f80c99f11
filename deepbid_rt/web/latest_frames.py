"""What the page shows: the newest pair of raw and denoised frame, and the last minute in points.

Two taps take frames from the pipeline; both return at once, whoever watches. Thread-safe; knows no server.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.scan.directions import Merge
from deepbid_rt.web.trace import Point, Trace

MOST_PLANES = 16
"""Planes of which the newest frame is kept; others are not shown."""
_WAITING_FRAMES = 64
_WAITING_BYTES = 2**27


@dataclass(frozen=True)
class Pair:
    """A raw frame and what became of it."""

    serial: int
    """Rises with every pair of a session."""
    info: StreamInfo
    """The raw series."""
    raw: Frame
    denoised: Frame


class LatestFrames:
    """Keeps what is newest.

    Parameters
    ----------
    merge : {"mean", "forward", "backward", "interleave"}
        How the denoised frames were merged, so that raw ones can be shown likewise.
    clock_ns : callable
        Nanoseconds since the Unix epoch.
    """

    def __init__(self, merge: Merge = "mean", *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.merge: Merge = merge
        self.raw = FrameTap(self._raw_starts, self._take_raw)
        """A `Sink` for raw frames."""
        self.denoised = FrameTap(self._denoised_starts, self._take_denoised)
        """A `Sink` for denoised frames."""
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._trace = Trace()
        self._raw_info: StreamInfo | None = None
        self._info: StreamInfo | None = None
        self._waiting: OrderedDict[int, Frame] = OrderedDict()  # raw frames whose answer has not come
        self._answers: OrderedDict[int, Frame] = OrderedDict()  # and answers that came before their raw frame
        self._pairs: dict[int, Pair] = {}
        self._serial = 0

    @property
    def info(self) -> StreamInfo | None:
        """The denoised series; None before the first."""
        with self._lock:
            return self._info

    def pair(self, plane: int) -> Pair | None:
        """Return the newest pair of a plane; None before the first."""
        with self._lock:
            return self._pairs.get(plane)

    def points(self, after: int) -> list[Point]:
        """Return the points of the last minute that came after number `after`."""
        with self._lock:
            return list(self._trace.since(after))

    def _raw_starts(self, info: StreamInfo) -> None:
        with self._lock:
            self._raw_info = info
            self._forget()

    def _denoised_starts(self, info: StreamInfo) -> None:
        with self._lock:
            self._info = info
            if self._raw_info is None or info.parent != self._raw_info.series:
                self._forget()

    def _forget(self) -> None:
        self._waiting.clear()
        self._answers.clear()
        self._pairs.clear()

    def _take_raw(self, frame: Frame) -> None:
        with self._lock:
            if frame.index in self._answers:
                self._join(frame, self._answers[frame.index])
                return
            self._waiting[frame.index] = frame
            self._bound(self._waiting)

    def _take_denoised(self, frame: Frame) -> None:
        now_ns = self._clock_ns()
        sent_ns = frame.t_ns or frame.arrived_ns
        with self._lock:
            self._trace.add(now_ns / 1e9, (now_ns - sent_ns) / 1e6 if sent_ns else None, frame.motion)
            while self._waiting and next(iter(self._waiting)) < frame.index:
                self._waiting.popitem(last=False)
            if frame.index in self._waiting:
                self._join(self._waiting.pop(frame.index), frame)
            else:
                self._answers[frame.index] = frame
                self._bound(self._answers)

    def _join(self, raw: Frame, denoised: Frame) -> None:
        while self._answers and next(iter(self._answers)) <= denoised.index:
            self._answers.popitem(last=False)
        # Two threads bring the frames: what is older than the pair shown, or of another series, is no news.
        shown = self._pairs.get(denoised.plane)
        info, made = self._raw_info, self._info
        if info is None or made is None or made.parent != info.series or denoised.plane >= MOST_PLANES:
            return
        if shown is None or shown.denoised.index < denoised.index:
            self._serial += 1
            self._pairs[denoised.plane] = Pair(self._serial, info, raw, denoised)

    def _bound(self, frames: OrderedDict[int, Frame]) -> None:
        limit = min(_WAITING_FRAMES, max(2, _WAITING_BYTES // max(1, frames[next(reversed(frames))].pixels.nbytes)))
        while len(frames) > limit:
            frames.popitem(last=False)


class FrameTap:
    """A `Sink` that hands starts and frames to a board, and nothing else."""

    def __init__(self, start: Callable[[StreamInfo], None], put: Callable[[Frame], None]) -> None:
        self._start, self._put = start, put

    def start(self, info: StreamInfo) -> None:
        """Begin a series."""
        self._start(info)

    def put(self, frame: Frame) -> None:
        """Take one frame; its pixels are kept, not copied."""
        self._put(frame)

    def skip(self, gap: Gap) -> None:
        """Do nothing: gaps are counted by the session."""

    def end(self, end: StreamEnd) -> None:
        """Keep showing the last frames."""

    def close(self) -> None:
        """Do nothing."""
