"""Connections that are borrowed from libzmq by their descriptors, at every moment of their life."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepbid_rt.zmq_io.tcp_traffic import borrowed


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """A connection: the accepted side, the other one, and the port of the accepted side."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            with accepted:
                yield accepted, client, port


def test_a_connection_is_given_and_stays_open(connection: tuple[socket.socket, socket.socket, int]) -> None:
    accepted, client, port = connection
    with borrowed(accepted.fileno(), port=port) as peer:
        assert peer is not None
        peer.sendall(b"hello")
    with borrowed(client.fileno(), port=port, remote=True) as peer:
        assert peer is not None
        assert peer.recv(5) == b"hello"
    accepted.sendall(b"again")
    assert client.recv(5) == b"again"


def test_a_connection_of_another_port_is_not_given(connection: tuple[socket.socket, socket.socket, int]) -> None:
    accepted, _, port = connection
    with borrowed(accepted.fileno(), port=port + 1) as peer:
        assert peer is None
    with borrowed(accepted.fileno(), port=port, remote=True) as peer:
        assert peer is None
    assert accepted.fileno() >= 0


def test_what_is_no_connection_any_more_is_not_given(
    connection: tuple[socket.socket, socket.socket, int], tmp_path: Path
) -> None:
    accepted, _, port = connection
    closed = os.dup(accepted.fileno())
    os.close(closed)
    with borrowed(closed, port=port) as peer:
        assert peer is None
    with (tmp_path / "file").open("wb") as file, borrowed(file.fileno(), port=port) as peer:
        assert peer is None
    with socket.socket() as unconnected, borrowed(unconnected.fileno(), port=port, remote=True) as peer:
        assert peer is None
    one, other = socket.socketpair()
    with one, other, borrowed(one.fileno(), port=port) as peer:
        assert peer is None


def test_a_connection_that_ends_between_the_look_and_the_name(
    connection: tuple[socket.socket, socket.socket, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread of libzmq may close a descriptor at any moment, so each call on it can fail."""
    accepted, _, port = connection

    def ended(_: socket.socket) -> object:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(socket.socket, "getsockname", ended)
    with borrowed(accepted.fileno(), port=port) as peer:
        assert peer is None


def test_a_connection_that_ends_while_it_is_borrowed(
    connection: tuple[socket.socket, socket.socket, int], caplog: pytest.LogCaptureFixture
) -> None:
    accepted, _, port = connection
    with borrowed(accepted.fileno(), port=port):
        raise OSError(107, "Transport endpoint is not connected")
    assert not caplog.records
    with borrowed(accepted.fileno(), port=port):
        raise OSError(22, "Invalid argument")
    assert "a connection cannot be looked at or ended" in caplog.text
