"""Ends a connection whose sender sends a message without an end."""

from __future__ import annotations

import socket as sockets
import struct

from deepbid_rt.errors import WireError
from deepbid_rt.zmq_io.connection_watch import Connection
from deepbid_rt.zmq_io.tcp_traffic import borrowed, bytes_received

_AT_ONCE = struct.pack("ii", 1, 0)  # struct linger: on, for 0 s


class MessageLimit:
    """Bounds the length of a message, all parts together, for the thread that receives.

    libzmq bounds each part, keeps all of them until the last one has come, and says nothing meanwhile. So this class
    looks at what the kernel has received while no message came.

    Parameters
    ----------
    connection : Connection
        What the events of the socket say, see `ConnectionWatch`.
    endpoint : str
        Address that the socket is connected to; nothing else is ever ended.
    limit_bytes : int
        Longest message.
    """

    def __init__(self, connection: Connection, endpoint: str, limit_bytes: int) -> None:
        self._port = int(endpoint.rpartition(":")[2])
        self._connection = connection
        self._limit_bytes = limit_bytes
        self._at: tuple[int, int] | None = None  # descriptor, and bytes at the first look after the latest message

    def arrived(self) -> None:
        """Take note that a whole message has come."""
        self._at = None

    def cut(self) -> bool:
        """End the connection if the message on the way is too long; libzmq then connects again. True when it was.

        Called while no message waits. Without the kernel's counter (not Linux) nothing is bounded.
        """
        descriptor = self._connection.descriptor
        if descriptor is None:
            self._at = None
            return False
        cut = False
        with borrowed(descriptor, port=self._port, remote=True) as peer:
            received = bytes_received(peer) if peer else None
            if peer is None or received is None:
                return False
            if self._at is None or self._at[0] != descriptor or received < self._at[1]:
                self._at = (descriptor, received)
            if received - self._at[1] > self._limit_bytes:
                self._at = None
                # Without waiting for what is on the way: the sender would else hang for minutes before it learns of it.
                peer.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _AT_ONCE)
                peer.shutdown(sockets.SHUT_RDWR)
                cut = True
        return cut


def endless() -> WireError:
    """Return the error that a message counts as that was cut off because it became too long."""
    return WireError(
        "endless",
        "a message that is longer than the longest frame and has not ended",
        expected="a topic, a header and the pixels of one frame",
        todo="check what sends to this address; the connection was ended and begins again",
    )
