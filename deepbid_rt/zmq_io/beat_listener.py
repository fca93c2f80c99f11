"""Receives the beats of a stream, and leaves its frames on the sender's side."""

from __future__ import annotations

import time
from collections.abc import Callable

import zmq

from deepbid_rt.errors import WireError
from deepbid_rt.wire.codec import decode
from deepbid_rt.wire.message import BeatMessage
from deepbid_rt.wire.source_status import SourceStatus
from deepbid_rt.zmq_io.connection_watch import ConnectionWatch
from deepbid_rt.zmq_io.endpoint import POLL_MS, host_of, set_common

LOST_S = 3.0
"""Seconds without a beat after which the sender is taken for gone."""


class BeatListener:
    """Subscribes to the beats of the first sender that it hears. Use it in a ``with`` block, from one thread.

    A topic names the sender before the kind of a message. So this listens to everything of a role until it knows the
    name, and then to the beats alone: at most a few frames are transferred. When no beat comes for a while, it listens
    to everything again, as another sender may have taken the place.

    Parameters
    ----------
    endpoint : str
        ``tcp://HOST:PORT`` of the publisher.
    role : str
        First word of the topics.
    configure : callable, optional
        Sets the options of a socket to the endpoint, its keys included.
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
        role: str = "den",
        *,
        configure: Callable[[zmq.Socket[bytes]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        host_of(endpoint, connect=True)
        configure = configure or (lambda socket: set_common(socket, endpoint))
        self.endpoint = endpoint
        self._role, self._clock = f"{role}/".encode(), clock
        self._beats: bytes | None = None
        self._heard_s: float | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 4)
        configure(self._socket)
        self._socket.setsockopt(zmq.SUBSCRIBE, self._role)
        self._watch = ConnectionWatch(
            self._context,
            self._socket,
            endpoint,
            self._role,
            status=self._status,
            configure=configure,
            tell=lambda _: None,  # whoever reads the beats shows `problem`
            repeat_s=float("inf"),
        )
        self._socket.connect(endpoint)

    @property
    def problem(self) -> str:
        """Why no beat comes, and what to do about it; empty while beats come, and before it is known."""
        return self._watch.problem

    @property
    def silent(self) -> bool:
        """True when no beat has come for a while."""
        return self._heard_s is None or self._clock() - self._heard_s > LOST_S

    def read(self, timeout_s: float) -> BeatMessage | None:
        """Return the next beat, or None after `timeout_s` seconds."""
        deadline = self._clock() + timeout_s
        while True:
            if self._beats is not None and self.silent:
                self._listen_to(None)
            left_s = deadline - self._clock()
            if self._socket.poll(max(0, min(POLL_MS, round(left_s * 1000)))):
                beat = self._take(self._socket.recv_multipart(zmq.NOBLOCK))
                if beat is not None:
                    return beat
            elif left_s <= 0:
                return None

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._socket.close()
        self._watch.close()
        self._context.term()

    def __enter__(self) -> BeatListener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, parts: list[bytes]) -> BeatMessage | None:
        """Return the beat that a message is, and follow its sender; None for other messages and those of strangers."""
        try:
            message = decode(parts, default_layout="ordinary", arrived_ns=time.time_ns())
        except WireError:
            return None  # the receiver of the frames counts and logs it
        if self._beats is None:
            self._listen_to(f"{message.role}/{message.source}/beat/".encode())
            self._heard_s = self._clock()
        if not isinstance(message, BeatMessage):
            return None
        self._heard_s = self._clock()
        return message

    def _listen_to(self, beats: bytes | None) -> None:
        # The new subscription first, so that no beat falls between the two.
        self._socket.setsockopt(zmq.SUBSCRIBE, beats or self._role)
        self._socket.setsockopt(zmq.UNSUBSCRIBE, self._role if beats else self._beats or b"")
        self._beats = beats

    def _status(self) -> SourceStatus:
        return SourceStatus("waiting" if self.silent else "live", 0, {}, {}, {}, 0)
