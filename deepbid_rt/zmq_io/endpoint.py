"""Addresses, and the options that both kinds of socket share."""

from __future__ import annotations

import errno
import re

import zmq

from deepbid_rt.errors import EndpointError
from deepbid_rt.wire.loopback import is_loopback

HIGH_WATER_MESSAGES = 64
"""Messages that a socket keeps for a peer, about 2 s. Then libzmq drops the newest; receivers see a jump of `seq`."""
POLL_MS = 50
"""Longest wait for a message, before the receiving thread checks whether it should close."""

_KEEP_ALIVE_IDLE_S, _KEEP_ALIVE_EVERY_S, _KEEP_ALIVE_COUNT = 3, 1, 3
"""The kernel asks whether the other side is still there after 3 s of silence, and ends the connection after 6 s."""
_UNTAKEN_MS = 10_000
"""The kernel ends a connection whose other side has taken nothing of what was sent to it for so long."""
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


def check_protection(endpoint: str, *, connect: bool, keys: bool, insecure_lan: bool) -> str | None:
    """Refuse an unprotected connection to other computers, unless it is allowed.

    Parameters
    ----------
    endpoint : str
        ``tcp://HOST:PORT``.
    connect : bool
        Whether the address is connected to, or bound.
    keys : bool
        Whether keys protect the connection.
    insecure_lan : bool
        Whether an unprotected one is allowed.

    Returns
    -------
    str or None
        One sentence that says what is not protected, to be shown while the address is in use; None when nothing is.

    Raises
    ------
    EndpointError
        When the address is malformed, or is not loopback and neither protected nor allowed.
    """
    if is_loopback(host_of(endpoint, connect=connect)) or keys:
        return None
    if connect:
        came, example, instead = f"{endpoint}, which is another computer", "tcp://127.0.0.1:5590", "connect to loopback"
        risk = "read the stream, or send frames in its place"
    else:
        came, example, instead = f"{endpoint}, which other machines can reach", "tcp://127.0.0.1:5591", "bind loopback"
        risk = "receive the stream"
    if not insecure_lan:
        raise EndpointError(
            came,
            expected=f"a loopback address such as {example}, or keys",
            todo=f"{instead}, protect the stream with keys (docs/how-to/connect-two-computers.md), or let anyone on "
            f"the network {risk} with --insecure-lan",
        )
    return f"{endpoint} is neither encrypted nor authenticated (--insecure-lan): anyone on the network can {risk}"


def set_common(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Set the options of every socket: the kernel finds dead links, and IPv6 is for IPv6 addresses only.

    The heartbeats of libzmq (up to 4.3.5) would find them too, but they end the process: when a peer has filled its
    queue and leaves, the next heartbeat fails an assertion (``!_io_error``). Any subscriber could do that, and any
    sender that ends while this program is held up for a second.
    """
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, _KEEP_ALIVE_IDLE_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, _KEEP_ALIVE_EVERY_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, _KEEP_ALIVE_COUNT)
    socket.setsockopt(zmq.TCP_MAXRT, _UNTAKEN_MS)
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
