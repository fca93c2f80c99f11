"""A sink that publishes frames over ZeroMQ."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import zmq

from deepbid_rt.errors import StageError, StreamError
from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.wire.codec import Encoder, Part
from deepbid_rt.wire.publisher_status import PublisherStatus
from deepbid_rt.zmq_io.access_control import MAX_PEERS, AccessControl
from deepbid_rt.zmq_io.endpoint import HIGH_WATER_MESSAGES, check_protection, set_common, unusable
from deepbid_rt.zmq_io.key_folder import KeyFolder

log = logging.getLogger(__name__)

_END_LINGER_MS = 1000
_WAIT_S = 0.01
"""How often `wait_for_subscriber` checks."""
_READ_S, _BEAT_READ_S = 0.001, 0.02
"""Longest time for reading subscriptions after a frame, and at a beat. A peer can send more than can be read."""
_JOIN_S = 2.0
"""How long `close` waits for a beat, whose status may hang at a disk."""


class ZmqSink:
    """Publishes one stream; implements `Sink`. Subscribers may come and go, and none can slow it down.

    A second thread sends a beat every second, also while no frames arrive. A zmq socket is not thread-safe, but
    several threads may use it in turn with a full memory fence in between. One lock guards the socket and the
    encoder. It gives the fence, and the numbers the same order as the bytes on the wire. While it is held, only the
    lock of the access control is taken, for a few operations. It is held for one non-blocking send (the copy of one
    frame) and a bounded time of reading, so neither thread waits long for the other. Beats sent from `put` would stop
    when the stream is idle. A thread that owns the socket would cost every frame a pass through a queue.

    Beats go on whatever happens: a status that fails is left out and counted. After an exception from another method,
    `start` of the same series continues it: its numbers go on, so subscribers count what they did not get.

    Parameters
    ----------
    endpoint : str
        ``tcp://HOST:PORT`` to bind; port 0 or ``*`` takes a free one, see `endpoint`.
    role : str
        First word of the topic: ``den`` for denoised frames, ``raw`` for raw frames.
    source_name : str or None
        Second word of the topic; None uses the source name of the series.
    keys : Path or str, optional
        Folder of keys, see `KeyFolder`: the stream is encrypted, and only computers with an allowed key get it.
    insecure_lan : bool
        Allow addresses other than loopback without keys. Anybody on the network can then receive the stream.
    beat_s : float
        Seconds between beats.
    max_peers : int
        Connections at a time.

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
        role: str = "den",
        source_name: str | None = None,
        keys: Path | str | None = None,
        insecure_lan: bool = False,
        beat_s: float = 1.0,
        max_peers: int = MAX_PEERS,
    ) -> None:
        self.unprotected: str | None = check_protection(
            endpoint, connect=False, keys=keys is not None, insecure_lan=insecure_lan
        )
        """What strangers can do, in one sentence; None when the stream is protected or stays on this computer."""
        if self.unprotected:
            log.warning("%s", self.unprotected)
        self._role = role
        self._source_name = source_name
        self._beat_s = beat_s
        self._encoder: Encoder | None = None
        self._status: Callable[[], Mapping[str, Any]] | None = None
        self._linger_ms = 0
        self._subscriptions: set[bytes] = set()
        self.beat_failures = 0
        """Beats that could not be sent, or were sent without the status, because of an error."""
        self._beat_problem = ""
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        # XPUB is PUB that also receives the subscriptions.
        self._socket = self._context.socket(zmq.XPUB)
        # Set before `bind` and never again: libzmq crashes when it changes for a connection that is just ending.
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MESSAGES)
        set_common(self._socket, endpoint)
        try:
            self.access = AccessControl(
                self._context, self._socket, KeyFolder(keys) if keys is not None else None, max_peers=max_peers
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
        self._thread = self._start_beats()

    def set_status(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Send what `status` returns with every beat from now on; it is called in the thread of the beats."""
        self._status = status

    def status(self) -> PublisherStatus:
        """Return who is connected and what went wrong; safe from any thread, and after `close` too."""
        access = self.access
        failures = self.beat_failures + access.failures
        return PublisherStatus(access.peers, dict(access.refused), failures, self.unprotected)

    def wait_for_subscriber(self, timeout_s: float) -> bool:
        """Wait for a subscriber to this role; return False after `timeout_s` seconds, or when closed meanwhile."""
        deadline = time.monotonic() + timeout_s
        role = f"{self._role}/".encode()
        while not self._closing.is_set():
            with self._lock:
                self._read_subscriptions(_BEAT_READ_S)
                if any(role.startswith(topic) or topic.startswith(role) for topic in self._subscriptions):
                    return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._closing.wait(min(left, _WAIT_S))
        return False

    def start(self, info: StreamInfo) -> None:
        """Begin a series. A series that is still running is not ended: subscribers see that it is replaced.

        The running series itself may be started again, and goes on. Threads of this sink that have died begin anew.

        Raises
        ------
        WireError
            When a name or a fact of the series does not fit the protocol.
        """
        info = replace(info, source=self._source_name or info.source)
        with self._lock:
            if not self._thread.is_alive() and not self._closing.is_set():
                self._thread = self._start_beats()
            try:
                self.access.check()
            except StageError as error:
                log.warning("%s", error)
                self.access.start()
            running = self._encoder
            if running is not None and not running.ended and running.info == info:
                self._send(running.beat())
                return
            encoder = Encoder(info, self._role)
            self._send(encoder.start())
            self._encoder = encoder

    def put(self, frame: Frame) -> None:
        """Send one frame.

        Raises
        ------
        StreamError
            When its shape or type differ from the series.
        StageError
            When nobody decides any more who may connect.
        """
        with self._lock:
            self.access.check()
            self._send(self._series().frame(frame))
            self._read_subscriptions(_READ_S)

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
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            log.warning("the status of the session hangs; %s is closed without waiting for it", self.endpoint)
        with self._lock:
            if not self._socket.closed:
                self.access.close()
                self._socket.close(self._linger_ms)
        self._context.term()

    def _series(self) -> Encoder:
        if self._encoder is None or self._encoder.ended:
            raise StreamError(
                "a frame, gap or end outside a series", expected="a start before it", todo="call start first"
            )
        return self._encoder

    # The caller of the following methods holds the lock.

    def _send(self, parts: list[Part], *, linger_ms: int = 0) -> None:
        """Send a message. Copies it, as pixels may change after `put` has returned."""
        self._socket.send_multipart(parts, copy=True)
        self._linger_ms = linger_ms

    def _read_subscriptions(self, longest_s: float) -> None:
        """Update the set of subscriptions, for at most so many seconds."""
        until_s = time.monotonic() + longest_s
        while self._socket.poll(0) and time.monotonic() < until_s:
            message = self._socket.recv(zmq.NOBLOCK, copy=False)
            change = bytes(message.buffer)
            if change[:1] == b"\x01":
                self._subscriptions.add(change[1:])
            else:
                self._subscriptions.discard(change[1:])
            if (descriptor := _descriptor(message)) is not None:
                self.access.count_message(descriptor)

    # The thread of the beats.

    def _start_beats(self) -> threading.Thread:
        thread = threading.Thread(target=self._beat, name="beat", daemon=True)
        thread.start()
        return thread

    def _beat(self) -> None:
        while not self._closing.wait(self._beat_s):
            status: Mapping[str, Any] | None = None
            # Any error: a stream without beats looks dead to subscribers, and others cannot join it.
            try:
                status = self._status() if self._status else None  # outside the lock, as it may wait for a disk
            except Exception as error:
                self._note_beat_failure(error)
            try:
                self._send_beat(status)
            except Exception as error:
                self._note_beat_failure(error)

    def _send_beat(self, status: Mapping[str, Any] | None) -> None:
        with self._lock:
            if self._closing.is_set():
                return  # the socket may be closed already
            self._read_subscriptions(_BEAT_READ_S)
            if self._encoder is None:
                return
            try:
                parts = self._encoder.beat(status)
            except Exception as error:  # any: what a session reports must not end its beats
                if not status:
                    raise
                self._note_beat_failure(error)
                parts = self._encoder.beat()
            self._send(parts, linger_ms=self._linger_ms)

    def _note_beat_failure(self, error: Exception) -> None:
        self.beat_failures += 1
        if repr(error) != self._beat_problem:
            self._beat_problem = repr(error)
            log.error("a beat is incomplete or not sent; frames go on", exc_info=error)


def _descriptor(message: zmq.Frame) -> int | None:
    """Return the descriptor of the connection that a message came over; None for what libzmq says itself."""
    try:
        return int(message.get(zmq.SRCFD))
    except (zmq.ZMQError, TypeError, ValueError):
        return None
