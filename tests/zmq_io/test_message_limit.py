"""A sender whose message never ends is disconnected before it fills the memory."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import psutil
import pytest

from deepbid_rt.frame import Frame
from deepbid_rt.zmq_io import LosslessSource, ZmqSink, ZmqSource
from deepbid_rt.zmq_io.connection_watch import Connection
from deepbid_rt.zmq_io.message_limit import MessageLimit
from tests.fakes import stream
from tests.zmq_io.peers import GREETING, WAIT_S, ready

RING_BYTES = 2**22  # one frame may use an eighth of it
PART = b"\3" + (2**16).to_bytes(8, "big") + bytes(2**16)  # a long part, and more to come

READY = ready(b"SUB")

linux = pytest.mark.skipif(sys.platform != "linux", reason="only the kernel of Linux counts the bytes of a connection")


class EndlessSender:
    """A ZeroMQ sender by hand, each of whose messages goes on for ever."""

    def __init__(self, kind: bytes) -> None:
        self.cuts = threading.Semaphore(0)
        self.most_sent = 0
        self._kind = kind
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                with client:
                    self._flood(client)
                self.cuts.release()

    def _flood(self, client: socket.socket) -> None:
        sent = 0
        with suppress(OSError):  # cut
            client.sendall(GREETING + ready(self._kind))
            # Messages may follow only after the other side is ready too.
            client.recv(len(GREETING) + len(READY), socket.MSG_WAITALL)
            while True:
                client.sendall(PART)
                sent += len(PART)
                self.most_sent = max(self.most_sent, sent)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@contextmanager
def flooding(kind: bytes) -> Iterator[EndlessSender]:
    sender = EndlessSender(kind)
    try:
        yield sender
    finally:
        sender.close()


@linux
@pytest.mark.parametrize(("make", "kind"), [(ZmqSource, b"XPUB"), (LosslessSource, b"ROUTER")])
def test_a_message_without_end_is_cut_off_and_counted(make: type[ZmqSource], kind: bytes) -> None:
    process = psutil.Process()
    with flooding(kind) as sender:
        source = make(sender.endpoint, ring_bytes=RING_BYTES)
        source.open()
        try:
            before = process.memory_info().rss
            for _ in range(3):  # it connects again, and is cut off again
                assert sender.cuts.acquire(timeout=WAIT_S)
            grown = process.memory_info().rss - before
            assert source.status().bad["endless"] >= 2
        finally:
            source.close()
    assert grown < sender.most_sent * 2 + 2**26, "what was cut off is given back"


@linux
def test_frames_as_large_as_the_ring_allows_are_no_endless_message() -> None:
    info = stream((1, 512, 500), np.int16)
    pixels = np.zeros(info.shape, info.dtype)
    sink = ZmqSink("tcp://127.0.0.1:*", role="raw")
    source = ZmqSource(sink.endpoint, ring_bytes=RING_BYTES)
    source.open()
    try:
        assert sink.wait_for_subscriber(WAIT_S)
        sink.start(info)
        for index in range(40):
            sink.put(Frame(index, pixels))
            while not isinstance(event := source.read(WAIT_S), Frame):
                assert event is not None
        assert source.status().bad == {}
    finally:
        source.close()
        sink.close()


def test_a_connection_that_has_ended_is_left_alone() -> None:
    assert not MessageLimit(Connection(), "tcp://127.0.0.1:5590", 1).cut()
    assert not MessageLimit(Connection(descriptor=10**6), "tcp://127.0.0.1:5590", 1).cut()


@linux
def test_only_a_connection_to_the_address_is_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            other, _ = server.accept()
            with other:
                limits = {
                    at: MessageLimit(Connection(descriptor=client.fileno()), f"tcp://127.0.0.1:{at}", 10)
                    for at in (port + 1, port)
                }
                assert not any(limit.cut() for limit in limits.values())
                other.sendall(bytes(11))
                client.recv(11, socket.MSG_WAITALL)
                assert not limits[port + 1].cut()
                assert limits[port].cut()
                assert other.recv(1) == b""
