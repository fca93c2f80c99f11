"""Why a source is silent: found out with real sockets, and said."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import zmq

from deepbid_rt.frame import StreamInfo
from deepbid_rt.wire.source_status import SourceStatus
from deepbid_rt.zmq_io import ZmqSink, ZmqSource, connection_watch
from deepbid_rt.zmq_io.connection_watch import Connection, ConnectionWatch

GUARD_S = 30.0
"""Limit of every wait in these tests; a passing test does not reach it."""
QUIET = SourceStatus("waiting", 0, {}, {}, {}, 0)
LIVE = SourceStatus("live", 9, {}, {}, {}, 0)


@contextmanager
def watched(
    endpoint: str, status: Callable[[], SourceStatus] = lambda: QUIET, repeat_s: float = 0.05, **options: object
) -> Iterator[ConnectionWatch]:
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.setsockopt(zmq.LINGER, 0)
        subscriber.setsockopt(zmq.SUBSCRIBE, b"raw/")
        watch = ConnectionWatch(
            context,
            subscriber,
            endpoint,
            b"raw/",
            status=status,
            configure=lambda _: None,
            patience_s=0.0,
            repeat_s=repeat_s,
            **options,
        )
        subscriber.connect(endpoint)
        try:
            yield watch
        finally:
            watch.close()


def wait_for(watch: ConnectionWatch, text: str) -> None:
    """Wait until the problem contains `text`: events of the connection come one after the other."""
    tick = threading.Event()
    for _ in range(int(GUARD_S / 0.01)):
        if text in watch.problem:
            return
        tick.wait(0.01)
    raise AssertionError(watch.problem)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_a_port_where_nobody_listens() -> None:
    port = free_port()
    with watched(f"tcp://127.0.0.1:{port}") as watch:
        wait_for(watch, f"nobody answers at tcp://127.0.0.1:{port}: no program listens on port {port} there; start it")


def test_a_name_that_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(connection_watch.sockets, "getaddrinfo", unknown)
    with watched("tcp://scope-pc.invalid:5590") as watch:
        wait_for(watch, "nobody answers at tcp://scope-pc.invalid:5590: the name scope-pc.invalid is unknown")


def test_a_name_server_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()

    def hanging(*_: object) -> list[object]:
        asked.set()
        answer.wait(GUARD_S)
        return []

    monkeypatch.setattr(connection_watch.sockets, "getaddrinfo", hanging)
    try:
        with watched("tcp://scope-pc.invalid:5590"):
            assert asked.wait(GUARD_S)
        assert not answer.is_set()
    finally:
        answer.set()


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["hangs up", "speaks HTTP"])
def test_a_program_that_does_not_speak_zeromq(greeting: bytes) -> None:
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def answer() -> None:
            while not closing.is_set():
                try:
                    peer, _ = server.accept()
                except TimeoutError:
                    continue
                with peer:
                    peer.sendall(greeting)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with watched(f"tcp://127.0.0.1:{server.getsockname()[1]}") as watch:
                wait_for(watch, "accepts connections and does not speak ZeroMQ")
        finally:
            closing.set()
            thread.join()


def test_a_sender_that_sends_nothing() -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        with watched(f"tcp://127.0.0.1:{port}") as watch:
            wait_for(watch, f"tcp://127.0.0.1:{port} answers and sends nothing; start the acquisition")


def test_the_port_of_another_stream() -> None:
    sink = ZmqSink("tcp://127.0.0.1:*", role="den", beat_s=0.02)
    sink.start(StreamInfo((1, 4, 6), np.dtype("<i2"), 30.0))
    try:
        with watched(sink.endpoint) as watch:
            wait_for(watch, "sends 'den/scope1/beat/' and nothing that begins with 'raw/'; connect to the port of")
    finally:
        sink.close()


def test_messages_that_are_refused() -> None:
    refused = SourceStatus("waiting", 0, {}, {"version": 3, "parts": 1}, {}, 0)
    with watched(f"tcp://127.0.0.1:{free_port()}", lambda: refused) as watch:
        wait_for(watch, "sends messages that are refused: 4 so far (3 version, 1 parts)")


def test_it_is_said_after_the_time_of_patience_and_again_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    status = [QUIET]
    with watched(f"tcp://127.0.0.1:{free_port()}", lambda: status[0], repeat_s=60.0, clock=lambda: 0.0) as watch:
        wait_for(watch, "nobody answers")
        watch.close()
        caplog.clear()
        watch.problem = ""
        watch._patience_s, watch._said_s, watch._silent_since_s = 5.0, float("-inf"), None
        said = []
        for now_s in (0.0, 4.9, 5.0, 5.1, 64.9, 65.0):
            watch._look(now_s)
            said.append(len(caplog.records))
        assert said == [0, 0, 1, 1, 1, 2]
        status[0] = LIVE
        watch._look(66.0)
        assert caplog.messages[-1].startswith("over: nobody answers at ")
        assert watch.problem == ""


def test_the_source_tells_it_and_closes_without_waiting() -> None:
    source = ZmqSource(f"tcp://127.0.0.1:{free_port()}")
    assert source.status().problem == ""
    source.open()
    try:
        assert source._watch is not None
        source._watch._patience_s = 0.0
        wait_for(source._watch, "nobody answers")
        assert source.status().problem.startswith("nobody answers at ")
    finally:
        source.close()


def test_a_connection_that_is_lost_and_comes_back_is_followed() -> None:
    event = zmq.Event
    connection = Connection()
    for number in (event.CONNECTED, event.HANDSHAKE_SUCCEEDED):
        connection.follow(number)
    assert (connection.connected, connection.shaken, connection.foreign) == (True, True, False)
    for number in (event.DISCONNECTED, event.CLOSED):
        connection.follow(number)
    assert (connection.connected, connection.shaken, connection.foreign, connection.failed) == (
        *(False, False, False),
        True,
    )
    connection.follow(event.HANDSHAKE_FAILED_AUTH)
    assert connection.unwanted
    for number in (event.CONNECTED, event.HANDSHAKE_SUCCEEDED):
        connection.follow(number)
    assert not connection.unwanted
