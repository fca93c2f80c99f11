"""Turns received messages into events: follows one stream, puts frames in order, finds missing ones, and counts.

It has no socket, thread or clock: its owner passes each message, and the time, to `Receiver.push`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never

from deepbid_rt.errors import WireError
from deepbid_rt.frame import GapCause, Layout, StreamEnd, StreamInfo
from deepbid_rt.wire.challenger import Challenger
from deepbid_rt.wire.codec import Part, decode
from deepbid_rt.wire.message import (
    AnyMessage,
    BeatMessage,
    EndMessage,
    FrameMessage,
    NoteMessage,
    StartMessage,
    StreamKey,
)
from deepbid_rt.wire.quiet_log import QuietLog
from deepbid_rt.wire.receive_ring import ReceiveRing
from deepbid_rt.wire.received_text import received_text
from deepbid_rt.wire.reorder_window import MAX_HOLD_S, WINDOW, ReorderWindow, kept
from deepbid_rt.wire.restart_run import RUN, RestartRun
from deepbid_rt.wire.series import Restart, Series, fits
from deepbid_rt.wire.source_status import FrameOutcome, RefusalCause, SourceState, SourceStatus

log = QuietLog(__name__)

_KEPT_SERIES = 8
"""Descriptions of series, and series that are over, that are kept for frames that belong to one of them; enough for a
sender and its restarts."""
_KEPT_NAMES = 1024
"""Series identifiers of which is known how often they were used."""
_PLAUSIBLE_LOSS = 100_000
_PLAUSIBLE_RATES = 10.0
"""A jump of the numbers is a loss when it is at most `_PLAUSIBLE_LOSS` frames, or what comes in the time that has
passed at `_PLAUSIBLE_RATES` times the rate of the stream."""
_QUIET_PERIODS, _LEAST_QUIET_S = 3.0, 0.1
"""A running series that is silent for so long may be replaced by another one of the same sender."""
_LOGGED_RESTARTS = 20
_PROBLEM_S = 3.0
"""How long a problem is shown after the latest frame that was refused for it, while others are received."""


class Receiver:
    """Decodes and follows the messages of one sender. `push` and `tick` are for one thread; `status` for any.

    Nothing that a sender sends, and no handler of the log, makes `push` raise an exception. Every frame message that
    decodes is received, a duplicate, refused with a cause, or held for a moment: see `SourceStatus.unexplained`.

    *Order.* A jump of ``seq`` is a loss on the wire. A jump of ``fn`` beyond it is a loss at the source. Messages that
    come ahead of a missing one are held in a `ReorderWindow`, so what arrives a little late takes its place.
    A beat announces the series to a late receiver and reveals losses at the end of what was sent.

    *Restarts.* When numbers go back, a new series begins once it is certain: after a start message that was sent later
    than all frames, at the next frame; without one, at the third frame in a row. Single frames whose numbers do not
    follow are duplicates, late, or implausible. So does a new series begin when frames go on after the end.

    *Several streams.* The running series goes on as long as it sends. Another one of the same sender's name takes its
    place when the running one is silent for 3 frame periods (at least 0.1 s) while the other begins, and after
    `lost_s` otherwise. One of another name takes its place after `lost_s`.

    Frames decide which description holds. A beat that describes the running series differently is counted as bad and
    changes nothing, unless frames of that description follow. A frame that contradicts its description is refused, and
    the next one that fits continues.

    One lock guards everything, so that the counts of a status belong together. The lock of the ring is taken while it
    is held, and never the other way round. It is held while the pixels of one frame are copied.

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
        self._lock = threading.Lock()
        self._series: Series | None = None
        self._challenger: Challenger | None = None
        self._run: RestartRun | None = None
        # Messages that came before their start message, with the time until which they wait for it.
        self._early: deque[tuple[FrameMessage | EndMessage | NoteMessage, float]] = deque()
        self._past: dict[StreamKey, Series] = {}  # the latest series that are over
        self._descriptions: dict[StreamKey, StreamInfo] = {}  # the latest ones
        self._names: dict[str, int] = {}  # how often each series identifier was used
        self._message_s = 0.0  # when the latest message of the running series arrived
        self._undescribed_s: float | None = None  # when the latest frame without a description arrived
        self._arrived = self._received = self._duplicates = self._restarts = 0
        self._refused: dict[RefusalCause, int] = {
            "undescribed": 0,
            "mismatched": 0,
            "late": 0,
            "implausible": 0,
            "other-sender": 0,
            "internal": 0,
        }
        self._lost: dict[GapCause, int] = {"source": 0, "transport": 0}
        self._bad: dict[str, int] = {}
        self._said: set[str] = set()
        self._problem: tuple[str, float] | None = None
        self._refused_start: str | None = None  # why the latest start was refused, if no series has begun since
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
        with self._lock:
            self._tick(now_s)
            try:
                message = decode(parts, default_layout=self._default_layout, arrived_ns=now_ns)
                if isinstance(message, FrameMessage):
                    self._arrived += 1
                self._dispatch(message, now_s)
            except WireError as error:
                self._refuse(error, now_s)
            # Any other error: one message must not end the stream.
            except Exception as error:
                self._count_internal(error)

    def refuse(self, error: WireError, now_s: float) -> None:
        """Count a message that never came here, because it had no end or could not be translated."""
        with self._lock:
            self._refuse(error, now_s)

    def tick(self, now_s: float) -> None:
        """Release what has been held long enough. To be called when no message came, at the latest after `wait_s`."""
        with self._lock:
            self._tick(now_s)

    def wait_s(self, now_s: float, longest_s: float) -> float:
        """Return the seconds after which `tick` must be called if no message comes, at most `longest_s`."""
        series, challenger, wait = self._series, self._challenger, longest_s
        if series is not None:
            if series.window and (deadline := series.window.deadline_s) is not None:
                wait = deadline - now_s
            if challenger is not None and not challenger.rejected:
                wait = min(wait, self._message_s + self._quiet_s(series) - now_s)
        if self._early:
            wait = min(wait, self._early[0][1] - now_s)
        return min(max(wait, 0.0), longest_s)

    def close(self, now_s: float) -> None:
        """Deliver what is held, with gaps for what is missing, and refuse what belongs to no series."""
        with self._lock:
            try:
                # What a series held can end it and begin another one.
                while (series := self._series) is not None and series.window:
                    self._flush(series, now_s)
                self._drop_run()
                self._drop_challenger()
                while self._early:
                    self._give_up_early(now_s)
            # Any error: as in `push`.
            except Exception as error:
                self._count_internal(error)

    def status(self, now_s: float) -> SourceStatus:
        """Return state and counts at the monotonic time `now_s`."""
        with self._lock:
            return SourceStatus(
                state=self._state(now_s),
                received=self._received,
                lost={**self._lost, "ring": self._ring.lost},
                bad=dict(self._bad),
                refused=dict(self._refused),
                unread=self._ring.unread,
                sender=self._sender_status,
                duplicates=self._duplicates,
                arrived=self._arrived,
                held=self._held(),
                problem=self._current_problem(now_s),
            )

    # The caller of the following methods holds the lock.

    def _tick(self, now_s: float) -> None:
        try:
            self._release_due(now_s)
        # Any error: as in `push`.
        except Exception as error:
            self._count_internal(error)

    def _state(self, now_s: float) -> SourceState:
        series = self._series
        if series is None:
            if self._undescribed_s is not None and now_s - self._undescribed_s < self._lost_s:
                return "undescribed"
            return "ended" if self._past else "waiting"
        if now_s - self._message_s >= self._lost_s:
            return "lost"
        if now_s - series.frame_s > max(5 / series.info.rate_hz, self._stall_s):
            return "stalled"
        return "live"

    def _held(self) -> int:
        return (
            (self._series.window.frames if self._series else 0)
            + (self._challenger.frames if self._challenger else 0)
            + (len(self._run.held) if self._run else 0)
            + sum(isinstance(message, FrameMessage) for message, _ in self._early)
        )

    def _current_problem(self, now_s: float) -> str:
        if self._problem is None:
            return ""
        text, since_s = self._problem
        receiving = self._series is not None and self._series.frame_s >= since_s
        return "" if receiving and now_s - since_s > _PROBLEM_S else text

    def _dispatch(self, message: AnyMessage, now_s: float) -> None:
        if isinstance(message, StartMessage | BeatMessage) and message.info.frame_bytes > self._ring.max_frame_bytes:
            self._refuse(_too_large(message.info, self._ring), now_s)
            return
        series = self._series
        if series is None:
            self._on_unfollowed(message, now_s)
        elif message.key == series.key:
            self._message_s = now_s
            self._on_own(series, message, now_s)
        elif now_s - self._message_s >= self._lost_s:
            self._on_unfollowed(message, now_s)
        else:
            self._on_other(series, message, now_s)

    # Messages of the running series.

    def _on_own(self, series: Series, message: AnyMessage, now_s: float) -> None:
        challenger = self._challenger
        if challenger and not challenger.rejected and now_s - challenger.since_s >= self._quiet_s(series):
            self._reject(challenger, now_s)
        if isinstance(message, BeatMessage):
            self._on_beat(series, message, now_s)
        else:
            self._order(series, message, now_s)

    def _order(self, series: Series, message: AnyMessage, now_s: float) -> None:
        """Deliver a message when its turn has come, and the ones that have waited for it; hold it if others miss."""
        seq, window = message.seq, series.window
        if self._run is not None and isinstance(message, FrameMessage) and self._joins_run(self._run, series, message):
            self._on_stray(series, message, "implausible", now_s)
        elif seq in window:
            self._on_used_number(series, message, now_s)
        elif seq < series.next_seq:
            if series.find(seq):
                self._deliver(series, message, now_s)
            else:
                self._on_used_number(series, message, now_s)
        elif seq == series.next_seq:
            series.next_seq = seq + 1
            self._deliver(series, message, now_s)
        elif self._plausible(series, seq - series.next_seq, now_s):
            if isinstance(message, FrameMessage) and message.frame.index == series.next_fn:
                series.follow(seq)  # what is missing holds no frame
                self._deliver(series, message, now_s)
            else:
                window.hold(message, now_s)
                series.newest_ns = max(series.newest_ns, message.sent_ns)
            while window.full and (lowest := window.pop_lowest()):
                series.follow(lowest.seq)
                self._deliver(series, lowest, now_s)
        elif isinstance(message, FrameMessage):
            self._on_stray(series, message, "implausible", now_s)
        else:
            self._refuse(_implausible(f"seq = {seq}", series), now_s)
        if window:
            self._release(series, now_s)

    def _release(self, series: Series, now_s: float) -> None:
        """Deliver the held messages whose turn has come."""
        window = series.window
        while self._series is series and (message := window.pop_next(series.next_seq, series.next_fn)):
            series.follow(message.seq)
            self._deliver(series, message, now_s)
        tail = window.tail
        if self._series is series and tail is not None and series.next_seq > tail.last_seq:
            window.tail = None
            self._count_tail(series, tail.last_fn, tail.end, now_s)
        if self._series is not series:
            self._hand_over(series, now_s)

    def _release_due(self, now_s: float) -> None:
        """Deliver the held messages that have waited long enough, with gaps for those that did not come."""
        while self._early and self._early[0][1] <= now_s:
            self._give_up_early(now_s)
        series = self._series
        if series is None:
            return
        window = series.window
        while window and self._series is series and (deadline := window.deadline_s) is not None and deadline <= now_s:
            tail = window.tail
            if tail is not None and tail.deadline_s <= now_s:
                window.tail = None
                self._release_tail(series, tail.last_seq, now_s)
                if self._series is series:
                    self._count_tail(series, tail.last_fn, tail.end, now_s)
            elif lowest := window.pop_lowest():
                series.follow(lowest.seq)
                self._deliver(series, lowest, now_s)
            self._release(series, now_s)
        if (challenger := self._challenger) and (series := self._series):
            silent_s = now_s - self._message_s
            if not challenger.rejected and silent_s >= self._quiet_s(series):
                self._give_way(challenger, now_s)

    def _release_tail(self, series: Series, last_seq: int, now_s: float) -> None:
        """Deliver what is held up to a number, and count the others up to it as missing."""
        while self._series is series and (message := series.window.pop_lowest(up_to=last_seq)):
            series.follow(message.seq)
            self._deliver(series, message, now_s)
        series.miss_before(last_seq + 1)

    def _hand_over(self, series: Series, now_s: float) -> None:
        """Treat what a series held when it ended: messages after the end, or of what comes next."""
        series.window.tail = None
        while message := series.window.pop_lowest():
            self._dispatch(message, now_s)

    def _deliver(self, series: Series, message: AnyMessage, now_s: float) -> None:
        """Treat a message of the running series whose turn has come."""
        match message:
            case FrameMessage():
                self._on_frame(series, message, now_s)
            case EndMessage():
                if message.last_fn is not None and not self._plausible_fn(series, message.last_fn, now_s):
                    self._refuse(_implausible(f"last_fn = {message.last_fn} of an end", series), now_s)
                else:
                    self._count_tail(series, message.last_fn, message.end, now_s)
            case NoteMessage():
                log.info("note from %s: %s", message.source, received_text(message.text))
            case StartMessage() | BeatMessage():
                pass
            case _ as never:
                assert_never(never)
        series.newest_ns = max(series.newest_ns, message.sent_ns)

    def _on_frame(self, series: Series, message: FrameMessage, now_s: float) -> None:
        frame, next_fn = message.frame, series.next_fn
        if next_fn is not None and frame.index < next_fn:
            self._on_stray(series, message, series.outcome_of(frame.index), now_s)
        elif not self._plausible_fn(series, frame.index, now_s):
            self._on_stray(series, message, "implausible", now_s)
        elif series.fits(frame):
            if self._run is not None:
                self._drop_run()
            self._report_missing(series, frame.index - 1)
            series.take(frame.index)
            series.frame_s = now_s
            self._ring.put(frame)
            self._received += 1
        elif (restart := self._restart_for(series, message)) and fits(restart.info, frame):
            self._begin_again(series, restart, [message], now_s)
        else:
            self._report_missing(series, frame.index - 1)
            self._ring.put(series.leave_out(frame.index))
            self._refuse_mismatch(series, message, now_s)

    def _on_used_number(self, series: Series, message: AnyMessage, now_s: float) -> None:
        """Treat a message whose number was there before: a copy, or one of a sender that has restarted."""
        newer = message.sent_ns > series.newest_ns
        if isinstance(message, FrameMessage):
            outcome = series.outcome_of(message.frame.index)
            in_window = outcome == "implausible" and message.seq in series.window
            self._on_stray(series, message, "duplicate" if in_window else outcome, now_s)
        elif isinstance(message, StartMessage) and newer:
            series.restart = Restart(message.info, message.seq + 1, None, message.sent_ns)
        # Copies of other messages change nothing.

    def _on_stray(self, series: Series, message: FrameMessage, outcome: FrameOutcome, now_s: float) -> None:
        """Treat a frame whose numbers do not follow those of its series, which is running or over."""
        if restart := self._restart_for(series, message):
            self._begin_again(series, restart, [message], now_s)
            return
        if not series.fits(message.frame):
            self._refuse_mismatch(series, message, now_s)
            return
        run = self._run
        if run is not None and run.holds(message):
            self._count("duplicate", now_s)
            return
        if run is None or not run.continues(message):
            self._drop_run()
            run = self._run = RestartRun(message.key)
        held = run.add(message, outcome, newer=message.sent_ns > series.newest_ns)
        if run.length >= RUN and (run.all_newer or now_s - series.frame_s >= self._lost_s):
            self._run = None
            messages = [each for each, _ in run.held]
            messages += [] if held else [message]
            first = messages[0]
            self._say_restart(f"the frame numbers of {message.source} jumped, now {run.fn}: a new series begins")
            self._begin_again(series, Restart(series.info, first.seq, None, first.sent_ns), messages, now_s)
        elif not held:
            self._count(outcome, now_s)

    def _joins_run(self, run: RestartRun, series: Series, message: FrameMessage) -> bool:
        """Tell whether a frame goes on from frames of a restarted sender and not from the running series.

        The numbers of a sender that has restarted may catch up with those of its series.
        """
        newer = message.sent_ns > series.newest_ns
        return bool(run.held) and newer and message.frame.index != series.next_fn and run.continues(message)

    def _restart_for(self, series: Series, message: FrameMessage) -> Restart | None:
        """Return the restart that was announced, if the frame confirms it."""
        restart = series.restart
        confirms = restart and message.seq >= restart.next_seq and message.sent_ns >= restart.sent_ns
        return restart if confirms else None

    def _begin_again(self, series: Series, restart: Restart, messages: Iterable[AnyMessage], now_s: float) -> None:
        """Begin a new series with the key of an earlier one, and deliver its first messages."""
        series.restart = None
        begun = self._begin(series.key, restart.info, restart.next_seq, restart.next_fn, restart.sent_ns, now_s)
        self._replay(begun, messages, now_s)

    def _on_beat(self, series: Series, beat: BeatMessage, now_s: float) -> None:
        if beat.sent_ns < series.begun_ns:
            return  # of an earlier run of the same series
        for name, jump in (
            ("last_seq", beat.last_seq - series.next_seq),
            ("last_fn", 0 if beat.last_fn is None or series.next_fn is None else beat.last_fn - series.next_fn),
        ):
            if not self._plausible(series, jump, now_s):
                self._refuse(_implausible(f"{name} = {getattr(beat, name)} of a beat", series), now_s)
                return
        self._sender_status = beat.status
        if beat.last_seq >= series.next_seq:
            series.window.hold_tail(beat.last_seq, beat.last_fn, beat.end, now_s)
            return
        if beat.last_seq < series.next_seq - 1 and beat.sent_ns > series.newest_ns:
            next_fn = None if beat.last_fn is None else beat.last_fn + 1
            series.restart = Restart(beat.info, beat.last_seq + 1, next_fn, beat.sent_ns)
        self._count_tail(series, beat.last_fn, beat.end, now_s)
        if self._series is not series:
            self._hand_over(series, now_s)

    def _count_tail(self, series: Series, last_fn: int | None, end: StreamEnd | None, now_s: float) -> None:
        """Report the frames that are missing up to `last_fn`; end the series if it has ended."""
        if last_fn is not None and self._plausible_fn(series, last_fn, now_s):
            self._report_missing(series, last_fn)
        if end is not None:
            self._end(series, end)

    # Messages of a stream while no series is running, or while the running one is lost.

    def _on_unfollowed(self, message: AnyMessage, now_s: float) -> None:
        past = self._past.get(message.key)
        match message:
            case StartMessage():
                self._keep_description(message)
                if past is None or message.sent_ns > past.newest_ns:
                    begun = self._begin(message.key, message.info, message.seq + 1, None, message.sent_ns, now_s)
                    self._replay(begun, self._take_early(message), now_s)
            case BeatMessage():
                self._keep_description(message)
                self._sender_status = message.status
                if message.end is None and (past is None or message.sent_ns > past.newest_ns):
                    next_fn = None if message.last_fn is None else message.last_fn + 1
                    self._begin(message.key, message.info, message.last_seq + 1, next_fn, message.sent_ns, now_s)
            case FrameMessage():
                self._on_unfollowed_frame(message, past, now_s)
            case EndMessage() | NoteMessage():
                # Otherwise it is a copy, or of a series that was not followed.
                if past is None:
                    self._hold_early(message, now_s)
            case _ as never:
                assert_never(never)

    def _on_unfollowed_frame(self, message: FrameMessage, past: Series | None, now_s: float) -> None:
        if past is not None and not past.goes_on_with(message.seq, message.frame.index):
            self._on_stray(past, message, past.outcome_of(message.frame.index), now_s)
            return
        info = self._descriptions.get(message.key)
        if info is None:
            self._hold_early(message, now_s)
            return
        fn = message.frame.index
        self._say_restart(f"frame {fn} continues a series that is not running: a new series begins")
        begun = self._begin(message.key, info, message.seq, None, message.sent_ns, now_s)
        self._replay(begun, [message], now_s)

    def _hold_early(self, message: FrameMessage | EndMessage | NoteMessage, now_s: float) -> None:
        """Hold a message of an unknown series for a moment: its start message may have been overtaken."""
        mark = message.key, message.seq, message.sent_ns
        if any((each.key, each.seq, each.sent_ns) == mark for each, _ in self._early):
            if isinstance(message, FrameMessage):
                self._count("duplicate", now_s)
            return
        self._early.append((kept(message), now_s + MAX_HOLD_S))
        while len(self._early) > WINDOW or (
            len(self._early) > 1
            and sum(each.frame.pixels.nbytes for each, _ in self._early if isinstance(each, FrameMessage))
            > self._bytes()
        ):
            self._give_up_early(now_s)

    def _give_up_early(self, now_s: float) -> None:
        message, _ = self._early.popleft()
        if isinstance(message, FrameMessage):
            self._refuse_undescribed(message, now_s)

    def _take_early(self, start: StartMessage) -> list[FrameMessage | EndMessage | NoteMessage]:
        """Remove and return the held messages that a start message describes."""
        taken = [message for message, _ in self._early if message.key == start.key and message.seq > start.seq]
        self._early = deque(each for each in self._early if not any(each[0] is message for message in taken))
        return taken

    # Messages of another stream than the running one.

    def _on_other(self, series: Series, message: AnyMessage, now_s: float) -> None:
        key = message.key
        if not key.same_sender(series.key):
            self._refuse_other(series, message, now_s)
            return
        challenger = self._challenger if self._challenger and self._challenger.key == key else None
        if challenger is not None:
            if isinstance(message, StartMessage | BeatMessage):
                self._keep_description(message)
            if challenger.rejected:
                self._refuse_other(series, message, now_s)
                return
            given_up = challenger.hold(message)
            if given_up:
                self._count(_cause(series, key), now_s, _other_sender(series, key), given_up)
            return
        match message:
            case StartMessage():
                self._keep_description(message)
                challenger = Challenger(key, message.info, message.seq + 1, message.sent_ns, now_s, self._bytes())
                for early in self._take_early(message):
                    challenger.hold(early)
                self._challenge(challenger)
            case BeatMessage():
                self._keep_description(message)
                if key.sid == series.key.sid:
                    self._refuse(_contradiction(message, series), now_s)
            case FrameMessage():
                past = self._past.get(key)
                if past is not None and not past.goes_on_with(message.seq, message.frame.index):
                    self._count(past.outcome_of(message.frame.index), now_s)
                elif info := self._descriptions.get(key):
                    challenger = Challenger(key, info, message.seq, message.sent_ns, now_s, self._bytes())
                    challenger.hold(message)
                    self._challenge(challenger)
                elif key.sid == series.key.sid:
                    error = _contradiction(message, series)
                    self._count("mismatched", now_s, str(error))
                    self._refuse(error, now_s)
                else:
                    self._hold_early(message, now_s)
            case EndMessage() | NoteMessage():
                if key not in self._past:
                    self._hold_early(message, now_s)
            case _ as never:
                assert_never(never)
        # The running series may have been silent for long enough already.
        self._release_due(now_s)

    def _challenge(self, challenger: Challenger) -> None:
        self._drop_challenger()
        self._challenger = challenger

    def _give_way(self, challenger: Challenger, now_s: float) -> None:
        """Let the challenger take the place of the running series, which is silent."""
        self._challenger = None
        messages = challenger.take()
        begun = self._begin(challenger.key, challenger.info, challenger.next_seq, None, challenger.begun_ns, now_s)
        self._replay(begun, messages, now_s)

    def _reject(self, challenger: Challenger, now_s: float) -> None:
        """Refuse a challenger, as the running series goes on: there are two senders."""
        challenger.rejected = True
        frames = sum(isinstance(message, FrameMessage) for message in challenger.take())
        if self._series is not None and frames:
            key = challenger.key
            self._count(_cause(self._series, key), now_s, _other_sender(self._series, key), frames)

    def _refuse_other(self, series: Series, message: AnyMessage, now_s: float) -> None:
        text = _other_sender(series, message.key)
        if isinstance(message, FrameMessage):
            self._count(_cause(series, message.key), now_s, text)
        else:
            self._bad["sender"] = self._bad.get("sender", 0) + 1
            self._say("other-sender", text)

    def _bytes(self) -> int:
        """Return the memory for what is held for each purpose, bytes."""
        return self._ring.max_frame_bytes

    # Series.

    def _begin(
        self, key: StreamKey, info: StreamInfo, next_seq: int, next_fn: int | None, begun_ns: int, now_s: float
    ) -> Series:
        # What a series held can end it and begin another one, which is then replaced as well.
        while (running := self._series) is not None:
            self._flush(running, now_s)
            if self._series is running:
                self._end(running, StreamEnd("replaced"))
        self._drop_run()
        self._drop_challenger()
        used = self._names.pop(key.sid, -1) + 1
        self._names[key.sid] = used
        while len(self._names) > _KEPT_NAMES:
            del self._names[next(iter(self._names))]
        if used:
            # Recordings are named after the series, so a series that restarts with the same identifier needs a new one.
            info = replace(info, series=f"{key.sid[:48]}-{used}")
        window = ReorderWindow(info.rate_hz, self._bytes())
        series = Series(key, info, next_seq, next_fn, begun_ns, now_s, window, begun_ns)
        self._past.pop(key, None)
        self._ring.put(info)
        self._series, self._message_s, self._refused_start, self._problem = series, now_s, None, None
        return series

    def _replay(self, series: Series, messages: Iterable[AnyMessage], now_s: float) -> None:
        """Treat the messages that had been held for a series that has begun."""
        for message in messages:
            if self._series is series:
                self._on_own(series, message, now_s)
            else:
                self._dispatch(message, now_s)

    def _flush(self, series: Series, now_s: float) -> None:
        """Deliver what a series holds before it ends or waits, with gaps for what is missing."""
        tail, series.window.tail = series.window.tail, None
        while message := series.window.pop_lowest():
            if isinstance(message, FrameMessage) and not self._follows(series, message, now_s):
                self._count(series.outcome_of(message.frame.index), now_s)
                continue
            series.follow(message.seq)
            self._deliver(series, message, now_s)
            if self._series is not series:
                self._hand_over(series, now_s)
                return
        if tail is not None:
            series.miss_before(tail.last_seq + 1)
            self._count_tail(series, tail.last_fn, tail.end, now_s)

    def _follows(self, series: Series, message: FrameMessage, now_s: float) -> bool:
        fn = message.frame.index
        return series.goes_on_with(message.seq, fn) and self._plausible_fn(series, fn, now_s)

    def _end(self, series: Series, end: StreamEnd) -> None:
        self._drop_run()
        self._series = None
        self._past[series.key] = series
        while len(self._past) > _KEPT_SERIES:
            del self._past[next(iter(self._past))]
        self._ring.put(end)

    def _keep_description(self, message: StartMessage | BeatMessage) -> None:
        self._descriptions.pop(message.key, None)
        self._descriptions[message.key] = message.info
        while len(self._descriptions) > _KEPT_SERIES:
            del self._descriptions[next(iter(self._descriptions))]

    def _quiet_s(self, series: Series) -> float:
        return min(max(_QUIET_PERIODS / series.info.rate_hz, _LEAST_QUIET_S), self._lost_s)

    def _plausible(self, series: Series, jump: int, now_s: float) -> bool:
        if jump <= _PLAUSIBLE_LOSS:
            return True
        return jump <= _PLAUSIBLE_RATES * (now_s - series.frame_s) * series.info.rate_hz

    def _plausible_fn(self, series: Series, fn: int, now_s: float) -> bool:
        return series.next_fn is None or self._plausible(series, fn - series.next_fn, now_s)

    # Counting.

    def _report_missing(self, series: Series, last_fn: int) -> None:
        """Put gaps for the frames up to number `last_fn` that did not come."""
        if series.missed or series.next_fn is None or last_fn >= series.next_fn:
            for gap in series.gaps_before(last_fn + 1):
                self._lost[gap.cause] += gap.count
                self._ring.put(gap)

    def _drop_run(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            for _, outcome in run.held:
                self._count(outcome, None)

    def _drop_challenger(self) -> None:
        challenger, self._challenger = self._challenger, None
        if challenger is not None and challenger.frames:
            cause = _cause(self._series, challenger.key) if self._series else "other-sender"
            self._refused[cause] += challenger.frames

    def _count(
        self, outcome: FrameOutcome | RefusalCause, now_s: float | None, text: str = "", frames: int = 1
    ) -> None:
        """Count frames that are not used; say why once, and show it as the problem if there is a text."""
        if outcome == "duplicate":
            self._duplicates += frames
            return
        self._refused[outcome] += frames
        if text and now_s is not None:
            self._problem = text, now_s
            self._say(outcome, text)
        elif outcome != "other-sender":
            self._say(outcome, _SENTENCES[outcome])

    def _refuse_undescribed(self, message: FrameMessage, now_s: float) -> None:
        """Count a frame whose series nobody has described."""
        self._undescribed_s = now_s
        text = (
            f"frames of {message.source} arrive whose series has not been described yet; they cannot be used. A sender "
            "describes its series at the start and in a beat every second"
        )
        self._refused["undescribed"] += 1
        self._say("undescribed", text)
        if self._series is None:
            self._problem = self._refused_start or text, now_s

    def _refuse_mismatch(self, series: Series, message: FrameMessage, now_s: float) -> None:
        info, frame = series.info, message.frame
        error = WireError(
            "series",
            f"frame {frame.index} of shape {frame.pixels.shape}, type {frame.pixels.dtype.str} and plane {frame.plane}",
            expected=f"shape {info.shape}, type {info.dtype.str} and plane below {info.planes} as its series began",
            todo="let the sender begin a new series when its frames change",
        )
        self._count("mismatched", now_s, str(error))
        self._bad["series"] = self._bad.get("series", 0) + 1

    def _refuse(self, error: WireError, now_s: float) -> None:
        """Count a bad message; say it once per kind."""
        self._bad[error.kind] = self._bad.get(error.kind, 0) + 1
        self._say(f"bad {error.kind}", f"refused a message ({error.kind}): {error}")
        if error.kind in ("layout", "frame-size") and self._series is None:
            # Without this message there is no stream at all, and the user can change that.
            self._refused_start = str(error)
            self._problem = str(error), now_s

    def _count_internal(self, error: Exception) -> None:
        """Count a message that could not be treated because of an error in this program."""
        self._bad["internal"] = self._bad.get("internal", 0) + 1
        used = self._received + self._duplicates + sum(self._refused.values()) + self._held()
        self._refused["internal"] += max(self._arrived - used, 0)
        if "internal" not in self._said:
            self._said.add("internal")
            log.error("an error while a message was received; receiving goes on", exc_info=error)

    def _say_restart(self, text: str) -> None:
        """Log that a series begins without a start message; a sender that keeps jumping must not fill the log."""
        self._restarts += 1
        if self._restarts <= _LOGGED_RESTARTS:
            log.warning("%s", text)
        if self._restarts == _LOGGED_RESTARTS:
            log.warning("further series that begin without a start message are not logged")

    def _say(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            log.warning("%s", text)


_SENTENCES: dict[str, str] = {
    "late": "a frame came after it had been counted as lost; late frames are refused and counted",
    "implausible": "a frame came whose number is too far from the others; such frames are refused and counted",
}


def _cause(series: Series, key: StreamKey) -> RefusalCause:
    """Return why frames of a stream are refused while the series is running."""
    return "mismatched" if key.same_sender(series.key) and key.sid == series.key.sid else "other-sender"


def _other_sender(series: Series, key: StreamKey) -> str:
    if _cause(series, key) == "mismatched":
        return (
            f"series {key.sid} is sent with two descriptions (hh {received_text(series.key.hh, 40)} and "
            f"{received_text(key.hh, 40)}); expected one; the first goes on and frames of the other are refused; let "
            "the sender begin a new series when the start body changes"
        )
    own, other = f"{series.key.role}/{series.key.source}", f"{key.role}/{key.source}"
    return (
        f"a second sender ({other}, series {key.sid}) sends beside {own}, series {series.key.sid}; expected one sender "
        "at this address; the running series goes on and the other's frames are refused; stop one of them"
    )


def _too_large(info: StreamInfo, ring: ReceiveRing) -> WireError:
    return WireError(
        "frame-size",
        f"a series with frames of {info.frame_bytes} bytes",
        expected=f"at most {ring.max_frame_bytes}",
        todo="give the source a larger ring",
    )


def _implausible(came: str, series: Series) -> WireError:
    return WireError(
        "implausible",
        f"{came} in series {series.key.sid}",
        expected=f"a number near {series.next_seq} for messages and {series.next_fn} for frames",
        todo="check how the sender counts",
    )


def _contradiction(message: BeatMessage | FrameMessage, series: Series) -> WireError:
    what = "a beat" if isinstance(message, BeatMessage) else "a frame"
    return WireError(
        "hash",
        f"{what} with hh = {received_text(message.hh, 40)} in series {message.sid}",
        expected=f"{received_text(series.key.hh, 40)}, the hash of its start body",
        todo="let the sender begin a new series when the start body changes; this series goes on",
    )
