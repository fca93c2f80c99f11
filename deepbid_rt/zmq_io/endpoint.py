"""Addresses, and the options that both kinds of socket share."""

from __future__ import annotations

import errno
import re

import zmq

from deepbid_rt.errors import EndpointError

HIGH_WATER_MESSAGES = 64
"""Messages that a socket keeps for a peer, about 2 s. Then libzmq drops the newest; receivers see a jump of `seq`."""
POLL_MS = 50
"""Longest wait for a message, before the receiving thread checks whether it should close."""

_HEARTBEAT_MS, _HEARTBEAT_TIMEOUT_MS = 1000, 3000
_ENDPOINT = re.compile(r"tcp://(?P<host>\*|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\*|[0-9]{1,5})")


def host_of(endpoint: str, *, connect: bool = False) -> str:
    """Return the host of ``tcp://HOST:PORT``.

    Raises `EndpointError` when the address is malformed, or, with `connect`, when host or port are wildcards.
    """
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
    """Set the options of both kinds of socket: heartbeats that reveal dead links, and IPv6 only for IPv6 addresses."""
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))


def unusable(endpoint: str, error: zmq.ZMQError) -> EndpointError:
    """Return the error for an address that libzmq has refused."""
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
