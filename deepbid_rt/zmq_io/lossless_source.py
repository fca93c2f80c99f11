"""A source that receives every frame of a sender that waits for it."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import zmq

from deepbid_rt.errors import EndpointError
from deepbid_rt.frame import Event, Layout
from deepbid_rt.wire.receive_ring import ReceiveRing
from deepbid_rt.wire.receiver import Receiver
from deepbid_rt.wire.source_status import SourceStatus
from deepbid_rt.zmq_io.client_keys import ClientKeys
from deepbid_rt.zmq_io.connection_watch import Connection, ConnectionWatch
from deepbid_rt.zmq_io.endpoint import POLL_MS, check_protection, set_common, unusable
from deepbid_rt.zmq_io.lossless import AGAIN_S, BUSY, KEEP_ALIVE_S, NEW, NUMBER_BYTES, WINDOW, Request, unpack_number
from deepbid_rt.zmq_io.message_limit import MessageLimit, endless
from deepbid_rt.zmq_io.reconnection import Reconnection
from deepbid_rt.zmq_io.source import receive_parts

log = logging.getLogger(__name__)

_FULL_POLL_MS = 2
"""Wait for a message while the reader is behind: the thread must notice soon that there is room again."""
_LINGER_MS = 500


class LosslessSource:
    """Receives the stream of a `LosslessSink`; implements `FrameSource`. Nothing is lost, and the sender waits.

    A thread of its own receives every message into a ring, and tells the sender how many more it may send. A reader
    that pauses makes the sender wait.

    Parameters
    ----------
    endpoint : str
        ``tcp://HOST:PORT`` of the sender, which may also start later.
    default_layout, keys, server_key, insecure_lan, ring_bytes, stall_s, lost_s, clock
        See `ZmqSource`.

    Raises
    ------
    EndpointError, FileError
        See `ZmqSource`.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        default_layout: Layout | None = None,
        ring_bytes: int = 2**30,
        keys: Path | str | None = None,
        server_key: Path | str | None = None,
        insecure_lan: bool = False,
        stall_s: float = 0.5,
        lost_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.unprotected: str | None = check_protection(
            endpoint, connect=True, keys=server_key is not None, insecure_lan=insecure_lan
        )
        """What strangers can do, in one sentence; None when the stream is protected or stays on this computer."""
        self._keys = ClientKeys.load(keys, server_key)
        self.endpoint = endpoint
        """Address of the sender."""
        self._clock = clock
        self._ring = ReceiveRing(2 * WINDOW, max_bytes=ring_bytes)
        self._receiver = Receiver(self._ring, default_layout=default_layout, stall_s=stall_s, lost_s=lost_s)
        self._closing = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._thread: threading.Thread | None = None
        self._watch: ConnectionWatch | None = None
        self._expected = self._limit = 0  # number of the next message, and of the first one that may not be sent yet

    def open(self) -> None:
        """Connect and start receiving. Raises `EndpointError` when the address cannot be used."""
        self._closing.clear()
        if self.unprotected:
            log.warning("%s", self.unprotected)
        self._expected = self._limit = 0
        self._context = zmq.Context()
        socket = self._context.socket(zmq.DEALER)
        # The sender knows this consumer by a name of its own, also after the connection was cut.
        socket.setsockopt(zmq.ROUTING_ID, b"c" + uuid.uuid4().bytes)
        socket.setsockopt(zmq.LINGER, _LINGER_MS)
        socket.setsockopt(zmq.RCVHWM, 2 * WINDOW)
        socket.setsockopt(zmq.SNDHWM, 2 * WINDOW)
        socket.setsockopt(zmq.IMMEDIATE, 1)  # requests are for a connection that is there, not for a later one
        socket.setsockopt(zmq.MAXMSGSIZE, self._ring.max_frame_bytes)
        self._configure(socket)
        self._watch = ConnectionWatch(
            self._context,
            socket,
            self.endpoint,
            b"",
            status=lambda: self._receiver.status(self._clock()),
            configure=self._configure,
        )
        try:
            socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            socket.close(0)
            self.close()
            raise unusable(self.endpoint, error) from error
        # From here on only the receiving thread uses the socket: zmq sockets are not thread-safe.
        self._thread = threading.Thread(target=self._receive, args=(socket,), name="receive", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event, or None after `timeout_s` seconds; a frame's pixels stay valid until the next call.

        Raises
        ------
        EndpointError
            When the sender serves another consumer.
        Exception
            See `ZmqSource.read`.
        """
        return self._ring.get(timeout_s)

    def status(self) -> SourceStatus:
        """Return state and counts; from any thread, before `open` and after `close` too."""
        status = replace(self._receiver.status(self._clock()), unprotected=self.unprotected)
        return replace(status, problem=self._watch.problem) if self._watch and self._watch.problem else status

    def close(self) -> None:
        """Leave the sender and close the socket; may be called twice. Events in the ring can still be read."""
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
        """Set the options of a socket that connects to the sender."""
        set_common(socket, self.endpoint)
        if self._keys:
            self._keys.apply(socket)

    # The receiving thread.

    def _receive(self, socket: zmq.Socket[bytes]) -> None:
        try:
            connection = self._watch.connection if self._watch else Connection()
            reconnection = Reconnection(self.endpoint, connection, self._clock)
            limit = MessageLimit(connection, self.endpoint, 2 * self._ring.max_frame_bytes)
            arrived_s = asked_s = self._clock()
            again_s = arrived_s
            self._ask(socket, again=True)
            while not self._closing.is_set():
                behind = self._limit - self._expected < WINDOW - 1
                if socket.poll(_FULL_POLL_MS if behind else POLL_MS):
                    limit.arrived()
                    if self._take(receive_parts(socket)):
                        arrived_s = self._clock()
                else:
                    self._receiver.tick(self._clock())
                    if limit.cut():
                        self._receiver.refuse(endless(), self._clock())
                    reconnection.turn(socket)
                now_s = self._clock()
                room = self._expected + self._room() - self._limit
                again = now_s - max(arrived_s, again_s) >= AGAIN_S
                # Room for a third of the window at once: one request for several messages.
                if room * 3 >= WINDOW or again or now_s - asked_s >= KEEP_ALIVE_S:
                    self._ask(socket, again=again)
                    asked_s = now_s
                    again_s = now_s if again else again_s
            self._ask(socket, leaving=True)
        # Any error: the reader must learn that no more frames will come, and why.
        except Exception as error:
            self._ring.fail(error)
        finally:
            self._receiver.close(self._clock())
            socket.close()

    def _take(self, parts: list[zmq.Frame]) -> bool:
        """Take a message; False when it is not the next one."""
        head = parts[0].buffer
        if len(parts) == 1 and bytes(head) == BUSY:
            raise EndpointError(
                f"{self.endpoint} serves another consumer",
                expected="one consumer of a lossless stream",
                todo="stop the other one, or publish without --lossless to serve several",
            )
        if len(parts) == 1 and bytes(head) == NEW:
            self._expected = self._limit = 0
            return False
        # Messages that were sent again although they had arrived are here already. One that is too far ahead comes
        # again, see `Request.again`.
        if unpack_number(head) != self._expected:
            return False
        self._expected += 1
        body = [head[NUMBER_BYTES:], *(part.buffer for part in parts[1:])]
        self._receiver.push(body, now_s=self._clock(), now_ns=time.time_ns())
        return True

    def _room(self) -> int:
        return max(0, WINDOW - self._ring.unread)

    def _ask(self, socket: zmq.Socket[bytes], *, again: bool = False, leaving: bool = False) -> None:
        room = 0 if leaving else self._room()
        try:
            socket.send(Request(self._expected, room, again, leaving).pack(), zmq.NOBLOCK)
        except zmq.Again:
            return  # there is no connection now, or it takes nothing; the request is repeated soon
        self._limit = max(self._limit, self._expected + room)
