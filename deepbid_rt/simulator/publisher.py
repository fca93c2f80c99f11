"""Plays a source into a sink at its true rate, with the faults of a bad day for rehearsal.

Knows nothing of sockets or files: any `FrameSource` goes into any `Sink`, on any clock.
"""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.ports import FrameSource, Sink
from deepbid_rt.simulator.pacer import Pacer

_POLL_S = 0.1
"""How long a quiet source may hold up the answer to a stop."""


@runtime_checkable
class LossySink(Sink, Protocol):
    """A sink that can lose a frame as a network would: receivers see that something was sent and never came."""

    def drop(self, frame: Frame) -> None:
        """Use up the frame's place on the wire without sending it."""
        ...


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on purpose."""

    drop: float = 0.0
    """Probability that a frame is lost on the wire."""
    jitter_ms: float = 0.0
    """Each frame is late by a random time up to this; lateness does not add up, and frames stay in order."""
    restart: int | None = None
    """Frames after which the series ends and a new one begins, with a new id and numbers from 0."""
    seed: int = 0
    """Draws which frames are lost or late."""

    def __post_init__(self) -> None:
        if not (0 <= self.drop <= 1 and self.jitter_ms >= 0 and (self.restart is None or self.restart >= 1)):
            raise StreamError(
                f"faults of drop {self.drop}, jitter {self.jitter_ms} ms and restart {self.restart}",
                expected="drop in 0..1, jitter of at least 0 ms and a restart after at least 1 frame",
                todo="correct the option",
            )


@dataclass(frozen=True, slots=True)
class PublishSummary:
    """What a `Publisher` did."""

    sent: int
    """Frames given to the sink."""
    dropped: int
    """Frames lost on purpose."""
    series: tuple[str, ...]
    """Identities of the series that were begun."""
    rate_hz: float
    """Frames per second that were reached, lost ones counted; 0 for fewer than two frames."""
    slipped_s: float
    """Time by which source or sink held up the schedule beyond repair, seconds."""


class Publisher:
    """Plays a source into a sink, once or several times over.

    The source is opened and closed here; the sink stays open for its owner to close.

    Parameters
    ----------
    source : FrameSource
        Played up to its first `StreamEnd`; opened again for each further round.
    sink : Sink
        Loses frames by `LossySink.drop` where it has it; otherwise lost frames are left out silently.
    rate_hz : float, optional
        Frames per second; the source's own rate when left out.
    rounds : int
        How often the source is played; frame numbers go on from round to round.
    faults : Faults
        What goes wrong on purpose.
    stop : threading.Event, optional
        Ends the stream with reason ``abort`` soon after it is set.
    clock, sleep, wall_ns : callable, optional
        Monotonic seconds, waiting (by default until the time is up or `stop` is set), and nanoseconds since the
        Unix epoch.
    """

    def __init__(
        self,
        source: FrameSource,
        sink: Sink,
        *,
        rate_hz: float | None = None,
        rounds: int = 1,
        faults: Faults | None = None,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._source, self._sink = source, sink
        self._rate_hz, self._rounds = rate_hz, rounds
        self._faults = faults or Faults()
        self._stop = stop or threading.Event()
        self._clock, self._wall_ns = clock, wall_ns
        self._sleep = sleep or self._stop.wait
        self._rng = np.random.default_rng(self._faults.seed)
        self._info: StreamInfo | None = None
        self._pacer: Pacer | None = None
        self._series: list[str] = []
        self._shift: int | None = None
        self._next = self._in_series = self._sent = self._dropped = 0
        self._first_s = self._last_s = 0.0

    def run(self) -> PublishSummary:
        """Play everything, or until stopped. Errors of the source and the sink go through."""
        reason = "done"
        for _ in range(self._rounds):
            self._shift = None
            self._source.open()
            try:
                reason = self._play()
            finally:
                self._source.close()
            if self._stop.is_set():
                break
        if self._info is not None:
            self._sink.end(StreamEnd(reason))
        paced, span_s = self._sent + self._dropped - 1, self._last_s - self._first_s
        return PublishSummary(
            sent=self._sent,
            dropped=self._dropped,
            series=tuple(self._series),
            rate_hz=paced / span_s if span_s > 0 else 0.0,
            slipped_s=self._pacer.slipped_s if self._pacer is not None else 0.0,
        )

    def _play(self) -> str:
        """Play one round; returns why it ended."""
        while not self._stop.is_set():
            match self._source.read(_POLL_S):
                case StreamInfo() as info:
                    self._begin(info)
                case Frame() as frame:
                    self._publish(frame)
                case Gap() as gap:
                    self._sink.skip(dataclasses.replace(gap, first=self._renumber(gap.first, gap.count)))
                case StreamEnd(reason):
                    return reason
        return "abort"

    def _begin(self, info: StreamInfo) -> None:
        if self._info is not None:
            return
        rate_hz = self._rate_hz or info.rate_hz
        expected = info.n_expected if self._faults.restart is None else None
        expected = None if expected is None else expected * self._rounds
        self._info = dataclasses.replace(info, rate_hz=rate_hz, n_expected=expected)
        slack_s = 1.0 / rate_hz + self._faults.jitter_ms / 1e3
        self._pacer = Pacer(rate_hz, self._clock, self._sleep, slack_s)
        self._start(self._info)

    def _start(self, info: StreamInfo) -> None:
        self._info = info
        self._series.append(info.series)
        self._next = self._in_series = 0
        self._sink.start(info)

    def _publish(self, frame: Frame) -> None:
        if self._info is None or self._pacer is None:
            raise StreamError(
                f"frame {frame.index} before any description of its stream",
                expected="a source to hand out a StreamInfo first",
                todo="correct the source",
            )
        # A new series begins with a whole volume, so that numbers and planes keep step.
        if self._faults.restart is not None and self._in_series >= self._faults.restart and frame.plane == 0:
            self._sink.end(StreamEnd("done"))
            self._start(dataclasses.replace(self._info, series=uuid.uuid4().hex))
            self._shift = -frame.index
        index = self._renumber(frame.index, 1)
        # Both are drawn for every frame, so that asking for jitter does not change which frames are lost.
        late, luck = self._rng.random(2)
        self._last_s = self._pacer.wait(late * self._faults.jitter_ms / 1e3)
        if self._stop.is_set():
            return
        if self._sent + self._dropped == 0:
            self._first_s = self._last_s
        self._in_series += 1
        frame = dataclasses.replace(frame, index=index, t_ns=self._wall_ns())
        if luck < self._faults.drop:
            self._dropped += 1
            if isinstance(self._sink, LossySink):
                self._sink.drop(frame)
        else:
            self._sent += 1
            self._sink.put(frame)

    def _renumber(self, first: int, count: int) -> int:
        """Return the published number of the source's frame `first`, and note that `count` frames are used up."""
        if self._shift is None:
            planes = self._info.planes if self._info is not None else 1
            self._shift = -(-self._next // planes) * planes - first
        self._next = first + self._shift + count
        return first + self._shift
