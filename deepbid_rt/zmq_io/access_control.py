"""Who may connect to a socket that binds, how many may, and how much each may ask for."""

from __future__ import annotations

import logging
import socket as sockets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from deepbid_rt.errors import StageError
from deepbid_rt.zmq_io.allowed_keys import AllowedKeys
from deepbid_rt.zmq_io.key_folder import KeyFolder
from deepbid_rt.zmq_io.tcp_traffic import borrowed, bytes_received

log = logging.getLogger(__name__)

MAX_PEERS = 64
"""Connections at a time. A session has a few viewers and consumers; each connection takes a descriptor."""
MAX_PEER_MESSAGES = 64
"""Messages that one connection may send to a publisher. A subscriber sends one for each of its few topics."""
MAX_PEER_MESSAGE_BYTES, MAX_PEER_MESSAGE_BYTES_WITH_KEYS = 256, 1024
"""Longest message of a subscriber. The longest topic has 136 bytes, the longest step of a CURVE handshake 513."""
HANDSHAKE_MS = 3000
"""Time in which a new connection must have said who it is."""
BAN_S = 10.0
"""Time for which a host gets no new connection after one of its connections asked for too much."""
MAX_BANNED = 4
"""Hosts that have to wait at a time; with so many of them nobody new gets a connection, from whichever host."""
MAX_PEER_BYTES, MAX_PEER_BYTES_PER_S = 2**14, 2**10
"""What a subscriber may send: all of its topics, and its heartbeats."""
RECEIVE_BUFFER_BYTES = 4096
"""The kernel's buffer of each connection: what is in it when a connection is ended is read all the same."""
LOOK_MS, NEW_LOOK_MS, NEW_S = 100, 5, 1.0
"""How often this is checked while anybody is connected, and while a connection is younger than `NEW_S`."""
LOG_EVERY_S = 10.0
"""Shortest time between two log lines about refusals of the same kind: strangers cannot fill the log."""

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # the name that libzmq looks for, RFC 27
_ZAP_DOMAIN = b"deepbid-rt"
_NO_HANDSHAKE = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_MONITOR_STOPPED | _NO_HANDSHAKE


class AccessControl:
    """Guards one socket that binds. A thread of its own decides about each connection.

    libzmq accepts every connection and cannot limit their number. It reports each one to this thread, which shuts
    down those beyond the limit. It also asks this thread about the key of each client (ZAP, RFC 27). A request that is
    not answered is a refusal: when this thread has stopped, nobody can connect.

    Parameters
    ----------
    context : zmq.Context
        Of the socket; it must have no other access control.
    socket : zmq.Socket
        Not bound yet. Only `start` and `close` use it, so that its owner can lock them.
    keys : KeyFolder or None
        Clients need an allowed key, and everything is encrypted. None: everybody may connect.
    max_peers : int
        Connections at a time.
    peer_bytes, peer_bytes_per_s : int
        What each of them may send in all, and more for each second.
    clock : callable
        Returns monotonic seconds.

    Raises
    ------
    FileError
        When the keys cannot be read.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        socket: zmq.Socket[bytes],
        keys: KeyFolder | None,
        *,
        max_peers: int = MAX_PEERS,
        peer_bytes: int = MAX_PEER_BYTES,
        peer_bytes_per_s: int = MAX_PEER_BYTES_PER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._socket = socket
        self._max_peers = max_peers
        self._peer_bytes, self._peer_bytes_per_s = peer_bytes, peer_bytes_per_s
        self._clock = clock
        self._allowed = AllowedKeys(keys) if keys else None
        self.refused: Counter[str] = Counter()
        """Refused connections by cause: ``key`` (not allowed), ``handshake`` (no keys, another key of the server, or
        no ZeroMQ), ``too many``, ``flood``, ``banned`` (after a flood from the same host, or several from others)."""
        self.failures = 0
        """Requests that could not be answered because of an error in this program; each was a refusal."""
        self._logged_s: dict[str, float] = {}
        self._looked_s = clock()
        self._lock = threading.Lock()  # guards the next three; the owner of the socket counts messages in its thread
        self._peers: dict[int, float] = {}  # descriptors of the connections, and when they began
        self._messages: Counter[int] = Counter()
        self._banned: dict[str, float] = {}  # hosts, and until when
        self._port = 0
        self._failure: BaseException | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._starts = 0
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        # libzmq reads all topics that wait before it sends the next frame, so what may wait is little.
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_PEER_MESSAGE_BYTES_WITH_KEYS if keys else MAX_PEER_MESSAGE_BYTES)
        socket.setsockopt(zmq.RCVBUF, RECEIVE_BUFFER_BYTES)
        socket.setsockopt(zmq.RCVHWM, MAX_PEER_MESSAGES)
        if self._allowed:
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._allowed.own.secret)
            # Without these two, libzmq lets everybody in who has any key when nobody answers its requests.
            socket.setsockopt(zmq.ZAP_DOMAIN, _ZAP_DOMAIN)
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    @property
    def peers(self) -> int:
        """Connections at this moment, whether or not they have said who they are."""
        with self._lock:
            return len(self._peers)

    def start(self) -> None:
        """Begin to decide: before the socket is bound, or again after the thread has stopped."""
        self.close()
        self._starts += 1
        self._failure = None
        zap: zmq.Socket[bytes] | None = None
        # libzmq's own thread, which moves all frames, waits for whoever takes its reports. So this end has no limit,
        # and stays open until the reports have been stopped, whatever happens to the thread that reads them.
        self._monitor = monitor = self._context.socket(zmq.PAIR)
        monitor.setsockopt(zmq.LINGER, 0)
        monitor.setsockopt(zmq.RCVHWM, 0)
        endpoint = f"inproc://peers-{self._starts}"
        self._socket.monitor(endpoint, _EVENTS)
        monitor.connect(endpoint)
        if self._allowed:
            zap = self._context.socket(zmq.REP)
            zap.setsockopt(zmq.LINGER, 0)
            zap.bind(_ZAP_ENDPOINT)
        self._thread = threading.Thread(target=self._run, args=(monitor, zap), name="access control", daemon=True)
        self._thread.start()

    def bound(self, endpoint: str) -> None:
        """Take the address that the socket is bound to; connections are counted from now on."""
        self._port = int(endpoint.rpartition(":")[2])

    def check(self) -> None:
        """Raise `StageError` when the thread has stopped."""
        if self._thread is None or not self._thread.is_alive():
            raise StageError(
                f"the access control of port {self._port} has stopped ({self._failure!r})",
                expected="it to run as long as the port is open; nobody new can connect with keys",
                todo="begin the series again, which starts it anew, and report this",
            ) from self._failure

    def count_message(self, descriptor: int) -> None:
        """Count a message that a peer has sent, and shut down its connection when there are too many."""
        with self._lock:
            self._messages[descriptor] += 1
            flood = self._messages[descriptor] == MAX_PEER_MESSAGES + 1  # once; more may be on the way
        if flood:
            self._ban(descriptor, "it asks for too many topics")

    def close(self) -> None:
        """Stop the thread. The socket must still be open; may be called twice."""
        monitor, self._monitor = self._monitor, None
        if monitor is None:
            return
        self._socket.monitor(None, 0)  # ends the thread, see _observe
        if self._thread is not None:
            self._thread.join()
        monitor.close()

    # The thread.

    def _run(self, monitor: zmq.Socket[bytes], zap: zmq.Socket[bytes] | None) -> None:
        try:
            poller = zmq.Poller()
            for socket in filter(None, (monitor, zap)):
                poller.register(socket, zmq.POLLIN)
            while True:
                ready = dict(poller.poll(self._pause_ms()))
                if zap in ready and zap is not None:
                    zap.send_multipart(self._answer(zap.recv_multipart()))
                if monitor in ready and not self._observe(monitor.recv_multipart()):
                    return
                self._look_at_traffic()
        # Any error: it must have a name where frames are published, see `check`.
        except BaseException as error:
            log.exception("the access control has stopped; nobody new can connect with keys")
            self._failure = error
        finally:
            if zap:
                zap.close()

    def _answer(self, request: Sequence[bytes]) -> list[bytes]:
        """Return the reply to a request of libzmq about a new connection; only an allowed key gets 200."""
        name: str | None = None
        try:
            version, _number, domain, address, _identity, mechanism, *credentials = request
            host = address.decode("ascii", "replace")
            if (version, domain, mechanism) == (b"1.0", _ZAP_DOMAIN, b"CURVE") and len(credentials) == 1:
                name = self._allowed.name_of(z85.encode(credentials[0])) if self._allowed else None
            if name is None:
                self._refuse("key", f"{host} has a key that is not allowed")
            else:
                log.info("%s connects from %s", name, host)
        # Any error: this connection is refused, and the next one must be decided about as well.
        except Exception:
            self.failures += 1
            name = None
            log.exception("a connection is refused because of an error")
        status = (b"400", b"the key is not allowed", b"") if name is None else (b"200", b"OK", name.encode())
        return [b"1.0", request[1], *status, b""]

    def _observe(self, event: Sequence[bytes]) -> bool:
        """Follow what libzmq reports about connections; False when it reports no more."""
        report = parse_monitor_message(list(event))
        kind, descriptor = report["event"], int(report["value"])
        if kind == zmq.EVENT_ACCEPTED:
            with self._lock:
                self._messages.pop(descriptor, None)
                self._peers[descriptor] = self._clock()
                too_many, banned = len(self._peers) > self._max_peers, bool(self._banned)
                crowd = sum(until_s > self._clock() for until_s in self._banned.values()) >= MAX_BANNED
            if banned and self._is_banned(descriptor):
                self._shut_down(descriptor, "banned", "it has asked for too much before")
            elif crowd:
                self._shut_down(descriptor, "banned", "too many others ask for too much at the moment")
            elif too_many:
                self._shut_down(descriptor, "too many", f"there are {self._max_peers} connections already")
        elif kind == zmq.EVENT_DISCONNECTED:
            with self._lock:
                self._messages.pop(descriptor, None)
                self._peers.pop(descriptor, None)
        elif kind & _NO_HANDSHAKE:
            how = "without keys, or for another key than that of this computer" if self._allowed else "in vain"
            self._refuse("handshake", f"somebody connects {how}")
        return bool(kind != zmq.EVENT_MONITOR_STOPPED)

    def _pause_ms(self) -> int | None:
        """Return how long nobody needs to look at the connections; None without any."""
        newest_s = self._clock() - NEW_S
        with self._lock:
            if not self._peers:
                return None
            return NEW_LOOK_MS if max(self._peers.values()) > newest_s else LOOK_MS

    def _look_at_traffic(self) -> None:
        """Shut down connections that send more than a subscriber can have to say."""
        now_s = self._clock()
        if now_s - self._looked_s < (self._pause_ms() or LOOK_MS) / 1e3:
            return
        self._looked_s = now_s
        with self._lock:
            peers = list(self._peers.items())
        for descriptor, since_s in peers:
            received: int | None = None
            with borrowed(descriptor, port=self._port) as peer:
                received = bytes_received(peer) if peer else None
            if received is not None and received > self._peer_bytes + self._peer_bytes_per_s * (now_s - since_s):
                self._ban(descriptor, "it sends more than a subscriber has to say")

    def _ban(self, descriptor: int, why: str) -> None:
        """Shut down a connection, and refuse new ones from the same host for a while."""
        host = self._host(descriptor)
        now_s = self._clock()
        with self._lock:
            kept = {name: until_s for name, until_s in self._banned.items() if until_s > now_s}
            self._banned = {**kept, host: now_s + BAN_S} if host else kept
        self._shut_down(descriptor, "flood", why)

    def _host(self, descriptor: int) -> str:
        """Return the other end of a connection; empty when it has ended."""
        with borrowed(descriptor, port=self._port) as peer:
            if peer:
                return str(peer.getpeername()[0])
        return ""

    def _is_banned(self, descriptor: int) -> bool:
        host = self._host(descriptor)
        with self._lock:
            return self._banned.get(host, 0.0) > self._clock()

    def _shut_down(self, descriptor: int, cause: str, why: str) -> None:
        """End a connection of libzmq, which then closes it; nothing happens when it has ended already."""
        with borrowed(descriptor, port=self._port) as peer:
            if peer:
                host = peer.getpeername()[0]
                peer.shutdown(sockets.SHUT_RDWR)
                self._refuse(cause, f"{host} is disconnected: {why}")

    def _refuse(self, cause: str, text: str) -> None:
        self.refused[cause] += 1
        now_s = self._clock()
        if now_s - self._logged_s.get(cause, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._logged_s[cause] = now_s
            log.warning("refused a connection (%s, %d so far): %s", cause, self.refused[cause], text)
