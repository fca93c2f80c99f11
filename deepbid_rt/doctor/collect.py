"""Takes a sample of a recording or of a live stream; the only part of this folder that waits."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.doctor.sample import Sample, Stamps
from deepbid_rt.errors import StageError, StreamError
from deepbid_rt.frame import Frame, FrameFlag, Gap, StreamEnd, StreamInfo
from deepbid_rt.movies.movie_source import MovieSource
from deepbid_rt.ports import FrameSource
from deepbid_rt.wire.source_status import SourceStatus

MOST_FRAME_PIXELS = 2**21
"""Pixels of a frame, over all channels, that are kept: of larger frames only lines from the middle."""
MOST_PIXELS = 2**26
"""Pixels that are kept in all: 128 MB of 16 bits."""
MOST_FRAMES = 512
PLACES = 4
"""Parts of a long recording from which frames are taken."""
_POLL_S = 0.1


class LiveSource(FrameSource, Protocol):
    """A `FrameSource` that counts what it receives."""

    def status(self) -> SourceStatus:
        """Return state and counts."""
        ...


class _Collector:
    """Keeps pixels while there is room, and the stamps of every frame."""

    def __init__(self, info: StreamInfo) -> None:
        self.info = info
        channels, lines, pixels = info.shape
        most_lines = max(2, MOST_FRAME_PIXELS // (channels * pixels) // 2 * 2)
        kept_lines = min(lines, most_lines)
        self.first_line = (lines - kept_lines) // 2 // 2 * 2  # even: pairs of lines stay pairs
        self.lines = slice(self.first_line, self.first_line + kept_lines)
        self.room = max(2, min(MOST_FRAMES, MOST_PIXELS // (channels * kept_lines * pixels)))
        self.frames: list[NDArray[Any]] = []
        self.kept: list[tuple[int, int]] = []
        self.stamps: list[tuple[int, int, int, float]] = []
        self.missing = self.repeated = 0
        self._last: tuple[int, int] | None = None

    @property
    def full(self) -> bool:
        return len(self.frames) >= self.room

    def begin_run(self) -> None:
        """Frames are missing here, so that the next one is compared with none."""
        self._last = None

    def add(self, frame: Frame, index: int | None = None, acquired_s: float | None = None) -> None:
        number = frame.index if index is None else index
        time_s = frame.acquired_s if acquired_s is None else acquired_s
        self.stamps.append((number, frame.t_ns, frame.arrived_ns, np.nan if time_s is None else time_s))
        if frame.flags & (FrameFlag.FLYBACK | FrameFlag.INCOMPLETE):
            return
        digest = zlib.crc32(np.ascontiguousarray(frame.pixels).data)
        # A constant picture is a finding of its own. A sender's frame of a plane is compared with that of this plane.
        if self._last == (frame.plane, digest) and frame.pixels.min() != frame.pixels.max():
            self.repeated += 1
        self._last = frame.plane, digest
        if not self.full:
            self.frames.append(frame.pixels[:, self.lines].copy())
            self.kept.append((number, frame.plane))

    def sample(self, counted: Stamps, rate_known: bool = True, notes: tuple[str, ...] = ()) -> Sample:
        kept, stamped = np.array(self.kept, np.int64).reshape(-1, 2), self.stamps
        indices, sent, arrived = (np.array([row[i] for row in stamped], np.int64) for i in range(3))
        if self.lines.stop - self.lines.start < self.info.shape[1]:
            of = f"only lines {self.lines.start} to {self.lines.stop - 1} were looked at"
            notes = (*notes, f"the frames are large: {of}")
        return Sample(
            self.info,
            np.stack(self.frames),
            kept[:, 0],
            kept[:, 1],
            replace(
                counted,
                indices=indices,
                sent_ns=sent,
                arrived_ns=arrived,
                acquired_s=np.array([row[3] for row in stamped], np.float64),
                repeated=self.repeated,
            ),
            rate_known,
            notes,
            self.first_line,
        )


def from_recording(source: MovieSource) -> Sample:
    """Take frames from the beginning to the end of a recording.

    Parameters
    ----------
    source : MovieSource
        Opened, and closed by the caller.

    Returns
    -------
    Sample
        All frames of a short recording; runs of frames from `PLACES` places of a long one.

    Raises
    ------
    StageError
        When a frame cannot be read.
    """
    info, movie, facts = source.info, source.movie, source.facts
    if info is None or movie is None or facts is None:
        raise StageError(
            "a recording that is not open", expected="an open recording", todo="call open() before taking a sample"
        )
    collector = _Collector(info)
    count, planes = movie.shape[0], info.planes
    room = collector.room // planes * planes or planes
    starts = [0]
    length = min(count, room)
    if count > room:
        length = max(planes, room // PLACES // planes * planes)
        places = max(1, room // length)
        starts = [int(start) // planes * planes for start in np.linspace(0, count - length, places)]
    known = None if facts.numbers is None or len(facts.numbers) != count else np.asarray(facts.numbers, np.int64)
    times = facts.times_s if facts.times_s is not None and len(facts.times_s) == count else None
    missing = 0
    if known is not None and planes == 1 and bool(np.all(np.diff(known) > 0)):
        missing = int(known[-1] - known[0]) + 1 - count
    for start in starts:
        collector.begin_run()
        for i in range(start, min(start + length, count)):
            frame = Frame(i, movie.frame(i), plane=i % planes)
            number = int(known[i]) if missing and known is not None else i
            collector.add(frame, number, None if times is None else float(times[i]))
    notes = (*facts.warnings, *([f"the file is damaged: {movie.problem}"] if movie.problem else []))
    return collector.sample(Stamps(missing=missing, numbered=known is not None), facts.rate_hz is not None, notes)


def from_stream(
    source: LiveSource,
    address: str,
    seconds: float,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Sample:
    """Take all frames that a live stream sends within some seconds.

    Parameters
    ----------
    source : LiveSource
        Opened, and closed by the caller.
    address : str
        Its address, for messages.
    seconds : float
        Duration, from the first frame on.
    timeout_s : float
        Longest wait for the first frame.
    clock : callable
        Returns monotonic seconds.

    Returns
    -------
    Sample
        Of the latest series, if a new one began meanwhile.

    Raises
    ------
    StreamError
        When no frame came within `timeout_s`.
    """
    collector: _Collector | None = None
    latest: _Collector | None = None
    begun = clock()
    until = begun + timeout_s
    ended = False
    before: SourceStatus | None = None
    while clock() < until and not ended:
        event = source.read(min(_POLL_S, max(until - clock(), 0.001)))
        if isinstance(event, StreamInfo):
            latest = _Collector(event)
        elif isinstance(event, Frame) and latest is not None:
            if collector is None:
                until, before = clock() + seconds, source.status()
            collector = latest  # a series without frames does not replace one with frames
            collector.add(event)
        elif isinstance(event, Gap) and latest is not None and latest.stamps:
            latest.missing += event.count
        elif isinstance(event, StreamEnd):
            ended = collector is not None
    status = source.status()
    refused = _refused(status)
    if collector is None or before is None or not collector.frames:
        reason = f" ({status.problem})" if status.problem else ""
        came = f"{refused} messages that were refused, and no frame" if refused else "no frame"
        raise StreamError(
            f"{came} from {address} within {clock() - begun:.0f} s{reason}",
            expected="frames of a running acquisition",
            todo="start the acquisition, check the address, or wait longer with --timeout",
        )
    return collector.sample(
        Stamps(
            missing=collector.missing,
            duplicates=status.duplicates - before.duplicates,
            refused=refused - _refused(before),
            live=True,
        )
    )


def _refused(status: SourceStatus) -> int:
    """Return how many messages were refused; those do not count that come before a running stream is described."""
    frames = sum(count for cause, count in status.refused.items() if cause != "undescribed")
    return frames + sum(status.bad.values())
