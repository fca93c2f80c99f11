"""Frames to the network. Knows threads and sockets; what messages look like is `Encoder`'s."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import zmq

from deepbid_rt.errors import EndpointError, StreamError
from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.wire.codec import Encoder, Part
from deepbid_rt.wire.loopback import is_loopback
from deepbid_rt.zmq_io.endpoint import HIGH_WATER_MESSAGES, host_of, set_common, unusable

log = logging.getLogger(__name__)

_END_LINGER_MS = 1000
_WAIT_S = 0.01
"""How often a caller that waits for a subscriber looks."""


class ZmqSink:
    """Publishes one stream; implements `Sink`. Subscribers may come and go; none can hold it up.

    A second thread sends a beat every second, idle or not. zmq sockets are not thread-safe but may be used by
    different threads in turn when a full memory fence lies between: one lock guards the socket and the encoder,
    giving the fence, and numbers and bytes the same order on the wire. No other lock is taken inside it, and it is
    held for one non-blocking send (a copy of one frame), so neither thread can wait long for the other. Sending
    beats from `put` instead would leave an idle stream without any; queueing frames for a thread that owns the
    socket would cost every frame a hand-over.

    Parameters
    ----------
    endpoint : str
        ``tcp://HOST:PORT`` to bind; port 0 or ``*`` takes a free one, see `endpoint`.
    role : str
        First word of the topic: ``den`` for denoised frames, ``raw`` for a microscope.
    source_name : str or None
        Second word of the topic; None takes that of the series.
    insecure_lan : bool
        Allow addresses other than loopback, where anybody may listen.
    beat_s : float
        Seconds between beats.

    Raises
    ------
    EndpointError
        When the address is malformed, in use, not of this machine, or not loopback without ``insecure_lan``.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        role: str = "den",
        source_name: str | None = None,
        insecure_lan: bool = False,
        beat_s: float = 1.0,
    ) -> None:
        if not is_loopback(host_of(endpoint)):
            if not insecure_lan:
                raise EndpointError(
                    f"{endpoint}, which other machines can reach",
                    expected="a loopback address such as tcp://127.0.0.1:5591",
                    todo="bind loopback, or allow unencrypted access by anyone on the network with --insecure-lan",
                )
            log.warning("%s is reachable from the network; the stream is neither encrypted nor authenticated", endpoint)
        self._role = role
        self._source_name = source_name
        self._beat_s = beat_s
        self._encoder: Encoder | None = None
        self._report: Callable[[], Mapping[str, Any]] | None = None
        self._linger_ms = 0
        self._subscriptions: set[bytes] = set()
        self._failure: Exception | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        # XPUB is PUB that also tells who subscribes.
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MESSAGES)
        set_common(self._socket, endpoint)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise unusable(endpoint, error) from error
        self.endpoint: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        """The address bound, with its real port."""
        self._thread = threading.Thread(target=self._beat, name="beat", daemon=True)
        self._thread.start()

    def tell(self, report: Callable[[], Mapping[str, Any]]) -> None:
        """Let every beat from now on carry what `report` returns; it is called in the thread of the beats."""
        self._report = report

    def wait_for_subscriber(self, timeout_s: float) -> bool:
        """Wait until somebody subscribes to this role; False when nobody did in time, or `close` came first."""
        deadline = time.monotonic() + timeout_s
        role = f"{self._role}/".encode()
        while not self._closing.is_set():
            with self._lock:
                self._hear_subscribers()
                if any(role.startswith(topic) or topic.startswith(role) for topic in self._subscriptions):
                    return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._closing.wait(min(left, _WAIT_S))
        return False

    def start(self, info: StreamInfo) -> None:
        """Begin a series, ending no other: subscribers see a running one replaced.

        Raises
        ------
        WireError
            When the series' names or facts do not fit the protocol.
        """
        encoder = Encoder(replace(info, source=self._source_name or info.source), self._role)
        with self._lock:
            self._send(encoder.start())
            self._encoder = encoder

    def put(self, frame: Frame) -> None:
        """Send one frame. Raises `StreamError` when it does not match its series."""
        with self._lock:
            self._send(self._series().frame(frame))

    def drop(self, frame: Frame) -> None:
        """Lose a frame on purpose, for rehearsal: it is numbered but not sent."""
        with self._lock:
            self._series().drop(frame)

    def skip(self, gap: Gap) -> None:
        """Note frames that will not come: the next frame's number tells subscribers."""
        with self._lock:
            self._series().skip(gap)

    def end(self, end: StreamEnd) -> None:
        """Finish the series."""
        with self._lock:
            self._send(self._series().end(end), linger_ms=_END_LINGER_MS)

    def close(self) -> None:
        """Release the network, waiting up to a second for an end to leave; may be called twice."""
        self._closing.set()
        self._thread.join()
        with self._lock:
            self._socket.close(self._linger_ms)
        self._context.term()

    def _series(self) -> Encoder:
        if self._failure is not None:
            raise self._failure
        if self._encoder is None or self._encoder.ended:
            raise StreamError(
                "a frame, gap or end outside a series", expected="a start before it", todo="start the sink first"
            )
        return self._encoder

    def _send(self, parts: list[Part], *, linger_ms: int = 0) -> None:
        """Send; the caller holds the lock. Copies, as the pixels may change once `put` has returned."""
        self._socket.send_multipart(parts, copy=True)
        self._linger_ms = linger_ms

    def _hear_subscribers(self) -> None:
        """Read who subscribes; the caller holds the lock."""
        while self._socket.poll(0):
            message = self._socket.recv(zmq.NOBLOCK)
            change = self._subscriptions.add if message[:1] == b"\x01" else self._subscriptions.discard
            change(message[1:])

    def _beat(self) -> None:
        try:
            while not self._closing.wait(self._beat_s):
                status = self._report() if self._report else None  # outside the lock, as it may look at the disk
                with self._lock:
                    self._hear_subscribers()
                    if self._encoder is not None:
                        self._send(self._encoder.beat(status), linger_ms=self._linger_ms)
        # Anything: a stream without beats looks dead to subscribers, so the next call fails with the reason.
        except Exception as error:
            self._failure = error
