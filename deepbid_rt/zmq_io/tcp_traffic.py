"""How much a TCP connection has received, as the kernel counts it.

libzmq keeps the parts of a message until its last part has come, without a limit and without a way to ask. So a peer
that sends parts without end fills the memory, and only the kernel's counter shows it.
"""

from __future__ import annotations

import socket as sockets
import struct
import sys

_BYTES_RECEIVED = 128  # offset of tcpi_bytes_received in struct tcp_info of Linux, since 4.1


def bytes_received(connection: sockets.socket) -> int | None:
    """Return the bytes that a connection has received so far; None where the kernel does not say (not Linux)."""
    if sys.platform != "linux":
        return None
    info = connection.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _BYTES_RECEIVED + 8)
    return int(struct.unpack_from("<Q" if sys.byteorder == "little" else ">Q", info, _BYTES_RECEIVED)[0])
