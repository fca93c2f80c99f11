"""A sink that sends every frame to exactly one consumer, and waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import zmq

from deepbid_rt.errors import OverrunError, StreamError
from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.wire.codec import Encoder, Part
from deepbid_rt.zmq_io.access_control import MAX_PEERS, AccessControl
from deepbid_rt.zmq_io.endpoint import check_protection, set_common, unusable
from deepbid_rt.zmq_io.key_folder import KeyFolder
from deepbid_rt.zmq_io.lossless import BUSY, NEW, WINDOW, Request, pack_number

log = logging.getLogger(__name__)

WAIT_S = 60.0
"""Longest time without any progress of the consumer, before it counts as gone."""
SILENT_S = 10.0
"""Time without a request after which a consumer is gone. It repeats its requests twice a second."""
STOPPED_WAIT_S = 2.0
"""The same once the sender was told to stop."""
SAY_AFTER_S, SAY_EVERY_S = 1.0, 10.0
"""When it is said that the sender waits, and how often again."""
PEER_BYTES, PEER_BYTES_PER_S = 2**17, 2**20
"""Requests of a consumer: 17 bytes and their envelope, for every few frames."""

_POLL_MS = 10
_SERVICE_S = 0.05
_READ_AT_ONCE = 64
_LINGER_MS = 1000


class LosslessSink:
    """Sends a stream to exactly one consumer; implements `Sink`.

    The consumer says how many messages it has room for. Each message is kept until the consumer has confirmed it, and
    sent again after the connection was cut. `put` waits while the consumer has no room. So nothing is lost, and the
    slower side sets the rate.

    A series belongs to one consumer from its start to its end. Others are told that somebody else is served, and get
    nothing. When the consumer leaves in the middle of a series, the next call raises.

    One lock guards the socket and everything else here. A second thread serves the consumer while nobody calls, and
    sends a beat every second when there is room.

    Parameters
    ----------
    endpoint : str
        ``tcp://HOST:PORT`` to bind; port 0 or ``*`` takes a free one, see `endpoint`.
    role : str
        First word of the topic.
    keys : Path or str, optional
        See `ZmqSink`.
    insecure_lan : bool
        See `ZmqSink`.
    wait_s : float
        Longest time without progress of the consumer, seconds.
    beat_s : float
        Seconds between beats.
    stop : threading.Event, optional
        Once it is set, nothing waits longer than `STOPPED_WAIT_S`.
    clock : callable
        Returns monotonic seconds.

    Raises
    ------
    EndpointError
        When the address is malformed, in use, not of this machine, or not loopback without keys or ``insecure_lan``.
    FileError
        When the keys cannot be used.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        role: str = "raw",
        keys: Path | str | None = None,
        insecure_lan: bool = False,
        wait_s: float = WAIT_S,
        beat_s: float = 1.0,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.unprotected: str | None = check_protection(
            endpoint, connect=False, keys=keys is not None, insecure_lan=insecure_lan
        )
        """What strangers can do, in one sentence; None when the stream is protected or stays on this computer."""
        if self.unprotected:
            log.warning("%s", self.unprotected)
        self._role, self._wait_s, self._beat_s = role, wait_s, beat_s
        self._stop = stop or threading.Event()
        self._clock = clock
        self._lock = threading.Lock()
        self._encoder: Encoder | None = None
        self._consumer: bytes | None = None  # its routing id
        self._left = False  # the consumer has left in the middle of the series
        self._heard_s = 0.0  # when it was last heard of
        # Messages are numbered from the beginning. _kept holds those from number _confirmed on; _sent were sent, and
        # the consumer has room up to _limit. For the consumer, the first message that it gets has number 0.
        self._kept: deque[list[bytes]] = deque()
        self._confirmed = self._sent = self._limit = self._origin = 0
        # The message that began the series, its number, and that of the first frame (or end) after it.
        self._start: list[bytes] = []
        self._started = 0
        self._first: int | None = None
        self._beat_at_s = clock() + beat_s
        self._closing = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # sending to a consumer that is gone is an error
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a consumer that connects again replaces its old connection
        self._socket.setsockopt(zmq.SNDHWM, 2 * WINDOW)
        self._socket.setsockopt(zmq.RCVHWM, _READ_AT_ONCE)
        set_common(self._socket, endpoint)
        try:
            self.access = AccessControl(
                self._context,
                self._socket,
                KeyFolder(keys) if keys is not None else None,
                max_peers=MAX_PEERS,
                peer_bytes=PEER_BYTES,
                peer_bytes_per_s=PEER_BYTES_PER_S,
            )
            """Who may connect, with the counts of who was refused."""
            self.access.start()
            try:
                self._socket.bind(endpoint)
            except zmq.ZMQError as error:
                self.access.close()
                raise unusable(endpoint, error) from error
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self.endpoint: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        """The bound address, with its actual port."""
        self.access.bound(self.endpoint)
        self._thread = threading.Thread(target=self._serve, name="lossless", daemon=True)
        self._thread.start()

    @property
    def unconfirmed(self) -> int:
        """Messages that the consumer has not confirmed: after `end`, those that may be missing there."""
        return len(self._kept)

    def wait_for_subscriber(self, timeout_s: float) -> bool:
        """Wait for a consumer; return False after `timeout_s` seconds, or when closed meanwhile."""
        deadline_s = self._clock() + timeout_s
        while not self._closing.is_set():
            with self._lock:
                self._turn(_POLL_MS)
                if self._consumer is not None:
                    return True
            if self._clock() >= deadline_s:
                return False
        return False

    def start(self, info: StreamInfo) -> None:
        """Begin a series, and wait for the consumer to take it. The running series itself goes on.

        Raises
        ------
        WireError
            When a name or a fact of the series does not fit the protocol.
        OverrunError
            When no consumer comes, see `put`.
        """
        with self._lock:
            running = self._encoder
            if running is not None and not running.ended and running.info == info:
                return
            if self._left:  # what the consumer did not take of an earlier series is given up; the caller knows
                self._confirmed = self._sent = self._confirmed + len(self._kept)
                self._kept.clear()
                self._left = False
            encoder = Encoder(info, self._role)
            self._keep(encoder.start())
            self._start, self._started = self._kept[-1], self._confirmed + len(self._kept) - 1
            self._first = None
            self._encoder = encoder
        self._wait_until_sent("a consumer")

    def put(self, frame: Frame) -> None:
        """Send one frame, and wait until the consumer has room for it.

        Raises
        ------
        StreamError
            When its shape or type differ from the series.
        OverrunError
            When the consumer has left, or has taken nothing for `wait_s` seconds. The frame is kept for it.
        """
        with self._lock:
            self._check_left()
            self._keep_content(self._series().frame(frame))
        self._wait_until_sent("the consumer to have room")

    def skip(self, gap: Gap) -> None:
        """Count missing frames. The consumer learns of them from the number of the next frame."""
        with self._lock:
            self._series().skip(gap)

    def end(self, end: StreamEnd) -> None:
        """End the series, and wait until the consumer has confirmed everything. Raises `OverrunError`, see `put`."""
        with self._lock:
            self._check_left()
            self._keep_content(self._series().end(end))
        self._wait("the consumer to confirm the last frames", lambda: not self._kept)

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._closing.set()
        self._thread.join()
        with self._lock:
            if not self._socket.closed:
                self.access.close()
                self._socket.close(_LINGER_MS)
        self._context.term()

    def _series(self) -> Encoder:
        if self._encoder is None or self._encoder.ended:
            raise StreamError(
                "a frame, gap or end outside a series", expected="a start before it", todo="call start first"
            )
        return self._encoder

    def _wait_until_sent(self, what: str) -> None:
        with self._lock:
            number = self._confirmed + len(self._kept)
        self._wait(what, lambda: self._sent >= number or self._confirmed >= number)

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        """Serve the consumer until `done`, for as long as it makes progress."""
        began_s = progress_s = self._clock()
        say_s = began_s + SAY_AFTER_S
        before = (-1, -1)
        while True:
            with self._lock:
                self._turn(0)
                if done():
                    return
                self._turn(_POLL_MS)
                if done():
                    return
                self._check_left()
                now, waiting = (self._confirmed, self._sent), len(self._kept)
            now_s = self._clock()
            if now != before:
                before, progress_s = now, now_s
            limit_s = min(self._wait_s, STOPPED_WAIT_S) if self._stop.is_set() else self._wait_s
            if now_s - progress_s >= limit_s:
                if self._stop.is_set():
                    return  # `unconfirmed` tells what is missing
                with self._lock:
                    self._consumer, self._left = None, True
                raise OverrunError(
                    f"{limit_s:g} s of waiting at {self.endpoint} for {what}, and {waiting} messages are not confirmed",
                    expected="one consumer that keeps reading (--lossless)",
                    todo="start the consumer first, or look why it hangs",
                )
            if now_s >= say_s:
                say_s = now_s + SAY_EVERY_S
                log.warning("waiting at %s for %s, since %.0f s", self.endpoint, what, now_s - began_s)

    # The caller of the following methods holds the lock.

    def _check_left(self) -> None:
        if self._left:
            raise OverrunError(
                f"the consumer at {self.endpoint} has left in the middle of the series",
                expected="one consumer from the start of a series to its end",
                todo="begin the series again when a consumer is there",
            )

    def _keep(self, parts: list[Part]) -> None:
        """Copy a message, and keep it until it is confirmed."""
        self._kept.append([bytes(part) for part in parts])

    def _keep_content(self, parts: list[Part]) -> None:
        self._keep(parts)
        if self._first is None:
            self._first = self._confirmed + len(self._kept) - 1

    def _turn(self, wait_ms: int) -> None:
        """Read what consumers want, and send what the one that is served has room for."""
        read = 0
        while read < _READ_AT_ONCE and self._socket.poll(0 if read else wait_ms):
            sender, *said = self._socket.recv_multipart(zmq.NOBLOCK)
            read += 1
            request = Request.unpack(said[0]) if len(said) == 1 else None
            if request is not None:
                self._follow(sender, request)
        while self._consumer is not None and self._sent < min(self._limit, self._confirmed + len(self._kept)):
            topic, *rest = self._kept[self._sent - self._confirmed]
            topic = pack_number(self._sent - self._origin) + topic
            try:
                self._socket.send_multipart([self._consumer, topic, *rest], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                    raise
                return  # it is gone, or its connection is full; it asks again
            self._sent += 1

    def _follow(self, sender: bytes, request: Request) -> None:
        if self._consumer is None and not request.leaving and not self._left:
            if request.first:
                self._answer(sender, NEW)  # it has been served by a program that ran here before
                return
            log.info("a consumer connects to %s", self.endpoint)
            self._consumer = sender
            self._origin = self._sent = self._limit = self._confirmed
        if sender != self._consumer:
            if not request.leaving:
                self._answer(sender, BUSY)
            return
        self._heard_s = self._clock()
        first = self._origin + request.first
        if self._confirmed <= first <= self._sent:
            for _ in range(first - self._confirmed):
                self._kept.popleft()
            self._confirmed = first
            self._limit = max(self._limit, first + request.count)
            if request.again:
                self._sent = first
        if request.leaving:
            self._consumer = None
            if self._in_series and not self._can_begin_again():
                self._left = True

    def _can_begin_again(self) -> bool:
        """Prepare the series for another consumer; False when the one that has left took frames of it.

        A consumer that leaves after a series may already have got the beginning of the next one.
        """
        end = self._confirmed + len(self._kept)
        first = end if self._first is None else self._first
        if not self._started <= self._confirmed <= first:
            return False
        kept = list(self._kept)[first - self._confirmed :]
        self._kept = deque([self._start, *kept])
        self._started = self._confirmed = self._sent = first - 1
        return True

    @property
    def _in_series(self) -> bool:
        """Whether the consumer is to get more of the present series."""
        return bool(self._kept) or (self._encoder is not None and not self._encoder.ended)

    def _answer(self, sender: bytes, word: bytes) -> None:
        with suppress(zmq.ZMQError):  # it has gone, or reads no answers; then it asks again or does not matter
            self._socket.send_multipart([sender, word], zmq.NOBLOCK)

    # The thread that serves while nobody calls.

    def _serve(self) -> None:
        while not self._closing.wait(_SERVICE_S):
            # Any error: the next call meets it again, and must not find this thread dead.
            try:
                with self._lock:
                    self._turn(0)
                    self._beat()
                    self._forget_silent_consumer()
            except Exception:
                log.exception("the consumer at %s could not be served for a moment", self.endpoint)

    def _beat(self) -> None:
        """Send a beat when one is due and nothing else waits, so that it needs no room of its own."""
        encoder, end = self._encoder, self._confirmed + len(self._kept)
        if self._clock() < self._beat_at_s or encoder is None or encoder.ended or not self._sent == end < self._limit:
            return
        self._beat_at_s = self._clock() + self._beat_s
        self._keep(encoder.beat())
        self._turn(0)

    def _forget_silent_consumer(self) -> None:
        """Between two series, give the place of a consumer that has died to the next one."""
        if self._consumer and not self._in_series and self._clock() - self._heard_s > SILENT_S:
            log.warning("the consumer at %s is gone", self.endpoint)
            self._consumer = None
