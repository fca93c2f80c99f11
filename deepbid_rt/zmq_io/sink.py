"""A sink that publishes frames over ZeroMQ."""

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
"""How often `wait_for_subscriber` checks."""


class ZmqSink:
    """Publishes one stream; implements `Sink`. Subscribers may come and go, and none can slow it down.

    A second thread sends a beat every second, also while no frames arrive. A zmq socket is not thread-safe, but
    several threads may use it in turn with a full memory fence in between. One lock guards the socket and the
    encoder. It gives the fence, and the numbers the same order as the bytes on the wire. No other lock is taken while
    it is held, and it is held for one non-blocking send (the copy of one frame), so neither thread waits long for the
    other. Beats sent from `put` would stop when the stream is idle. A thread that owns the socket would cost every
    frame a pass through a queue.

    Parameters
    ----------
    endpoint : str
        ``tcp://HOST:PORT`` to bind; port 0 or ``*`` takes a free one, see `endpoint`.
    role : str
        First word of the topic: ``den`` for denoised frames, ``raw`` for raw frames.
    source_name : str or None
        Second word of the topic; None uses the source name of the series.
    insecure_lan : bool
        Allow addresses other than loopback. Anybody on the network can then receive the stream.
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
        self._status: Callable[[], Mapping[str, Any]] | None = None
        self._linger_ms = 0
        self._subscriptions: set[bytes] = set()
        self._failure: Exception | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        # XPUB is PUB that also receives the subscriptions.
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MESSAGES)
        set_common(self._socket, endpoint)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise unusable(endpoint, error) from error
        self.endpoint: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        """The bound address, with its actual port."""
        self._thread = threading.Thread(target=self._beat, name="beat", daemon=True)
        self._thread.start()

    def set_status(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Send what `status` returns with every beat from now on; it is called in the thread of the beats."""
        self._status = status

    def wait_for_subscriber(self, timeout_s: float) -> bool:
        """Wait for a subscriber to this role; return False after `timeout_s` seconds, or when closed meanwhile."""
        deadline = time.monotonic() + timeout_s
        role = f"{self._role}/".encode()
        while not self._closing.is_set():
            with self._lock:
                self._read_subscriptions()
                if any(role.startswith(topic) or topic.startswith(role) for topic in self._subscriptions):
                    return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._closing.wait(min(left, _WAIT_S))
        return False

    def start(self, info: StreamInfo) -> None:
        """Begin a series. A series that is still running is not ended: subscribers see that it is replaced.

        Raises
        ------
        WireError
            When a name or a fact of the series does not fit the protocol.
        """
        encoder = Encoder(replace(info, source=self._source_name or info.source), self._role)
        with self._lock:
            self._send(encoder.start())
            self._encoder = encoder

    def put(self, frame: Frame) -> None:
        """Send one frame. Raises `StreamError` when its shape or type differ from the series."""
        with self._lock:
            self._send(self._series().frame(frame))

    def drop(self, frame: Frame) -> None:
        """Count a frame without sending it, to rehearse losses."""
        with self._lock:
            self._series().drop(frame)

    def skip(self, gap: Gap) -> None:
        """Count missing frames. Subscribers learn of them from the number of the next frame."""
        with self._lock:
            self._series().skip(gap)

    def end(self, end: StreamEnd) -> None:
        """End the series."""
        with self._lock:
            self._send(self._series().end(end), linger_ms=_END_LINGER_MS)

    def close(self) -> None:
        """Close the socket, after waiting up to a second for a series' end to be sent; may be called twice."""
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
                "a frame, gap or end outside a series", expected="a start before it", todo="call start first"
            )
        return self._encoder

    def _send(self, parts: list[Part], *, linger_ms: int = 0) -> None:
        """Send a message; the caller holds the lock. Copies it, as pixels may change after `put` has returned."""
        self._socket.send_multipart(parts, copy=True)
        self._linger_ms = linger_ms

    def _read_subscriptions(self) -> None:
        """Update the set of subscriptions; the caller holds the lock."""
        while self._socket.poll(0):
            message = self._socket.recv(zmq.NOBLOCK)
            change = self._subscriptions.add if message[:1] == b"\x01" else self._subscriptions.discard
            change(message[1:])

    def _beat(self) -> None:
        try:
            while not self._closing.wait(self._beat_s):
                status = self._status() if self._status else None  # outside the lock, as it may wait for a disk
                with self._lock:
                    self._read_subscriptions()
                    if self._encoder is not None:
                        self._send(self._encoder.beat(status), linger_ms=self._linger_ms)
        # Any error: a stream without beats looks dead to subscribers, so the next call of a method raises it.
        except Exception as error:
            self._failure = error
