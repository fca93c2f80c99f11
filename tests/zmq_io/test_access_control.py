"""Who gets a stream, and what strangers can do to the one who sends it. Real sockets, on loopback."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from deepbid_rt.errors import EndpointError, FileError, StageError
from deepbid_rt.frame import Frame, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSink, ZmqSource, access_control, allowed_keys
from deepbid_rt.zmq_io.key_folder import KeyFolder
from tests import ROOT
from tests.zmq_io.peers import GREETING, NULL_READY, WAIT_S, RawPeer, Watched

ANY = "tcp://127.0.0.1:0"
INFO = StreamInfo((1, 16, 8), np.dtype("<i2"), 30.0, ScanGeometry("collinear"))


def a_frame(index: int) -> Frame:
    return Frame(index, np.full((1, 16, 8), index, "<i2"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Computers:
    """Key folders of two computers: the microscope lets the viewer in, and a stranger has keys of its own."""

    def __init__(self, folder: Path) -> None:
        self.scope, self.viewer, self.stranger = (folder / name for name in ("scope", "viewer", "stranger"))
        self.scope_pub = KeyFolder(self.scope).create("scope")
        self.viewer_pub = KeyFolder(self.viewer).create("viewer")
        self.stranger_pub = KeyFolder(self.stranger).create("stranger")
        KeyFolder(self.scope).allow(self.viewer_pub)


@pytest.fixture
def computers(tmp_path: Path) -> Computers:
    return Computers(tmp_path)


def a_sink(stack: ExitStack, **options: Any) -> ZmqSink:
    sink = ZmqSink(ANY, role="raw", **{"beat_s": 0.02, **options})
    stack.callback(sink.close)
    return sink


def a_source(stack: ExitStack, endpoint: str, **options: Any) -> ZmqSource:
    source = ZmqSource(endpoint, **options)
    stack.callback(source.close)
    source.open()
    return source


def send_and_receive(sink: ZmqSink, source: ZmqSource, count: int = 20) -> None:
    """Send frames until the source has got some; it is the last subscriber, so everybody else could have had them."""
    assert sink.wait_for_subscriber(WAIT_S)
    before = source.status().received
    sink.start(INFO)
    for index in range(count):
        sink.put(a_frame(index))
    sink.end(StreamEnd("done"))
    while not isinstance(event := source.read(WAIT_S), StreamEnd):
        assert event is not None, "nothing came"
        if isinstance(event, Frame):
            np.testing.assert_array_equal(event.pixels, a_frame(event.index).pixels)
    assert source.status().received == before + count


def until(reached: Callable[[], bool]) -> None:
    for _ in range(4000):
        if reached():
            return
        threading.Event().wait(0.005)
    pytest.fail("never reached")


def test_a_computer_with_an_allowed_key_gets_the_stream(stack: ExitStack, computers: Computers) -> None:
    sink = a_sink(stack, keys=computers.scope)
    source = a_source(stack, sink.endpoint, keys=computers.viewer, server_key=computers.scope_pub)
    send_and_receive(sink, source)
    assert (sink.unprotected, source.unprotected) == (None, None)


def test_the_own_key_is_always_allowed(stack: ExitStack, computers: Computers) -> None:
    sink = a_sink(stack, keys=computers.stranger)
    source = a_source(stack, sink.endpoint, keys=computers.stranger, server_key=computers.stranger_pub)
    send_and_receive(sink, source)


def without_keys(_: zmq.Socket[bytes], __: Computers) -> None:
    pass


def with_a_password(socket: zmq.Socket[bytes], _: Computers) -> None:
    socket.setsockopt(zmq.PLAIN_USERNAME, b"admin")
    socket.setsockopt(zmq.PLAIN_PASSWORD, b"admin")


def with_keys(socket: zmq.Socket[bytes], folder: Path, server: Path) -> None:
    own = KeyFolder(folder).pair()
    socket.setsockopt(zmq.CURVE_PUBLICKEY, own.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, own.secret)
    socket.setsockopt(zmq.CURVE_SERVERKEY, KeyFolder(server).pair().public)


def with_a_key_that_is_not_allowed(socket: zmq.Socket[bytes], computers: Computers) -> None:
    with_keys(socket, computers.stranger, computers.scope)


def with_an_allowed_key_for_another_server(socket: zmq.Socket[bytes], computers: Computers) -> None:
    with_keys(socket, computers.viewer, computers.stranger)


STRANGERS = {
    without_keys: (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL),
    with_a_password: (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL),
    with_a_key_that_is_not_allowed: (zmq.EVENT_HANDSHAKE_FAILED_AUTH,),
    with_an_allowed_key_for_another_server: (zmq.EVENT_DISCONNECTED,),
}


@pytest.mark.parametrize("kind", [zmq.SUB, zmq.XSUB], ids=["SUB", "XSUB"])
@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda stranger: stranger.__name__)
def test_a_stranger_gets_no_frame_and_no_metadata(
    stack: ExitStack, computers: Computers, stranger: Callable[..., None], kind: int
) -> None:
    sink = a_sink(stack, keys=computers.scope)
    sink.start(INFO)
    context = stack.enter_context(zmq.Context())
    spy = stack.enter_context(closing(Watched(context, kind)))
    stranger(spy.socket, computers)
    spy.socket.send(b"\x01") if kind == zmq.XSUB else spy.socket.setsockopt(zmq.SUBSCRIBE, b"")
    spy.socket.connect(sink.endpoint)
    spy.wait_for(*STRANGERS[stranger])
    assert not sink.wait_for_subscriber(0.0), "it has subscribed"
    source = a_source(stack, sink.endpoint, keys=computers.viewer, server_key=computers.scope_pub)
    send_and_receive(sink, source)
    assert spy.socket.poll(0) == 0
    until(lambda: sum(sink.access.refused.values()) > 0)


def test_a_peer_that_speaks_by_hand_gets_a_greeting_and_nothing_else(stack: ExitStack, computers: Computers) -> None:
    """A program that ignores what the server says about security, and goes on as if both had agreed on none."""
    sink = a_sink(stack, keys=computers.scope)
    sink.start(INFO)
    peer = stack.enter_context(closing(RawPeer(sink.endpoint)))
    peer.socket.sendall(GREETING + NULL_READY)
    received = peer.read_until_closed()
    assert len(received) <= 64, "more than a greeting"


def test_a_receiver_with_keys_takes_nothing_from_a_sender_without(stack: ExitStack, computers: Computers) -> None:
    sink = a_sink(stack)
    tricked = a_source(stack, sink.endpoint, keys=computers.viewer, server_key=computers.scope_pub)
    until(lambda: sink.access.refused["handshake"] > 0)
    send_and_receive(sink, a_source(stack, sink.endpoint))
    assert tricked.status().state == "waiting"
    assert tricked.read(0.0) is None


def test_a_receiver_takes_nothing_from_a_sender_with_another_key(stack: ExitStack, computers: Computers) -> None:
    KeyFolder(computers.stranger).allow(computers.viewer_pub)
    impostor = a_sink(stack, keys=computers.stranger)
    tricked = a_source(stack, impostor.endpoint, keys=computers.viewer, server_key=computers.scope_pub)
    until(lambda: impostor.access.refused["handshake"] > 0)
    honest = a_source(stack, impostor.endpoint, keys=computers.viewer, server_key=computers.stranger_pub)
    send_and_receive(impostor, honest)
    assert tricked.read(0.0) is None


def test_a_key_can_be_added_and_removed_while_a_session_runs(
    stack: ExitStack, computers: Computers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowed_keys, "READ_AGAIN_S", 0.0)
    sink = a_sink(stack, keys=computers.scope)
    context = stack.enter_context(zmq.Context())

    def connects(folder: Path) -> bool:
        with closing(Watched(context, zmq.SUB)) as client:
            with_keys(client.socket, folder, computers.scope)
            client.socket.connect(sink.endpoint)
            ends = zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_HANDSHAKE_FAILED_AUTH
            return client.wait_for(*ends) == zmq.EVENT_HANDSHAKE_SUCCEEDED

    assert not connects(computers.stranger)
    file = KeyFolder(computers.scope).allow(computers.stranger_pub)
    assert connects(computers.stranger)
    file.unlink()
    assert not connects(computers.stranger)
    file.write_text("not a key")
    assert not connects(computers.viewer), "a list that cannot be read lets nobody in"
    assert connects(computers.scope)


def test_an_error_while_a_key_is_checked_is_a_refusal_and_the_next_one_is_checked(
    stack: ExitStack, computers: Computers, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = a_sink(stack, keys=computers.scope)
    context = stack.enter_context(zmq.Context())
    real = access_control.AllowedKeys.name_of

    def broken(*_: object) -> None:
        monkeypatch.setattr(access_control.AllowedKeys, "name_of", real)
        raise ZeroDivisionError

    monkeypatch.setattr(access_control.AllowedKeys, "name_of", broken)
    with closing(Watched(context, zmq.SUB)) as client:
        with_keys(client.socket, computers.viewer, computers.scope)
        client.socket.connect(sink.endpoint)
        client.wait_for(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
    assert sink.access.failures == 1
    send_and_receive(sink, a_source(stack, sink.endpoint, keys=computers.viewer, server_key=computers.scope_pub))


def test_an_access_control_that_dies_lets_nobody_in_is_named_and_begins_anew_with_the_series(
    stack: ExitStack, computers: Computers, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = a_sink(stack, keys=computers.scope)
    sink.start(INFO)
    sink.put(a_frame(0))
    context = stack.enter_context(zmq.Context())
    real = access_control.AccessControl._answer
    thread = sink.access._thread
    assert thread is not None

    def broken(*_: object) -> list[bytes]:
        raise MemoryError

    monkeypatch.setattr(access_control.AccessControl, "_answer", broken)
    for _ in range(2):  # the first one meets the thread as it dies, the second one nobody
        with closing(Watched(context, zmq.SUB)) as client:
            with_keys(client.socket, computers.viewer, computers.scope)
            client.socket.setsockopt(zmq.HANDSHAKE_IVL, 500)
            client.socket.connect(sink.endpoint)
            client.wait_for(zmq.EVENT_DISCONNECTED, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        thread.join(WAIT_S)
    with pytest.raises(StageError, match=r"the access control of port \d+ has stopped \(MemoryError\(\)\)"):
        sink.put(a_frame(1))
    monkeypatch.setattr(access_control.AccessControl, "_answer", real)
    sink.start(INFO)
    sink.put(a_frame(2))
    sink.end(StreamEnd("done"))
    send_and_receive(sink, a_source(stack, sink.endpoint, keys=computers.viewer, server_key=computers.scope_pub))


def test_addresses_of_other_computers_need_keys_or_consent(
    stack: ExitStack, computers: Computers, caplog: pytest.LogCaptureFixture
) -> None:
    for make, endpoint in ((ZmqSink, "tcp://*:0"), (ZmqSource, "tcp://192.0.2.1:5590"), (ZmqSource, "tcp://scope:1")):
        with pytest.raises(EndpointError, match=r"or keys; .* with --insecure-lan"):
            make(endpoint)
        with pytest.raises(FileError, match="no secret key at"):
            ZmqSink(ANY, keys=computers.scope / "none")
    assert ZmqSource("tcp://scope:1", keys=computers.viewer, server_key=computers.scope_pub).unprotected is None
    source = ZmqSource("tcp://192.0.2.1:5590", insecure_lan=True)
    assert source.unprotected is not None
    assert "anyone on the network can read the stream, or send frames in its place" in source.unprotected
    with caplog.at_level(logging.WARNING):
        sink = ZmqSink("tcp://*:0", insecure_lan=True)
        stack.callback(sink.close)
        stack.callback(source.close)
        source.open()
    assert sink.unprotected in caplog.messages
    assert source.unprotected in caplog.messages
    assert sink.status().unprotected == sink.unprotected
    assert source.status().unprotected == source.unprotected


# Connections and subscriptions without end.


def test_connections_beyond_the_limit_are_ended_and_room_is_given_again(stack: ExitStack) -> None:
    sink = a_sink(stack, max_peers=4)
    strangers = [RawPeer(sink.endpoint) for _ in range(12)]
    for peer in strangers:
        stack.callback(peer.close)
    until(lambda: sink.access.refused["too many"] >= 8)
    assert sink.status().peers <= 4
    assert sink.status().refused["too many"] >= 8
    until(lambda: sink.access.peers == 4)
    source = a_source(stack, sink.endpoint)
    until(lambda: sink.access.refused["too many"] >= 10)  # it finds no room, and tries again
    for peer in strangers:
        peer.close()
    until(lambda: sink.access.peers == 1)
    send_and_receive(sink, source)


def test_a_connection_that_never_says_who_it_is_is_ended(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_control, "HANDSHAKE_MS", 50)
    sink = a_sink(stack)
    peer = stack.enter_context(closing(RawPeer(sink.endpoint)))
    peer.read_until_closed()
    until(lambda: sink.access.peers == 0)


CROWD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
from tests.zmq_io.test_access_control import INFO, a_frame
from deepbid_rt.zmq_io import ZmqSink
sink = ZmqSink("tcp://127.0.0.1:0", role="raw", max_peers=16)
print(sink.endpoint, flush=True)
sys.stdin.readline()
sink.start(INFO)
with open(sys.argv[1], "w") as recording:
    for index in range(50):
        sink.put(a_frame(index))
        recording.write(f"{index}\\n")
print(sink.access.peers, flush=True)
sink.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of descriptors")
def test_more_idle_connections_than_descriptors_end_nothing(stack: ExitStack, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CROWD, str(tmp_path / "recording")]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.callback(process.wait, 60)
    assert process.stdin is not None
    assert process.stdout is not None
    stack.callback(process.stdout.close)
    stack.callback(process.stdin.close)
    endpoint = process.stdout.readline().strip()
    for _ in range(300):
        stack.callback(RawPeer(endpoint).close)
    process.stdin.write("go on\n")
    process.stdin.flush()
    assert int(process.stdout.readline()) <= 100
    assert process.wait(60) == 0
    assert len((tmp_path / "recording").read_text().splitlines()) == 50


def test_a_subscriber_that_asks_for_topics_without_end_is_disconnected_and_stops_nothing(stack: ExitStack) -> None:
    sink = a_sink(stack)
    source = a_source(stack, sink.endpoint)
    assert sink.wait_for_subscriber(WAIT_S)
    peer = stack.enter_context(closing(RawPeer(sink.endpoint)))
    peer.shake_hands()

    def flood() -> None:
        with suppress(OSError):  # the other side ends the connection, as it should
            for number in itertools.count(step=1000):
                peer.send(b"\x01%d" % k for k in range(number, number + 1000))

    flooding = threading.Thread(target=flood)
    flooding.start()
    stack.callback(flooding.join)
    stack.callback(peer.end)
    send_and_receive(sink, source)
    until(lambda: sink.access.refused["flood"] > 0)  # too many topics, and too many bytes
    again = stack.enter_context(closing(RawPeer(sink.endpoint)))
    again.read_until_closed()
    until(lambda: sink.access.refused["banned"] == 1)  # a new connection from the same host has to wait
    send_and_receive(sink, source)
    until(lambda: len(sink._subscriptions) == 1)


def test_a_few_topics_too_many_are_a_flood_however_short_they_are(stack: ExitStack) -> None:
    sink = a_sink(stack)
    peer = stack.enter_context(closing(RawPeer(sink.endpoint)))
    peer.shake_hands()
    peer.send(b"\x01%d" % number for number in range(access_control.MAX_PEER_MESSAGES + 1))
    peer.read_until_closed()
    until(lambda: sink.access.refused["flood"] == 1)


def test_a_few_topics_are_no_flood(stack: ExitStack) -> None:
    sink = a_sink(stack)
    context = stack.enter_context(zmq.Context())
    subscriber = stack.enter_context(context.socket(zmq.SUB))
    for number in range(60):
        subscriber.setsockopt(zmq.SUBSCRIBE, b"raw/%d/" % number)
    subscriber.connect(sink.endpoint)
    until(lambda: len(sink._subscriptions) == 60)
    assert not sink.access.refused


@pytest.mark.parametrize("size", [access_control.MAX_PEER_MESSAGE_BYTES + 1, 20_000_000])
def test_a_topic_that_is_too_long_ends_the_connection(stack: ExitStack, size: int) -> None:
    sink = a_sink(stack)
    peer = stack.enter_context(closing(RawPeer(sink.endpoint)))
    peer.shake_hands()
    with suppress(OSError):  # ended before all was sent
        peer.send([b"\x01" + bytes(size)])
    peer.read_until_closed()
    until(lambda: sink.access.peers == 0)
    assert not sink._subscriptions


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much a connection has received")
def test_parts_of_a_message_without_end_are_a_flood(stack: ExitStack) -> None:
    sink = a_sink(stack)
    peer = stack.enter_context(closing(RawPeer(sink.endpoint)))
    peer.shake_hands(b"XSUB")

    def flood() -> None:
        with suppress(OSError):
            while True:
                peer.send([b"\x05" + bytes(200)] * 100, more=True)

    flooding = threading.Thread(target=flood)
    flooding.start()
    stack.callback(flooding.join)
    stack.callback(peer.end)
    until(lambda: sink.access.refused["flood"] == 1)
    until(lambda: sink.access.peers == 0)


def test_a_slow_subscriber_loses_its_own_frames_only(stack: ExitStack) -> None:
    sink = a_sink(stack, beat_s=60.0)
    slow = stack.enter_context(closing(RawPeer(sink.endpoint)))  # never reads
    slow.shake_hands()
    slow.send([b"\x01raw/scope1/"])
    source = a_source(stack, sink.endpoint)
    info = StreamInfo((1, 256, 256), np.dtype("<i2"), 30.0, ScanGeometry("ordinary"))
    until(lambda: sink.wait_for_subscriber(0.0) and sink._subscriptions == {b"raw/", b"raw/scope1/"})
    sink.start(info)
    for index in range(300):
        sink.put(Frame(index, np.full((1, 256, 256), index, "<i2")))
        until(lambda index=index: source.status().received > index)  # type: ignore[misc]
    assert source.status().lost == {"source": 0, "transport": 0, "ring": 44}


FULL_QUEUE = """
import sys
from deepbid_rt.zmq_io import ZmqSink
sink = ZmqSink("tcp://127.0.0.1:0", role="raw", beat_s=60.0)  # so nobody reads subscriptions
print(sink.endpoint, flush=True)
sys.stdin.readline()
sink.close()
print("closed", flush=True)
"""


def test_a_peer_that_leaves_behind_a_full_queue_does_not_end_the_process(stack: ExitStack) -> None:
    """With heartbeats of libzmq, which come once a second, an assertion of libzmq ends it."""
    process = subprocess.Popen(
        [sys.executable, "-c", FULL_QUEUE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stack.callback(process.wait, 60)
    assert process.stdin is not None
    assert process.stdout is not None
    stack.callback(process.stdout.close)
    stack.callback(process.stdin.close)
    peer = RawPeer(process.stdout.readline().strip())
    peer.shake_hands()
    peer.socket.settimeout(0.3)
    with suppress(OSError):  # nothing is taken any more, or the connection is ended
        for number in itertools.count(step=1000):
            peer.send(b"\x01%d" % k for k in range(number, number + 1000))
    peer.close()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2.5)
    process.stdin.write("go on\n")
    process.stdin.flush()
    assert process.stdout.readline() == "closed\n"
    assert process.wait(60) == 0


def test_no_socket_uses_the_heartbeats_of_libzmq(stack: ExitStack) -> None:
    sink = a_sink(stack)
    source = ZmqSource(sink.endpoint)
    context = stack.enter_context(zmq.Context())
    connecting = stack.enter_context(context.socket(zmq.SUB))
    source._configure(connecting)
    for socket in (sink._socket, connecting):
        assert socket.getsockopt(zmq.HEARTBEAT_IVL) == 0
        assert socket.getsockopt(zmq.TCP_KEEPALIVE) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on its loopback interface")
def test_floods_from_many_hosts_close_the_door_for_a_while_and_the_stream_goes_on(stack: ExitStack) -> None:
    """Each host is banned for itself; a crowd of hosts is kept out together, and who is inside stays inside."""
    sink = a_sink(stack)
    source = a_source(stack, sink.endpoint)
    assert sink.wait_for_subscriber(WAIT_S)
    for number in range(access_control.MAX_BANNED):
        peer = stack.enter_context(closing(RawPeer(sink.endpoint, host=f"127.0.1.{number + 1}")))
        peer.shake_hands()
        with suppress(OSError):
            peer.send(b"\x01%d-%d" % (number, topic) for topic in range(2 * access_control.MAX_PEER_MESSAGES))
        peer.read_until_closed()
        until(lambda number=number: len(sink.access._banned) == number + 1)  # type: ignore[misc]
    stranger = stack.enter_context(closing(RawPeer(sink.endpoint, host="127.0.2.1")))
    stranger.read_until_closed()
    until(lambda: sink.access.refused["banned"] == 1)
    send_and_receive(sink, source)
