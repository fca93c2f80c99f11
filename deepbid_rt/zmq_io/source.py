"""A source that receives frames over ZeroMQ."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import zmq

from deepbid_rt.errors import EndpointError, WireError
from deepbid_rt.frame import Event, Layout
from deepbid_rt.wire.codec import Part
from deepbid_rt.wire.quiet_log import QuietLog
from deepbid_rt.wire.receive_ring import ReceiveRing
from deepbid_rt.wire.receiver import Receiver
from deepbid_rt.wire.source_status import SourceStatus
from deepbid_rt.zmq_io.client_keys import ClientKeys
from deepbid_rt.zmq_io.connection_watch import Connection, ConnectionWatch
from deepbid_rt.zmq_io.dialect import dialect_of, plain_address
from deepbid_rt.zmq_io.endpoint import HIGH_WATER_MESSAGES, POLL_MS, check_protection, set_common, unusable
from deepbid_rt.zmq_io.message_limit import MessageLimit, endless
from deepbid_rt.zmq_io.reconnection import Reconnection

log = QuietLog(__name__)

MESSAGE_PARTS = 3
"""Parts of a message that are used: topic, header, payload."""


class ZmqSource:
    """Subscribes to one stream; implements `FrameSource`.

    A thread of its own receives every message, validates it, and copies its pixels once, into a ring. It never waits
    for the reader: a reader that is too slow loses the oldest frames and gets a `Gap` in their place.

    Parameters
    ----------
    endpoint : str
        ``tcp://HOST:PORT`` of the publisher, which may also start later; ``scanimage+tcp://HOST:PORT`` for ScanImage's
        own publisher, see `dialect_of`.
    default_layout : Layout or None
        Scan layout of streams that do not state one; with None they are refused.
    topic : bytes
        Prefix of the topics to receive; it should match a single sender.
    ring_frames, ring_bytes : int
        Largest number of frames that wait for the reader, and memory for them. One frame may use an eighth of it.
    keys, server_key : Path or str, optional
        Folder of the keys of this computer, and file of the publisher's public key: the stream is encrypted, and comes
        from the owner of that key or not at all. Both or neither.
    insecure_lan : bool
        Allow addresses of other computers without keys. Anybody on the network can then send frames in their place.
    stall_s, lost_s : float
        See `Receiver`.
    clock : callable
        Returns monotonic seconds.

    Raises
    ------
    EndpointError
        When the endpoint is not an address, or is not loopback without keys or ``insecure_lan``.
    FileError
        When the keys cannot be used.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        default_layout: Layout | None = None,
        topic: bytes = b"raw/",
        ring_frames: int = 256,
        ring_bytes: int = 2**30,
        keys: Path | str | None = None,
        server_key: Path | str | None = None,
        insecure_lan: bool = False,
        stall_s: float = 0.5,
        lost_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dialect = dialect_of(endpoint, default_layout)
        if self._dialect is not None:
            if server_key is not None:
                raise EndpointError(
                    f"a key for {endpoint}, which knows no keys",
                    expected="this program on the computer of the microscope, or a network of its own",
                    todo="leave the key out",
                )
            endpoint, topic = plain_address(endpoint), b""
        self.unprotected: str | None = check_protection(
            endpoint, connect=True, keys=server_key is not None, insecure_lan=insecure_lan
        )
        """What strangers can do, in one sentence; None when the stream is protected or stays on this computer."""
        self._keys = ClientKeys.load(keys, server_key)
        self.endpoint = endpoint
        """Address of the publisher."""
        self._topic = topic
        self._clock = clock
        self._ring = ReceiveRing(ring_frames, max_bytes=ring_bytes)
        self._receiver = Receiver(self._ring, default_layout=default_layout, stall_s=stall_s, lost_s=lost_s)
        self._closing = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._thread: threading.Thread | None = None
        self._watch: ConnectionWatch | None = None

    def open(self) -> None:
        """Connect and start receiving. Raises `EndpointError` when the address cannot be used."""
        self._closing.clear()
        if self.unprotected:
            log.warning("%s", self.unprotected)
        self._context = zmq.Context()
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MESSAGES)
        socket.setsockopt(zmq.MAXMSGSIZE, self._ring.max_frame_bytes)
        self._configure(socket)
        socket.setsockopt(zmq.SUBSCRIBE, self._topic)
        self._watch = ConnectionWatch(
            self._context,
            socket,
            self.endpoint,
            self._topic,
            status=lambda: self._receiver.status(self._clock()),
            configure=self._configure,
        )
        try:
            socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            socket.close()
            self.close()
            raise unusable(self.endpoint, error) from error
        # From here on only the receiving thread uses the socket: zmq sockets are not thread-safe.
        self._thread = threading.Thread(target=self._receive, args=(socket,), name="receive", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event, or None after `timeout_s` seconds; a frame's pixels stay valid until the next call.

        Raises
        ------
        Exception
            The error of the socket that stopped the receiving thread, once everything received before was read. What
            a sender sends raises nothing: it is counted, and `status` says what is wrong.
        """
        return self._ring.get(timeout_s)

    def status(self) -> SourceStatus:
        """Return state and counts; from any thread, before `open` and after `close` too."""
        status = replace(self._receiver.status(self._clock()), unprotected=self.unprotected)
        return replace(status, problem=self._watch.problem or status.problem) if self._watch else status

    def close(self) -> None:
        """Stop receiving and close the socket; may be called twice. Events in the ring can still be read."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._watch is not None:
            self._watch.close()
        if self._context is not None:
            self._context.term()
            self._context = None

    def _configure(self, socket: zmq.Socket[bytes]) -> None:
        """Set the options of a socket that connects to the publisher."""
        set_common(socket, self.endpoint)
        if self._keys:
            self._keys.apply(socket)

    def _push(self, parts: list[Part], now_s: float, now_ns: int) -> None:
        receiver, dialect = self._receiver, self._dialect
        if dialect is None:
            receiver.push(parts, now_s=now_s, now_ns=now_ns)
            return
        try:
            messages = dialect.translate(parts, now_s=now_s, now_ns=now_ns)
        except WireError as error:
            receiver.refuse(error, now_s)
            return
        for message in messages:
            receiver.push(message, now_s=now_s, now_ns=now_ns)

    def _translate_silence(self, silent_until_s: float) -> None:
        for message in self._dialect.tick(silent_until_s) if self._dialect else ():
            self._receiver.push(message, now_s=self._clock(), now_ns=time.time_ns())

    def _receive(self, socket: zmq.Socket[bytes]) -> None:
        receiver, longest_s = self._receiver, POLL_MS / 1000
        connection = self._watch.connection if self._watch else Connection()
        reconnection = Reconnection(self.endpoint, connection, self._clock)
        limit = MessageLimit(
            connection, self.endpoint, 2 * self._ring.max_frame_bytes
        )  # twice: a frame is not the whole message
        try:
            while not self._closing.is_set():
                # Rounded up: a wait of 0 ms would turn the loop at full speed until the time has come.
                if socket.poll(math.ceil(1000 * receiver.wait_s(self._clock(), longest_s))):
                    parts = receive_parts(socket)
                    limit.arrived()
                    self._push([part.buffer for part in parts], self._clock(), time.time_ns())
                else:
                    self._translate_silence(self._clock())
                    receiver.tick(self._clock())
                    if limit.cut():
                        receiver.refuse(endless(), self._clock())
                    reconnection.turn(socket)
        # Any error of the socket: the reader must learn that no more frames will come, and why.
        except Exception as error:
            self._ring.fail(error)
        finally:
            self._translate_silence(math.inf)  # the end, and what the dialect holds
            self._translate_silence(math.inf)  # the end, and what the dialect holds
            receiver.close(self._clock())
            socket.close()


def receive_parts(socket: zmq.Socket[bytes]) -> list[zmq.Frame]:
    """Receive a message that is there; return its first 3 parts. Further ones, however many, are received and dropped.

    libzmq gives a message to the program when its last part has come, and keeps all parts until then.
    """
    parts = [socket.recv(zmq.NOBLOCK, copy=False)]
    more = parts[0].more
    while more:
        part = socket.recv(zmq.NOBLOCK, copy=False)
        more = part.more
        if len(parts) < MESSAGE_PARTS:
            parts.append(part)
    return parts
