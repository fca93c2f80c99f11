"""A source that receives frames over ZeroMQ."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import zmq

from deepbid_rt.frame import Event, Layout
from deepbid_rt.wire.receive_ring import ReceiveRing
from deepbid_rt.wire.receiver import Receiver
from deepbid_rt.wire.source_status import SourceStatus
from deepbid_rt.zmq_io.endpoint import HIGH_WATER_MESSAGES, POLL_MS, host_of, set_common, unusable


class ZmqSource:
    """Subscribes to one stream; implements `FrameSource`.

    A thread of its own receives every message, validates it, and copies its pixels once, into a ring. It never waits
    for the reader: a reader that is too slow loses the oldest frames and gets a `Gap` in their place.

    Parameters
    ----------
    endpoint : str
        ``tcp://HOST:PORT`` of the publisher, which may also start later.
    default_layout : Layout or None
        Scan layout of streams that do not state one; with None they are refused.
    topic : bytes
        Prefix of the topics to receive; it should match a single sender.
    ring_frames, ring_bytes : int
        Largest number of frames that wait for the reader, and memory for them. One frame may use an eighth of it.
    stall_s, lost_s : float
        See `Receiver`.
    clock : callable
        Returns monotonic seconds.

    Raises
    ------
    EndpointError
        When the endpoint is not an address.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        default_layout: Layout | None = None,
        topic: bytes = b"raw/",
        ring_frames: int = 256,
        ring_bytes: int = 2**30,
        stall_s: float = 0.5,
        lost_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        host_of(endpoint, connect=True)
        self.endpoint = endpoint
        """Address of the publisher."""
        self._topic = topic
        self._clock = clock
        self._ring = ReceiveRing(ring_frames, max_bytes=ring_bytes)
        self._receiver = Receiver(self._ring, default_layout=default_layout, stall_s=stall_s, lost_s=lost_s)
        self._closing = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Connect and start receiving. Raises `EndpointError` when the address cannot be used."""
        self._closing.clear()
        self._context = zmq.Context()
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MESSAGES)
        socket.setsockopt(zmq.MAXMSGSIZE, self._ring.max_frame_bytes)
        set_common(socket, self.endpoint)
        socket.setsockopt(zmq.SUBSCRIBE, self._topic)
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
        StreamError
            Once, in place of a frame that contradicts the start of its series, or of a start that is refused.
        Exception
            The error that stopped the receiving thread, once everything received before was read.
        """
        return self._ring.get(timeout_s)

    def status(self) -> SourceStatus:
        """Return state and counts; from any thread, before `open` and after `close` too."""
        return self._receiver.status(self._clock())

    def close(self) -> None:
        """Stop receiving and close the socket; may be called twice. Events in the ring can still be read."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._context is not None:
            self._context.term()
            self._context = None

    def _receive(self, socket: zmq.Socket[bytes]) -> None:
        try:
            while not self._closing.is_set():
                if socket.poll(POLL_MS):
                    parts = socket.recv_multipart(zmq.NOBLOCK, copy=False)
                    self._receiver.push([part.buffer for part in parts], now_s=self._clock(), now_ns=time.time_ns())
        # Any error: the reader must learn that no more frames will come, and why.
        except Exception as error:
            self._ring.fail(error)
        finally:
            socket.close()
