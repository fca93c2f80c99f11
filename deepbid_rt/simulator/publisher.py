"""Plays any `FrameSource` into any `Sink` at its frame rate, optionally with simulated faults."""

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
"""Timeout of a read: the longest delay of a stop while the source has no frame."""


@runtime_checkable
class LossySink(Sink, Protocol):
    """A sink that can lose a frame as a network does: receivers notice that a message is missing."""

    def drop(self, frame: Frame) -> None:
        """Use the message number of this frame without sending it."""
        ...


@dataclass(frozen=True, slots=True)
class Faults:
    """Simulated faults."""

    drop: float = 0.0
    """Probability that a frame is lost on the wire."""
    jitter_ms: float = 0.0
    """Each frame is late by a random time up to this; delays do not add up, and frames stay in order."""
    restart: int | None = None
    """Frames after which the series ends and a new one begins, with a new id and frame numbers from 0."""
    seed: int = 0
    """Determines which frames are lost or late."""

    def __post_init__(self) -> None:
        if not (0 <= self.drop <= 1 and self.jitter_ms >= 0 and (self.restart is None or self.restart >= 1)):
            raise StreamError(
                f"faults of drop {self.drop}, jitter {self.jitter_ms} ms and restart {self.restart}",
                expected="drop in 0..1, jitter of at least 0 ms and a restart after at least 1 frame",
                todo="correct the option",
            )


@dataclass(frozen=True, slots=True)
class PublishSummary:
    """Result of `Publisher.run`."""

    sent: int
    """Frames given to the sink."""
    dropped: int
    """Frames lost as a simulated fault."""
    series: tuple[str, ...]
    """Ids of the series that were started."""
    rate_hz: float
    """Frames per second that were reached, including lost ones; 0 for fewer than two frames."""
    slipped_s: float
    """Delay by source or sink that was not made up for, seconds."""


class Publisher:
    """Plays a source into a sink, once or several times over.

    It opens and closes the source; the caller closes the sink.

    Parameters
    ----------
    source : FrameSource
        Played until its first `StreamEnd`; opened again for each further round.
    sink : Sink
        Loses frames by `LossySink.drop`; if it is no `LossySink`, lost frames are left out.
    rate_hz : float, optional
        Frames per second; the source's own rate by default.
    rounds : int
        How often the source is played; frame numbers continue from round to round.
    faults : Faults
        Simulated faults.
    stop : threading.Event, optional
        When set, ends the stream with reason ``abort``.
    clock, sleep, wall_ns : callable, optional
        Monotonic time in seconds; a wait for a number of seconds (by default, `stop` interrupts it); and nanoseconds
        since the Unix epoch.
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
        """Play all rounds, or until stopped. Exceptions of the source and the sink are not caught."""
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
        """Play one round; return why it ended."""
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
                expected="a source that returns a StreamInfo first",
                todo="correct the source",
            )
        # A new series starts with the first plane of a volume, so that frame numbers and planes stay in step.
        if self._faults.restart is not None and self._in_series >= self._faults.restart and frame.plane == 0:
            self._sink.end(StreamEnd("done"))
            self._start(dataclasses.replace(self._info, series=uuid.uuid4().hex))
            self._shift = -frame.index
        index = self._renumber(frame.index, 1)
        # Both are drawn for every frame, so that jitter does not change which frames are lost.
        late, chance = self._rng.random(2)
        self._last_s = self._pacer.wait(late * self._faults.jitter_ms / 1e3)
        if self._stop.is_set():
            return
        if self._sent + self._dropped == 0:
            self._first_s = self._last_s
        self._in_series += 1
        frame = dataclasses.replace(frame, index=index, t_ns=self._wall_ns())
        if chance < self._faults.drop:
            self._dropped += 1
            if isinstance(self._sink, LossySink):
                self._sink.drop(frame)
        else:
            self._sent += 1
            self._sink.put(frame)

    def _renumber(self, first: int, count: int) -> int:
        """Return the published number of the source's frame `first`, and reserve `count` numbers."""
        if self._shift is None:
            planes = self._info.planes if self._info is not None else 1
            self._shift = -(-self._next // planes) * planes - first
        self._next = first + self._shift + count
        return first + self._shift
