"""Finds out why a source is silent: who answers at its address, and with what."""

from __future__ import annotations

import ipaddress
import logging
import socket as sockets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import parse_monitor_message

from deepbid_rt.wire.source_status import SourceStatus
from deepbid_rt.zmq_io.endpoint import POLL_MS, host_of

log = logging.getLogger(__name__)

PATIENCE_S = 5.0
"""Seconds of silence after which the reason is looked for and said."""
REPEAT_S = 60.0
"""Seconds after which it is said again."""
_PROBE_S = 1.5
"""How long `_other_topic` listens: a sender of this protocol sends a beat every second."""
_MONITOR = "inproc://monitor"

_AUTH_FAILED = zmq.Event.HANDSHAKE_FAILED_AUTH
_NOT_ZMQ = zmq.Event.HANDSHAKE_FAILED_NO_DETAIL | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
_FAILED = zmq.Event.CLOSED | zmq.Event.CONNECT_RETRIED
_WATCHED = (
    _AUTH_FAILED | _NOT_ZMQ | _FAILED | zmq.Event.CONNECTED | zmq.Event.DISCONNECTED | zmq.Event.HANDSHAKE_SUCCEEDED
)


@dataclass(slots=True)
class Connection:
    """A connection as the events of its socket tell it."""

    connected: bool = False
    """Something has accepted the connection."""
    shaken: bool = False
    """It has greeted as ZeroMQ does."""
    failed: bool = False
    """An attempt was turned down, so the computer itself reacts."""
    foreign: bool = False
    """What accepted the last connection does not speak ZeroMQ, or not with the same security."""
    unwanted: bool = False
    """It has refused this computer's key."""
    ended: bool = False
    """It has ended, and libzmq has not begun another attempt."""
    descriptor: int | None = None
    """Descriptor of the connection; None without one."""

    def follow(self, event: int, value: int = 0) -> None:
        """Take an event of `zmq.Event`, with the number that belongs to it."""
        if event == zmq.Event.CONNECTED:
            self.descriptor = value
        elif event & (_AUTH_FAILED | _NOT_ZMQ | _FAILED | zmq.Event.DISCONNECTED):
            self.descriptor = None
        if event & (_AUTH_FAILED | _NOT_ZMQ | zmq.Event.DISCONNECTED):
            self.ended = True
        elif event & (_FAILED | zmq.Event.CONNECTED):
            self.ended = False
        if event == zmq.Event.CONNECTED:
            self.connected, self.shaken = True, False
        elif event == zmq.Event.HANDSHAKE_SUCCEEDED:
            self.shaken, self.foreign, self.unwanted = True, False, False
        elif event & _AUTH_FAILED:
            self.connected, self.unwanted = False, True
        elif event & _NOT_ZMQ:
            self.connected, self.foreign = False, True
        elif event & _FAILED:
            self.connected, self.failed = False, True
        elif event == zmq.Event.DISCONNECTED:
            # A program that accepts a connection and ends it without a greeting is none of ours.
            self.foreign = self.foreign or (self.connected and not self.shaken)
            self.connected = self.shaken = False


def _warn(text: str) -> None:
    log.warning("%s", text)


class ConnectionWatch:
    """Watches the connection of one socket, in a thread of its own, and tells why nothing comes.

    Make it before the socket connects, in the thread that owns the socket; `close` it before the context ends.

    Parameters
    ----------
    context, socket : zmq.Context, zmq.Socket
        Where to listen.
    endpoint : str
        Address that the socket connects to.
    topic : bytes
        Prefix that it subscribes to.
    status : callable
        Returns the status of the source; from any thread.
    configure : callable
        Sets the options of a further socket to the same address, security included.
    tell : callable
        Called with the reason, and when it is over; by default a warning in the log.
    patience_s, repeat_s : float
        Seconds of silence before the reason is told, and told again.
    clock : callable
        Returns monotonic seconds.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        socket: zmq.Socket[bytes],
        endpoint: str,
        topic: bytes,
        *,
        status: Callable[[], SourceStatus],
        configure: Callable[[zmq.Socket[bytes]], None],
        tell: Callable[[str], object] = _warn,
        patience_s: float = PATIENCE_S,
        repeat_s: float = REPEAT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.problem = ""
        """Why nothing comes, and what to do about it; empty while messages come, and before it is known."""
        self.connection = Connection()
        self._context, self._endpoint, self._topic = context, endpoint, topic
        self._status, self._configure, self._tell, self._clock = status, configure, tell, clock
        self._patience_s, self._repeat_s = patience_s, repeat_s
        self._silent_since_s: float | None = None
        self._said_s = float("-inf")
        self._resolved: bool | None = None
        self._closing = threading.Event()
        address = f"{_MONITOR}-{id(self)}"
        socket.monitor(address, int(_WATCHED))
        self._events = context.socket(zmq.PAIR)
        self._events.setsockopt(zmq.LINGER, 0)
        # libzmq's own thread, which moves all frames, waits for whoever takes its reports. So this end has no limit,
        # and stays open until `close`, whatever happens to the thread that reads them.
        self._events.setsockopt(zmq.RCVHWM, 0)
        self._events.connect(address)
        self._thread = threading.Thread(target=self._run, name="connection watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, after the socket was closed; may be called twice."""
        self._closing.set()
        self._thread.join()
        self._events.close()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                if self._events.poll(POLL_MS):
                    message = parse_monitor_message(self._events.recv_multipart(zmq.NOBLOCK))
                    self.connection.follow(int(message["event"]), int(message["value"]))
                self._look(self._clock())
        # Any error: the watch only explains. The source goes on without it.
        except Exception:
            log.exception("the connection to %s is no longer watched", self._endpoint)

    def _look(self, now_s: float) -> None:
        """Find and say the reason when the source has been silent for long enough."""
        status = self._status()
        if status.state not in ("waiting", "lost"):
            if self.problem:
                self._tell(f"over: {self.problem}")
            self.problem, self._silent_since_s, self._said_s = "", None, float("-inf")
            return
        if self._silent_since_s is None:
            self._silent_since_s = now_s
        if now_s - self._silent_since_s >= self._patience_s and now_s - self._said_s >= self._repeat_s:
            self._said_s = now_s
            self.problem = self._reason(status)
            self._tell(self.problem)

    def _reason(self, status: SourceStatus) -> str:
        connection, endpoint = self.connection, self._endpoint
        if refused := sum(status.bad.values()):
            kinds = ", ".join(f"{count} {kind}" for kind, count in status.bad.items())
            return f"{endpoint} sends messages that are refused: {refused} so far ({kinds}); see the log for the first"
        if connection.unwanted:
            return f"{endpoint} refuses the key of this computer; add its public key to those that the sender accepts"
        if connection.connected and connection.shaken:
            wanted = self._topic.decode("ascii", "replace")
            if other := self._other_topic():
                return (
                    f"{endpoint} sends {other!r} and nothing that begins with {wanted!r}; connect to the port of the "
                    f"stream that is wanted: by default 5590 is the raw stream and 5591 the denoised one"
                )
            return f"{endpoint} answers and sends nothing; start the acquisition, and check that its sender sends beats"
        if connection.foreign or connection.connected:
            return (
                f"the program at {endpoint} accepts connections and does not speak ZeroMQ, or not with the same "
                f"security; correct the port, and give both sides keys or neither"
            )
        host, port = host_of(endpoint), endpoint.rpartition(":")[2]
        if not self._resolves(host):
            return f"nobody answers at {endpoint}: the name {host} is unknown; correct it, or write its IP address"
        if connection.failed:
            return (
                f"nobody answers at {endpoint}: no program listens on port {port} there; start it, or correct the port"
            )
        return f"nobody answers at {endpoint}: the computer does not react; check address, cable and firewall"

    def _resolves(self, host: str) -> bool:
        """Tell whether a host name has an address; a name server that does not answer counts as none."""
        with suppress(ValueError):
            ipaddress.ip_address(host.strip("[]"))
            return True
        asked = threading.Event()
        found: list[object] = []

        def ask() -> None:
            with suppress(OSError, UnicodeError):
                found.extend(sockets.getaddrinfo(host, None))
            asked.set()

        # In a thread: a name server can take half a minute, and `close` must not.
        threading.Thread(target=ask, name="resolve", daemon=True).start()
        while not asked.wait(POLL_MS / 1000) and not self._closing.is_set():
            pass
        return bool(found)

    def _other_topic(self) -> str | None:
        """Listen to everything for a moment; return the topic of the first message, None when none comes."""
        with self._context.socket(zmq.SUB) as probe:
            probe.setsockopt(zmq.LINGER, 0)
            probe.setsockopt(zmq.RCVHWM, 1)
            self._configure(probe)
            probe.setsockopt(zmq.SUBSCRIBE, b"")
            probe.connect(self._endpoint)
            deadline = time.monotonic() + _PROBE_S
            while time.monotonic() < deadline and not self._closing.is_set():
                if probe.poll(POLL_MS):
                    topic = probe.recv(zmq.NOBLOCK)[:80].decode("ascii", "backslashreplace")
                    return None if topic.startswith(self._topic.decode("ascii", "replace")) else topic
        return None
