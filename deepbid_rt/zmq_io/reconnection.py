"""Connects again where libzmq has given up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import zmq

from deepbid_rt.zmq_io.connection_watch import Connection

PATIENCE_S = 1.0
"""Time for libzmq to try again by itself: it does after a tenth of a second, or never."""


class Reconnection:
    """Connects a socket again after an error of the protocol, for the thread that owns the socket.

    libzmq tries again for ever when a connection breaks or is refused. But it gives up after a message that is longer
    than the socket accepts, a greeting that is not ZeroMQ, and keys that do not fit. So one bad message, or a wrong
    program that held the port for a moment, would cut a session off from its microscope for good.

    Parameters
    ----------
    endpoint : str
        Address that the socket is connected to.
    connection : Connection
        What the events of the socket say, see `ConnectionWatch`.
    clock : callable
        Returns monotonic seconds.
    """

    def __init__(self, endpoint: str, connection: Connection, clock: Callable[[], float]) -> None:
        self._endpoint, self._connection, self._clock = endpoint, connection, clock
        self._since_s: float | None = None

    def turn(self, socket: zmq.Socket[bytes]) -> None:
        """Connect again if libzmq does not; called while no message waits, as those that wait would be lost."""
        if not self._connection.ended:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = self._clock()
        elif self._clock() - self._since_s >= PATIENCE_S:
            self._since_s = None
            with suppress(zmq.ZMQError):  # libzmq has forgotten the address already
                socket.disconnect(self._endpoint)
            socket.connect(self._endpoint)
