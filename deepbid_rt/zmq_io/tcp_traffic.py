"""The TCP connections of libzmq, and how much each has received, as the kernel counts it.

libzmq keeps the parts of a message until its last part has come, without a limit and without a way to ask. So a peer
that sends parts without end fills the memory, and only the kernel's counter shows it.
"""

from __future__ import annotations

import errno
import logging
import socket as sockets
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

_BYTES_RECEIVED = 128  # offset of tcpi_bytes_received in struct tcp_info of Linux, since 4.1


def bytes_received(connection: sockets.socket) -> int | None:
    """Return the bytes that a connection has received so far; None where the kernel does not say (not Linux)."""
    if sys.platform != "linux":
        return None
    info = connection.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _BYTES_RECEIVED + 8)
    return int(struct.unpack_from("<Q" if sys.byteorder == "little" else ">Q", info, _BYTES_RECEIVED)[0])


@contextmanager
def borrowed(descriptor: int, *, port: int, remote: bool = False) -> Iterator[sockets.socket | None]:
    """Give access to a connection of libzmq by its descriptor; None when it has ended.

    The descriptor may be closed at any moment, and given to something else. So only a connection to the port of the
    caller's own socket is given, on this side or on the other (`remote`); at worst it is a newer one. An error because
    the connection has ended meanwhile ends the block without a word.
    """
    peer = _connection(descriptor, port, remote)
    if peer is None:
        yield None
        return
    try:
        yield peer
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.ENOTSOCK, errno.EBADF):
            log.warning("a connection cannot be looked at or ended: %s", error)
    finally:
        peer.detach()  # it is libzmq's


def _connection(descriptor: int, port: int, remote: bool) -> sockets.socket | None:
    try:
        peer = sockets.socket(fileno=descriptor)
    except OSError:  # closed, or no socket any more
        return None
    try:
        name = peer.getpeername() if remote else peer.getsockname()
        if isinstance(name, tuple) and name[1] == port:
            return peer
    except OSError:  # it has ended, or is no connection
        pass
    peer.detach()
    return None
