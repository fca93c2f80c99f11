"""Peers that misbehave: they speak ZMTP by hand, so that they can do what libzmq never does."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

import zmq
from zmq.utils.monitor import parse_monitor_message

WAIT_S = 20.0
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def ready(kind: bytes) -> bytes:
    """The command with which a peer of this kind, without security, ends its handshake."""
    command = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    return b"\x04" + bytes([len(command)]) + command


NULL_READY = ready(b"SUB")


def address(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host, int(port)


class RawPeer:
    """A TCP connection that says only what it is told to."""

    def __init__(self, endpoint: str, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(address(endpoint), timeout=WAIT_S, source_address=(host, 0))

    def shake_hands(self, kind: bytes = b"SUB") -> None:
        """Become a peer without keys, if the other side accepts one."""
        self.socket.sendall(GREETING)
        self.socket.sendall(ready(kind))
        came = b""
        while len(came) < len(GREETING) + len(NULL_READY) and (part := self.socket.recv(1024)):
            came += part  # messages may follow only after the other side is ready too

    def send(self, messages: Iterable[bytes], more: bool = False) -> None:
        self.socket.sendall(b"".join(b"%c" % (2 | more) + struct.pack(">Q", len(m)) + m for m in messages))

    def read_until_closed(self) -> bytes:
        """Return everything that came before the other side ended the connection."""
        received = b""
        with suppress(ConnectionResetError):
            while part := self.socket.recv(65536):
                received += part
        return received

    def end(self) -> None:
        """End the connection; another thread that sends stops."""
        with suppress(OSError):  # it has ended
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.socket.close()


class Watched:
    """A libzmq socket whose connection events can be waited for."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], kind: int) -> None:
        self.socket = context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self._monitor = self.socket.get_monitor_socket()

    def wait_for(self, *events: int) -> int:
        """Return the first of these events."""
        while self._monitor.poll(int(WAIT_S * 1000)):
            event = int(parse_monitor_message(self._monitor.recv_multipart())["event"])
            if event in events:
                return event
        raise AssertionError(f"none of the events {events} came")

    def close(self) -> None:
        self.socket.disable_monitor()
        self._monitor.close(0)
        self.socket.close(0)
