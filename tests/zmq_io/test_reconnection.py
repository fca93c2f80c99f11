"""When a socket is connected again: after libzmq has given up, and not before."""

from __future__ import annotations

from typing import Any

import zmq

from deepbid_rt.zmq_io.connection_watch import Connection
from deepbid_rt.zmq_io.reconnection import PATIENCE_S, Reconnection


class Socket:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def disconnect(self, endpoint: str) -> None:
        self.calls.append(f"disconnect {endpoint}")
        raise zmq.ZMQError(zmq.ENOTSUP)

    def connect(self, endpoint: str) -> None:
        self.calls.append(f"connect {endpoint}")


def followed(*events: zmq.Event) -> tuple[Reconnection, Connection, Any, list[float]]:
    connection, now, socket = Connection(), [0.0], Socket()
    for event in events:
        connection.follow(event)
    return Reconnection("here", connection, lambda: now[0]), connection, socket, now


def test_a_socket_that_libzmq_has_given_up_is_connected_again() -> None:
    for event in (zmq.Event.HANDSHAKE_FAILED_AUTH, zmq.Event.HANDSHAKE_FAILED_PROTOCOL, zmq.Event.DISCONNECTED):
        reconnection, _, socket, now = followed(zmq.Event.CONNECTED, event)
        reconnection.turn(socket)
        now[0] = PATIENCE_S * 0.9
        reconnection.turn(socket)
        assert socket.calls == []
        now[0] = PATIENCE_S
        reconnection.turn(socket)
        assert socket.calls == ["disconnect here", "connect here"]
        reconnection.turn(socket)
        assert len(socket.calls) == 2, "not at once again"


def test_a_socket_that_libzmq_connects_itself_is_left_alone() -> None:
    reconnection, connection, socket, now = followed(zmq.Event.CONNECTED, zmq.Event.DISCONNECTED)
    reconnection.turn(socket)
    connection.follow(zmq.Event.CONNECT_RETRIED)
    now[0] = 10 * PATIENCE_S
    reconnection.turn(socket)
    connection.follow(zmq.Event.DISCONNECTED)
    reconnection.turn(socket)
    assert socket.calls == []
