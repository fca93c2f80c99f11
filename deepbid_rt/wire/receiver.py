"""Turns received messages into events: follows one stream, finds missing frames, and counts.

It has no socket, thread or clock: its owner passes each message, and the time, to `Receiver.push`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from deepbid_rt.errors import StreamError, WireError
from deepbid_rt.frame import Frame, GapCause, Layout, StreamEnd, StreamInfo
from deepbid_rt.wire.codec import Part, decode
from deepbid_rt.wire.message import BeatMessage, EndMessage, FrameMessage, Message, NoteMessage, StartMessage
from deepbid_rt.wire.receive_ring import ReceiveRing
from deepbid_rt.wire.series import Series
from deepbid_rt.wire.source_status import RefusalCause, SourceState, SourceStatus

log = logging.getLogger(__name__)

_KEPT_DESCRIPTIONS = 8
"""Descriptions of series that are kept for frames that belong to one of them; enough for a sender and its restarts."""
_MAX_RESUMPTIONS = 8
"""How often frames of one series may return to an earlier description. Each time is a series of its own for readers, so
a sender that keeps alternating must not go on for ever."""


class Receiver:
    """Decodes and follows the messages of one sender. `push` is for one thread; `status` for any.

    A jump of ``seq`` is a loss on the wire. A jump of ``fn`` beyond it is a loss at the source. When either goes back,
    or the series identifier changes, a new series has begun. A beat announces the series to a late receiver and
    reveals losses at the end of what was sent.

    Frames decide which description holds. A beat that describes the running series differently is counted as bad and
    changes nothing, unless frames of that description follow; then a new series begins. So does one when frames go on
    after the end of their series. A frame that fits no known description is refused and counted, and the next frame
    that fits continues.

    Parameters
    ----------
    ring : ReceiveRing
        Receives the events.
    default_layout : Layout or None
        Scan layout of streams that do not state one; with None they are refused.
    stall_s : float
        The state becomes ``stalled`` after so many seconds without a frame, and not before 5 frame periods.
    lost_s : float
        The state becomes ``lost`` after so many seconds without any message.
    """

    def __init__(
        self, ring: ReceiveRing, *, default_layout: Layout | None = None, stall_s: float = 0.5, lost_s: float = 3.0
    ) -> None:
        self._ring = ring
        self._default_layout = default_layout
        self._stall_s = stall_s
        self._lost_s = lost_s
        self._series: Series | None = None
        self._last_sid = ""
        self._restarts = 0
        self._message_s = self._frame_s = 0.0
        self._received = self._resumptions = 0
        self._undescribed_s: float | None = None  # when the latest frame without a description arrived
        self._descriptions: dict[tuple[str, str], StreamInfo] = {}  # the latest ones, by series identifier and hash
        self._ended: Series | None = None
        self._refused: dict[RefusalCause, int] = {"undescribed": 0, "mismatched": 0, "late": 0}
        self._lost: dict[GapCause, int] = {"source": 0, "transport": 0}
        self._bad: dict[str, int] = {}
        self._sender_status: Mapping[str, Any] = {}

    def push(self, parts: Sequence[Part], *, now_s: float, now_ns: int) -> None:
        """Decode one message and put the resulting events into the ring. A message that is not valid is counted.

        Parameters
        ----------
        parts : sequence of buffers
            The received parts; not used after the call.
        now_s : float
            Monotonic time in seconds, for the state.
        now_ns : int
            Nanoseconds since the Unix epoch, for `Frame.arrived_ns`.
        """
        try:
            message = decode(parts, default_layout=self._default_layout, arrived_ns=now_ns)
            self._check(message, now_s)
        except WireError as error:
            self._refuse(error)
            return
        self._message_s = now_s
        match message:
            case StartMessage():
                self._on_start(message, now_s)
            case FrameMessage():
                self._on_frame(message, now_s)
            case BeatMessage():
                self._on_beat(message, now_s)
            case EndMessage():
                self._on_end(message)
            case NoteMessage():
                self._on_note(message)

    def status(self, now_s: float) -> SourceStatus:
        """Return state and counts at the monotonic time `now_s`."""
        return SourceStatus(
            state=self._state(now_s),
            received=self._received,
            lost={**self._lost, "ring": self._ring.lost},
            bad=dict(self._bad),
            refused=dict(self._refused),
            unread=self._ring.unread,
            sender=self._sender_status,
        )

    def _state(self, now_s: float) -> SourceState:
        series = self._series
        if series is None:
            if self._undescribed_s is not None and now_s - self._undescribed_s < self._lost_s:
                return "undescribed"
            return "ended" if self._last_sid else "waiting"
        if now_s - self._message_s >= self._lost_s:
            return "lost"
        if now_s - self._frame_s > max(5 / series.info.rate_hz, self._stall_s):
            return "stalled"
        return "live"

    def _check(self, message: Message, now_s: float) -> None:
        """Raise `WireError` for faults that `decode` cannot see: of the running series and the size of the ring."""
        if isinstance(message, StartMessage | BeatMessage) and message.info.frame_bytes > self._ring.max_frame_bytes:
            raise WireError(
                "frame-size",
                f"a series with frames of {message.info.frame_bytes} bytes",
                expected=f"at most {self._ring.max_frame_bytes}",
                todo="give the source a larger ring",
            )
        series = self._series
        if series is None or now_s - self._message_s >= self._lost_s:
            return
        if (message.role, message.source) != (series.role, series.info.source):
            raise WireError(
                "sender",
                f"a message of {message.role}/{message.source} among those of {series.role}/{series.info.source}",
                expected="one sender",
                todo="subscribe to the topic of a single sender",
            )
        if (
            message.sid == series.sid
            and message.hh != series.hh
            and not isinstance(message, StartMessage | BeatMessage)
            and not self._may_resume(message)
        ):
            if isinstance(message, FrameMessage):
                self._refused["mismatched"] += 1
            raise WireError(
                "hash",
                f"hh = {message.hh} in series {message.sid}",
                expected=f"{series.hh}, the hash of its start body",
                todo="let the sender begin a new series when the start body changes",
            )

    def _refuse(self, error: WireError) -> None:
        self._bad[error.kind] = self._bad.get(error.kind, 0) + 1
        if self._bad[error.kind] == 1:
            log.warning("refused a message (%s): %s", error.kind, error)
            if error.kind in ("layout", "frame-size"):
                # Without this message there is no stream at all, and the reader can change that.
                self._ring.put(StreamError(error.came, expected=error.expected, todo=error.todo))

    def _on_start(self, message: StartMessage, now_s: float) -> None:
        self._keep_description(message)
        series = self._running(message)
        if series is None or message.seq < series.next_seq:
            self._begin(message, message.info, message.seq + 1, None, now_s)
        else:
            series.follow(message.seq)

    def _on_frame(self, message: FrameMessage, now_s: float) -> None:
        series, frame = self._running(message) or self._resume(message, now_s), message.frame
        if series is None:
            self._refuse_unused(message, now_s)
            return
        if series.goes_back(message.seq, frame.index):
            series = self._begin(message, series.info, message.seq, None, now_s)
        series.follow(message.seq)
        self._report_missing(series, frame.index - 1)
        series.next_fn = frame.index + 1
        if self._fits(series, frame):
            self._ring.put(frame)
            self._received += 1
            self._frame_s = now_s

    def _on_beat(self, message: BeatMessage, now_s: float) -> None:
        last_fn, self._sender_status = message.last_fn, message.status
        self._keep_description(message)
        if series := self._running(message):
            series.miss_before(message.last_seq + 1)
            self._report_missing(series, last_fn)
            if message.end is not None:
                self._end(message.end)
        elif self._series is not None and message.sid == self._series.sid:
            self._refuse(
                WireError(
                    "hash",
                    f"a beat with hh = {message.hh} in series {message.sid}",
                    expected=f"{self._series.hh}, the hash of its start body",
                    todo="let the sender begin a new series when the start body changes; this series goes on",
                )
            )
        elif message.end is None and (self._series is not None or message.sid != self._last_sid):
            next_fn = None if last_fn is None else last_fn + 1
            self._begin(message, message.info, message.last_seq + 1, next_fn, now_s)

    def _on_end(self, message: EndMessage) -> None:
        if series := self._running(message):
            series.follow(message.seq)
            self._report_missing(series, message.last_fn)
            self._end(message.end)

    def _on_note(self, message: NoteMessage) -> None:
        log.info("note from %s: %s", message.source, message.text)
        if series := self._running(message):
            series.follow(message.seq)

    def _keep_description(self, message: StartMessage | BeatMessage) -> None:
        self._descriptions.pop((message.sid, message.hh), None)
        self._descriptions[message.sid, message.hh] = message.info
        while len(self._descriptions) > _KEPT_DESCRIPTIONS:
            del self._descriptions[next(iter(self._descriptions))]

    def _may_resume(self, message: Message) -> bool:
        """Tell whether a message is of a known series that is not the running one but may go on."""
        if (message.sid, message.hh) not in self._descriptions or self._resumptions >= _MAX_RESUMPTIONS:
            return False
        if self._series is not None:
            return message.sid == self._series.sid
        ended = self._ended
        return ended is None or (ended.sid, ended.hh) != (message.sid, message.hh) or message.seq >= ended.next_seq

    def _resume(self, message: FrameMessage, now_s: float) -> Series | None:
        """Begin a series at a frame whose description is known although its series is not running."""
        if not self._may_resume(message):
            return None
        self._resumptions += 1
        info = self._descriptions[message.sid, message.hh]
        log.warning("frame %d continues a series that is not running: a new series begins", message.frame.index)
        return self._begin(message, info, message.seq, None, now_s)

    def _refuse_unused(self, message: FrameMessage, now_s: float) -> None:
        """Count a frame that belongs to no running series."""
        ended = self._ended
        if self._series is None and ended is not None and (ended.sid, ended.hh) == (message.sid, message.hh):
            self._refused["late"] += 1
            return
        self._refused["undescribed"] += 1
        self._undescribed_s = now_s
        if self._refused["undescribed"] == 1:
            log.warning(
                "frames of %s arrive whose series has not been described yet; they cannot be used. A sender describes "
                "its series at the start and in a beat every second",
                message.source,
            )

    def _running(self, message: Message) -> Series | None:
        """Return the running series if the message belongs to it, else None."""
        series = self._series
        return series if series and (message.sid, message.hh) == (series.sid, series.hh) else None

    def _begin(self, message: Message, info: StreamInfo, next_seq: int, next_fn: int | None, now_s: float) -> Series:
        if self._series is not None:
            self._end(StreamEnd("replaced"))
        if message.sid != self._last_sid:
            self._resumptions = 0
        self._restarts = self._restarts + 1 if message.sid == self._last_sid else 0
        self._last_sid = message.sid
        if self._restarts:
            # Recordings are named after the series, so a series that restarts with the same identifier needs a new one.
            info = replace(info, series=f"{message.sid[:48]}-{self._restarts}")
        series = Series(message.role, message.sid, message.hh, info, next_seq, next_fn)
        self._ring.put(info)
        self._series, self._ended, self._frame_s = series, None, now_s
        return series

    def _end(self, end: StreamEnd) -> None:
        self._series, self._ended = None, self._series
        self._ring.put(end)

    def _report_missing(self, series: Series, last_fn: int | None) -> None:
        """Put gaps for the frames up to number `last_fn` that did not come."""
        if last_fn is not None:
            for gap in series.gaps_before(last_fn + 1):
                self._lost[gap.cause] += gap.count
                self._ring.put(gap)

    def _fits(self, series: Series, frame: Frame) -> bool:
        info, pixels = series.info, frame.pixels
        if series.fits and pixels.shape == info.shape and pixels.dtype == info.dtype and frame.plane < info.planes:
            return True
        error = StreamError(
            f"frame {frame.index} of shape {pixels.shape}, type {pixels.dtype.str} and plane {frame.plane}",
            expected=f"shape {info.shape}, type {info.dtype.str} and plane below {info.planes} as its series began",
            todo="let the sender begin a new series when its frames change",
        )
        if series.fits:
            self._ring.put(error)
        series.fits = False
        self._refused["mismatched"] += 1
        self._refuse(WireError("series", error.came, expected=error.expected, todo=error.todo))
        return False
