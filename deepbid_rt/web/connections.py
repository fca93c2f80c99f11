"""Keeps the connections to the page within bounds: their number, the size of requests, and the time they take."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import cast

from deepbid_rt.web.peer import peer_of
from deepbid_rt.web.refusals import Cause, Refusals

MAX_CONNECTIONS = 64
"""Connections at a time. Each takes a file descriptor, of which recordings and logs need some as well."""
MAX_OF_A_PEER = 32
"""Connections of one peer at a time. A browser opens up to 6; all that come through a tunnel count as one peer."""
MAX_REQUEST_BYTES = 2**15
"""Bytes of a request. Browsers send the cookies of all servers on the same host."""
REQUEST_S = 10.0
"""Time from a connection, or from the begin of an answer, to the begin of the next answer. It covers a request that
does not arrive, an answer that is not read, and a connection that is not used."""


class Connections:
    """Makes the protocol of each connection, and closes connections that break the bounds. For one event loop.

    Parameters
    ----------
    make_handler : callable
        Returns the protocol that answers the requests of one connection.
    refusals : Refusals
    clock : callable, optional
        Returns monotonic seconds.
    """

    def __init__(
        self,
        make_handler: Callable[[], asyncio.Protocol],
        refusals: Refusals,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_handler = make_handler
        self._refusals = refusals
        self._clock = clock
        self._open: dict[asyncio.BaseTransport, Connection] = {}
        self._of_peer: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self, self._make_handler)

    def begin_answer(self, transport: asyncio.BaseTransport | None) -> None:
        """Note that a whole request has arrived and is being answered."""
        if transport is not None and (connection := self._open.get(transport)) is not None:
            connection.answered_s, connection.unanswered_bytes = self._clock(), 0

    def close_late(self) -> None:
        """Close the connections whose time is up."""
        now_s = self._clock()
        for connection in [each for each in self._open.values() if now_s - each.answered_s > REQUEST_S]:
            unused = not connection.unanswered_bytes and not connection.transport.get_write_buffer_size()
            if unused and not connection.closing:
                connection.closing = True  # closed politely; if that takes too long, it is cut off in the next round
                connection.transport.close()
            else:
                self.refuse(connection, "slow", "closed a connection that was too slow")

    def abort_all(self) -> None:
        """Cut off all connections: a browser that does not read would keep its connection, and its data, for ever."""
        for connection in list(self._open.values()):
            connection.transport.abort()

    def refuse(self, connection: Connection, cause: Cause, text: str) -> None:
        """Cut off a connection and count it."""
        self._refusals.add(cause, connection.peer, text)
        connection.transport.abort()

    def admit(self, connection: Connection) -> bool:
        """Register a new connection; returns False, and cuts it off, when there are too many."""
        if len(self._open) >= MAX_CONNECTIONS or self._of_peer[connection.peer] >= MAX_OF_A_PEER:
            self.refuse(connection, "connections", "refused a connection, as there are too many")
            return False
        self._open[connection.transport] = connection
        self._of_peer[connection.peer] += 1
        connection.answered_s = self._clock()
        return True

    def forget(self, connection: Connection) -> None:
        """Remove a connection that is closed."""
        del self._open[connection.transport]
        self._of_peer -= Counter([connection.peer])


class Connection(asyncio.Protocol):
    """Hands what arrives on one connection to the protocol that answers it, within the bounds of `Connections`."""

    def __init__(self, connections: Connections, make_handler: Callable[[], asyncio.Protocol]) -> None:
        self._connections = connections
        self._make_handler = make_handler
        self._handler: asyncio.Protocol | None = None
        self.peer = ""
        """Who is connected."""
        self.answered_s = 0.0
        """Monotonic time of the last begin of an answer; before the first, of the connection."""
        self.unanswered_bytes = 0
        """Bytes that have arrived since then."""
        self.closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are too many connections."""
        self.transport = cast("asyncio.Transport", transport)
        self.peer = peer_of((transport.get_extra_info("peername") or ("unknown",))[0])
        if self._connections.admit(self):
            self._handler = self._make_handler()
            self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Hand on what has arrived, unless a request is too large."""
        self.unanswered_bytes += len(data)
        if self.unanswered_bytes > MAX_REQUEST_BYTES:
            self._connections.refuse(self, "size", f"refused a request of more than {MAX_REQUEST_BYTES} bytes")
        elif self._handler:
            self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        """Tell the handler that nothing more will arrive."""
        return self._handler.eof_received() if self._handler else None

    def pause_writing(self) -> None:
        """Tell the handler that the peer does not read."""
        if self._handler:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Tell the handler that the peer reads again."""
        if self._handler:
            self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._handler:
            self._connections.forget(self)
            self._handler.connection_lost(exc)
