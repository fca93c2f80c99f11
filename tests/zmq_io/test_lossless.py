"""Every frame reaches the one consumer, whatever happens in between. Real sockets, on loopback."""

from __future__ import annotations

import random
import socket
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

from deepbid_rt.errors import EndpointError, OverrunError, StreamError
from deepbid_rt.frame import Event, Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import LosslessSink, LosslessSource, lossless_sink
from deepbid_rt.zmq_io.key_folder import KeyFolder
from deepbid_rt.zmq_io.lossless import BUSY, WINDOW, Request
from tests import ROOT
from tests.zmq_io.peers import WAIT_S, Watched, address

ANY = "tcp://127.0.0.1:0"


def a_stream(size: int = 16) -> StreamInfo:
    return StreamInfo((1, size, size), np.dtype("<i2"), 30.0, ScanGeometry("ordinary"))


def a_frame(index: int, size: int = 16) -> Frame:
    return Frame(index, np.full((1, size, size), index % 30_000, "<i2"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def a_sink(stack: ExitStack, **options: Any) -> LosslessSink:
    sink = LosslessSink(ANY, **{"wait_s": WAIT_S, **options})
    stack.callback(sink.close)
    return sink


def a_source(stack: ExitStack, endpoint: str, **options: Any) -> LosslessSource:
    source = LosslessSource(endpoint, **options)
    stack.callback(source.close)
    source.open()
    return source


def until(reached: Callable[[], object]) -> None:
    for _ in range(4000):
        if reached():
            return
        threading.Event().wait(0.005)
    pytest.fail("never reached")


class Reader(threading.Thread):
    """Reads events in a thread of its own; pauses at random when asked to."""

    def __init__(self, source: LosslessSource, *, series: int = 1, pauses: float = 0.0) -> None:
        super().__init__(name="reader")
        self.source, self.series, self.pauses = source, series, pauses
        self.events: list[Any] = []
        self.error: BaseException | None = None
        self.stop = threading.Event()

    def run(self) -> None:
        chance = random.Random(1)
        try:
            while self.series and not self.stop.is_set():
                event: Event | None = self.source.read(0.05)
                if isinstance(event, Frame):
                    assert (event.pixels == event.index % 30_000).all()
                    self.events.append(event.index)
                    if chance.random() < self.pauses:
                        threading.Event().wait(chance.random() * 0.05)
                elif event is not None:
                    self.events.append(event)
                    self.series -= isinstance(event, StreamEnd)
        except BaseException as error:
            self.error = error


def reading(stack: ExitStack, source: LosslessSource, **options: Any) -> Reader:
    reader = Reader(source, **options)
    reader.start()
    stack.callback(reader.join)
    stack.callback(reader.stop.set)
    return reader


def put(sink: LosslessSink, indices: range, size: int = 16) -> None:
    for index in indices:
        sink.put(a_frame(index, size))


def send(sink: LosslessSink, info: StreamInfo, count: int) -> None:
    sink.start(info)
    put(sink, range(count), info.shape[1])
    sink.end(StreamEnd("done"))


def test_all_frames_arrive_in_order_at_a_consumer_that_pauses_at_random(stack: ExitStack) -> None:
    sink = a_sink(stack)
    source = a_source(stack, sink.endpoint)
    reader = reading(stack, source, pauses=0.05)
    info = a_stream(256)
    send(sink, info, 2000)
    reader.join(WAIT_S)
    assert reader.error is None
    assert reader.events == [info, *range(2000), StreamEnd("done")]
    assert source.status().lost == {"source": 0, "transport": 0, "ring": 0}
    assert (sink.unconfirmed, source.status().duplicates) == (0, 0)


def test_a_sender_waits_for_a_consumer_that_does_not_read_and_says_so(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lossless_sink, "SAY_AFTER_S", 0.05)
    sink = a_sink(stack)
    source = a_source(stack, sink.endpoint)
    done = threading.Event()
    sent: list[int] = []

    def run() -> None:
        sink.start(a_stream())
        for index in range(40):
            sink.put(a_frame(index))
            sent.append(index)
        sink.end(StreamEnd("done"))
        done.set()

    sending = threading.Thread(target=run)
    sending.start()
    stack.callback(sending.join)
    until(lambda: "waiting at" in caplog.text and "the consumer to have room" in caplog.text)
    assert len(sent) <= 2 * WINDOW
    assert not done.is_set()
    reader = reading(stack, source)
    assert done.wait(WAIT_S)
    reader.join(WAIT_S)
    assert reader.events[1:-1] == list(range(40))


def test_a_consumer_that_takes_nothing_for_too_long_is_an_error(stack: ExitStack) -> None:
    sink = a_sink(stack, wait_s=0.3)
    with pytest.raises(OverrunError, match=r"0.3 s of waiting at tcp://.* for a consumer, and 1 messages are not"):
        sink.start(a_stream())
    source = a_source(stack, sink.endpoint)
    sink.start(info := a_stream())
    with pytest.raises(OverrunError, match="for the consumer to have room"):
        put(sink, range(40))
    with pytest.raises(OverrunError, match="has left in the middle of the series"):
        sink.put(a_frame(40))
    assert source.read(WAIT_S) == info


def test_a_second_consumer_is_refused_and_costs_the_first_one_nothing(stack: ExitStack) -> None:
    sink = a_sink(stack)
    first = reading(stack, a_source(stack, sink.endpoint))
    assert sink.wait_for_subscriber(WAIT_S)
    second = reading(stack, a_source(stack, sink.endpoint))
    send(sink, a_stream(), 200)
    first.join(WAIT_S)
    assert first.events[1:-1] == list(range(200))
    until(lambda: second.error)
    assert isinstance(second.error, EndpointError)
    assert "serves another consumer; expected one consumer of a lossless stream" in str(second.error)
    assert second.events == []


def test_a_consumer_may_follow_another_between_two_series(stack: ExitStack) -> None:
    sink = a_sink(stack)
    for _ in range(3):
        source = a_source(stack, sink.endpoint)
        reader = reading(stack, source)
        send(sink, info := a_stream(), 30)
        reader.join(WAIT_S)
        assert reader.events == [info, *range(30), StreamEnd("done")]
        source.close()


def test_a_consumer_that_leaves_when_the_next_series_has_just_begun_makes_room_for_another(stack: ExitStack) -> None:
    sink = a_sink(stack)
    first = a_source(stack, sink.endpoint)
    reader = reading(stack, first)
    send(sink, a_stream(), 30)
    reader.join(WAIT_S)
    sink.start(info := a_stream())  # it goes to the first consumer, which has what it wanted
    first.close()
    until(lambda: sink._consumer is None)
    second = reading(stack, a_source(stack, sink.endpoint))
    put(sink, range(30))
    sink.end(StreamEnd("done"))
    second.join(WAIT_S)
    assert second.events == [info, *range(30), StreamEnd("done")]


def test_one_consumer_gets_one_series_after_the_other(stack: ExitStack) -> None:
    sink = a_sink(stack)
    reader = reading(stack, a_source(stack, sink.endpoint), series=3)
    for _ in range(3):
        send(sink, a_stream(), 30)
    reader.join(WAIT_S)
    assert [event for event in reader.events if isinstance(event, int)] == [*range(30)] * 3


def test_a_consumer_that_has_died_between_two_series_makes_room_for_another(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lossless_sink, "SILENT_S", 0.2)
    sink = a_sink(stack)
    context = stack.enter_context(zmq.Context())
    dead = stack.enter_context(closing(Watched(context, zmq.DEALER)))
    dead.socket.connect(sink.endpoint)
    dead.socket.send(Request(0, WINDOW).pack())
    assert sink.wait_for_subscriber(WAIT_S)
    until(lambda: sink._consumer is None)
    reader = reading(stack, a_source(stack, sink.endpoint))
    send(sink, a_stream(), 30)
    reader.join(WAIT_S)
    assert reader.events[1:-1] == list(range(30))


def test_a_consumer_that_leaves_in_the_middle_is_an_error_at_once(stack: ExitStack) -> None:
    sink = a_sink(stack)
    source = a_source(stack, sink.endpoint)
    reader = reading(stack, source)
    sink.start(a_stream())
    put(sink, range(20))
    until(lambda: sink._confirmed > 0)
    reader.stop.set()
    reader.join(WAIT_S)
    source.close()
    with pytest.raises(OverrunError, match="has left in the middle of the series"):
        put(sink, range(40))
    reader = reading(stack, a_source(stack, sink.endpoint))
    send(sink, a_stream(), 30)  # a new series is for a new consumer
    reader.join(WAIT_S)
    assert reader.events[1:-1] == list(range(30))


class Link:
    """A TCP relay whose connections can be cut; what is on the way then is lost."""

    def __init__(self, endpoint: str) -> None:
        self._to = address(endpoint)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                other = socket.create_connection(self._to)
                self._ends += [client, other]
                for source, sink in ((client, other), (other, client)):
                    self._threads.append(threading.Thread(target=self._copy, args=(source, sink)))
                    self._threads[-1].start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):  # cut
            while data := source.recv(65536):
                sink.sendall(data)
        self._shut_down(source, sink)

    def _shut_down(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):  # it is already
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self._shut_down(*self._ends)

    def close(self) -> None:
        self._shut_down(self._server)
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in (self._server, *self._ends):
            end.close()


def test_nothing_is_lost_when_the_connection_is_cut(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepbid_rt.zmq_io.lossless_source.AGAIN_S", 0.2)
    sink = a_sink(stack, beat_s=0.01)
    link = Link(sink.endpoint)
    stack.callback(link.close)
    source = a_source(stack, link.endpoint)
    reader = reading(stack, source)
    info = a_stream(256)
    sink.start(info)
    for index in range(300):
        sink.put(a_frame(index, 256))
        if index % 60 == 30:
            link.cut()
    sink.end(StreamEnd("done"))
    reader.join(WAIT_S)
    assert reader.events == [info, *range(300), StreamEnd("done")]
    assert source.status().lost == {"source": 0, "transport": 0, "ring": 0}


def test_a_consumer_goes_on_with_a_sender_that_begins_anew_at_the_same_address(stack: ExitStack) -> None:
    first = LosslessSink(ANY)
    reader = reading(stack, a_source(stack, first.endpoint), series=2)
    send(first, a_stream(), 20)
    first.close()
    second = LosslessSink(first.endpoint)
    stack.callback(second.close)
    send(second, a_stream(), 30)
    reader.join(WAIT_S)
    assert [event for event in reader.events if isinstance(event, int)] == [*range(20), *range(30)]


def test_beats_go_on_while_no_frame_comes_and_count_nothing_as_lost(stack: ExitStack) -> None:
    sink = a_sink(stack, beat_s=0.01)
    source = a_source(stack, sink.endpoint, lost_s=0.2)
    sink.start(a_stream())
    until(lambda: sink._sent > 20)
    assert source.status().state in ("live", "stalled")
    reader = reading(stack, source)
    sink.put(a_frame(0))
    sink.skip(Gap(1, 3, "source"))
    sink.put(a_frame(4))
    sink.end(StreamEnd("done"))
    reader.join(WAIT_S)
    assert reader.events[1:] == [0, Gap(1, 3, "source"), 4, StreamEnd("done")]


def test_a_sender_that_is_told_to_stop_waits_no_longer(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lossless_sink, "STOPPED_WAIT_S", 0.1)
    stop = threading.Event()
    sink = a_sink(stack, stop=stop)
    a_source(stack, sink.endpoint)
    sink.start(a_stream())
    stop.set()
    for index in range(WINDOW + 3):
        sink.put(a_frame(index))
    sink.end(StreamEnd("abort"))
    assert sink.unconfirmed > 0


def test_frames_outside_a_series_are_refused(stack: ExitStack) -> None:
    sink = a_sink(stack)
    with pytest.raises(StreamError, match="a frame, gap or end outside a series"):
        sink.put(a_frame(0))


def test_a_stranger_is_not_served_and_takes_no_place(stack: ExitStack, tmp_path: Path) -> None:
    for name in ("scope", "recorder"):
        KeyFolder(tmp_path / name).create(name)
    KeyFolder(tmp_path / "scope").allow(tmp_path / "recorder" / "recorder.pub")
    sink = a_sink(stack, keys=tmp_path / "scope")
    context = stack.enter_context(zmq.Context())
    stranger = stack.enter_context(closing(Watched(context, zmq.DEALER)))
    stranger.socket.connect(sink.endpoint)
    stranger.socket.send(Request(0, WINDOW).pack(), zmq.NOBLOCK)
    stranger.wait_for(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
    keys = {"keys": tmp_path / "recorder", "server_key": tmp_path / "scope" / "scope.pub"}
    reader = reading(stack, a_source(stack, sink.endpoint, **keys))
    send(sink, a_stream(), 30)
    reader.join(WAIT_S)
    assert reader.events[1:-1] == list(range(30))
    assert stranger.socket.poll(0) == 0


@pytest.mark.parametrize(
    "said",
    [
        [b""],
        [b"want"],
        [b"x" * 17],
        [b"want" + b"\xff" * 13],
        [Request(5, 2**31).pack()],
        [Request(0, 1, leaving=True).pack()],
        [Request(0, 1).pack(), b"more"],
    ],
    ids=["empty", "short", "word", "numbers", "ahead", "leaving", "parts"],
)
def test_what_is_no_request_changes_nothing(stack: ExitStack, said: list[bytes]) -> None:
    sink = a_sink(stack)
    context = stack.enter_context(zmq.Context())
    peer = stack.enter_context(closing(Watched(context, zmq.DEALER)))
    peer.socket.connect(sink.endpoint)
    for _ in range(100):
        peer.socket.send_multipart(said)
    reader = reading(stack, a_source(stack, sink.endpoint))
    send(sink, a_stream(), 30)
    reader.join(WAIT_S)
    assert reader.events[1:-1] == list(range(30))
    answers = set()
    while peer.socket.poll(0):
        answers.add(peer.socket.recv())
    assert answers <= {BUSY, b"new"}


def test_a_flood_of_requests_does_not_keep_frames_from_the_consumer(stack: ExitStack) -> None:
    sink = a_sink(stack)
    reader = reading(stack, a_source(stack, sink.endpoint))
    assert sink.wait_for_subscriber(WAIT_S)
    context = stack.enter_context(zmq.Context())
    peer = stack.enter_context(closing(Watched(context, zmq.DEALER)))
    peer.socket.connect(sink.endpoint)
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            with suppress(zmq.Again):
                peer.socket.send(Request(0, WINDOW).pack(), zmq.NOBLOCK)

    flooding = threading.Thread(target=flood)
    flooding.start()
    stack.callback(flooding.join)
    stack.callback(stop.set)
    send(sink, a_stream(), 200)
    reader.join(WAIT_S)
    assert reader.events[1:-1] == list(range(200))


KILLED = """
import sys
from deepbid_rt.zmq_io import LosslessSource
source = LosslessSource(sys.argv[1])
source.open()
while source.read(30) is not None:
    print("event", flush=True)
"""


def test_a_consumer_that_is_killed_is_missed_and_named(stack: ExitStack) -> None:
    sink = a_sink(stack, wait_s=1.0)
    process = subprocess.Popen([sys.executable, "-c", KILLED, sink.endpoint], cwd=ROOT, stdout=subprocess.PIPE)
    stack.callback(process.wait, 30)
    assert process.stdout is not None
    stack.callback(process.stdout.close)
    assert sink.wait_for_subscriber(60)
    sink.start(a_stream())
    sink.put(a_frame(0))
    process.stdout.readline()
    process.kill()
    process.wait(30)
    with pytest.raises(OverrunError, match="1 s of waiting"):
        put(sink, range(1, 60))
    assert sink.unconfirmed > 0
