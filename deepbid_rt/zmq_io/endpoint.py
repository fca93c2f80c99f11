"""Addresses, and what both kinds of socket have in common. Knows nothing of messages."""

from __future__ import annotations

import errno
import re

import zmq

from deepbid_rt.errors import EndpointError

HIGH_WATER_MESSAGES = 64
"""Messages a socket holds for a peer (about 2 s); beyond that libzmq drops the newest, which shows as a jump."""
POLL_MS = 50
"""How long a quiet network may hold up `close`."""

_HEARTBEAT_MS, _HEARTBEAT_TIMEOUT_MS = 1000, 3000
_ENDPOINT = re.compile(r"tcp://(?P<host>\*|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\*|[0-9]{1,5})")


def host_of(endpoint: str, *, connect: bool = False) -> str:
    """Return the host of ``tcp://HOST:PORT``. Raises `EndpointError` when malformed, or open where one connects."""
    match = _ENDPOINT.fullmatch(endpoint)
    wildcard = match is not None and (match["host"] == "*" or match["port"] in ("*", "0"))
    if match is None or (connect and wildcard) or (match["port"] != "*" and int(match["port"]) > 65535):
        raise EndpointError(
            f"the address {endpoint!r}",
            expected="tcp://HOST:PORT, such as tcp://127.0.0.1:5590",
            todo="correct the address",
        )
    return match["host"]


def set_common(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Set the options of both kinds of socket: dead links are noticed, IPv6 only where it is written."""
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))


def unusable(endpoint: str, error: zmq.ZMQError) -> EndpointError:
    """Return the error for an address that libzmq refused."""
    if error.errno in (errno.EADDRINUSE, zmq.EADDRINUSE):
        return EndpointError(
            f"port in use {endpoint}",
            expected="a free address",
            todo="choose another port or stop the program that holds this one",
        )
    return EndpointError(
        f"{endpoint} cannot be used ({error.strerror})",
        expected="an address of this machine to bind, or of the publisher to connect to",
        todo="correct the address",
    )
