from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from deepbid_rt.errors import EndpointError, StreamError
from deepbid_rt.frame import Event, Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.wire.codec import Encoder, decode
from deepbid_rt.wire.message import BeatMessage
from deepbid_rt.zmq_io import ZmqSink, ZmqSource
from deepbid_rt.zmq_io.source import receive_parts
from tests import ROOT

ANY = "tcp://127.0.0.1:0"


def a_stream(**more: Any) -> StreamInfo:
    scan = ScanGeometry("collinear")
    return StreamInfo(**{"shape": (1, 16, 8), "dtype": np.dtype("<i2"), "rate_hz": 30.0, "scan": scan, **more})


def a_frame(index: int) -> Frame:
    return Frame(index, np.arange(128).reshape(1, 16, 8).astype("<i2") + np.int16(index % 30_000))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    before = set(threading.enumerate())
    with ExitStack() as stack:
        yield stack
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not left, f"threads left behind: {left}"


def connected(stack: ExitStack, *, beat_s: float = 60.0, **options: Any) -> tuple[ZmqSink, ZmqSource]:
    """A sink and a source that are connected."""
    sink = ZmqSink(ANY, role="raw", beat_s=beat_s)
    stack.callback(sink.close)
    source = ZmqSource(sink.endpoint, **options)
    stack.callback(source.close)
    source.open()
    assert sink.wait_for_subscriber(10)
    return sink, source


def read(source: ZmqSource, count: int) -> list[Event]:
    events: list[Event] = []
    while len(events) < count:
        event = source.read(10)
        assert event is not None, f"nothing came after {events}"
        if isinstance(event, Frame):
            np.testing.assert_array_equal(event.pixels, a_frame(event.index).pixels)
        events.append(event)
    return events


def names(events: list[Event]) -> list[Any]:
    return [event.index if isinstance(event, Frame) else event for event in events]


def until(source: ZmqSource, reached: Callable[[Any], bool]) -> None:
    """Wait until the status of the source fulfils `reached`, without reading events."""
    for _ in range(2000):
        if reached(source.status()):
            return
        threading.Event().wait(0.005)
    pytest.fail(f"never reached: {source.status()}")


def test_a_stream_arrives_in_order_and_exact(stack: ExitStack) -> None:
    sink, source = connected(stack)
    info = a_stream(user={"animal": "M7"})
    sink.start(info)
    for index in range(50):
        sink.put(a_frame(index))
    sink.end(StreamEnd("done"))
    events = read(source, 52)
    assert names(events) == [info, *range(50), StreamEnd("done")]
    first = events[1]
    assert isinstance(first, Frame)
    assert 0 < first.t_ns <= first.arrived_ns
    assert source.status().state == "ended"
    assert source.status().received == 50


def test_a_frame_dropped_on_the_wire_is_a_transport_gap(stack: ExitStack) -> None:
    sink, source = connected(stack)
    sink.start(a_stream())
    sink.put(a_frame(0))
    sink.drop(a_frame(1))
    sink.drop(a_frame(2))
    sink.put(a_frame(3))
    assert names(read(source, 4))[1:] == [0, Gap(1, 2, "transport"), 3]
    assert source.status().lost == {"source": 0, "transport": 2, "ring": 0}


def test_a_skipped_frame_is_a_source_gap(stack: ExitStack) -> None:
    sink, source = connected(stack)
    sink.start(a_stream())
    sink.put(a_frame(0))
    sink.skip(Gap(1, 4, "source"))
    sink.put(a_frame(5))
    assert names(read(source, 4))[1:] == [0, Gap(1, 4, "source"), 5]


def test_a_late_receiver_joins_the_stream_at_a_beat(stack: ExitStack) -> None:
    sink = ZmqSink(ANY, role="raw", beat_s=0.02)
    stack.callback(sink.close)
    info = a_stream()
    sink.start(info)
    sink.put(a_frame(0))
    source = ZmqSource(sink.endpoint)
    stack.callback(source.close)
    source.open()
    assert names(read(source, 1)) == [info]
    sink.put(a_frame(1))
    assert names(read(source, 1)) == [1]


def test_a_new_series_replaces_the_old(stack: ExitStack) -> None:
    sink, source = connected(stack)
    first, second = a_stream(), a_stream(shape=(1, 16, 8), rate_hz=15.0)
    sink.start(first)
    sink.put(a_frame(9))
    sink.start(second)
    sink.put(a_frame(0))
    assert names(read(source, 5)) == [first, 9, StreamEnd("replaced"), second, 0]


def test_a_frame_of_another_shape_is_refused_and_the_next_one_arrives(stack: ExitStack) -> None:
    publisher, source = a_raw_publisher(stack)
    encoder = Encoder(a_stream())
    for parts in (encoder.start(), encoder.frame(a_frame(0)), encoder.frame(a_frame(1))):
        publisher.send_multipart(parts)
    topic, header, payload = encoder.frame(a_frame(2))
    publisher.send_multipart([topic, bytes(header).replace(b"\x93\x01\x10\x08", b"\x93\x01\x08\x10"), payload])
    publisher.send_multipart(encoder.frame(a_frame(3)))
    assert names(read(source, 5))[1:] == [0, 1, Gap(2, 1, "source"), 3]
    assert source.status().refused["mismatched"] == 1
    assert "frame 2 of shape (1, 8, 16), type <i2 and plane 0" in source.status().problem


def test_frames_that_overtake_each_other_are_put_in_order(stack: ExitStack) -> None:
    publisher, source = a_raw_publisher(stack)
    encoder = Encoder(a_stream())
    start, frames = encoder.start(), [encoder.frame(a_frame(index)) for index in range(6)]
    for parts in (start, frames[0], frames[3], frames[1], frames[2], frames[2], frames[5], frames[4]):
        publisher.send_multipart(parts)
    assert names(read(source, 7))[1:] == [0, 1, 2, 3, 4, 5]
    until(source, lambda status: status.arrived == 7)
    assert (source.status().duplicates, sum(source.status().lost.values())) == (1, 0)


def test_a_frame_that_waits_for_a_lost_one_is_passed_on_although_the_sender_pauses(stack: ExitStack) -> None:
    sink, source = connected(stack)
    sink.start(a_stream())
    sink.put(a_frame(0))
    sink.drop(a_frame(1))
    sink.put(a_frame(2))
    assert names(read(source, 4))[1:] == [0, Gap(1, 1, "transport"), 2]


def test_of_a_message_with_very_many_parts_the_first_three_are_kept(stack: ExitStack) -> None:
    publisher, source = a_raw_publisher(stack)
    encoder = Encoder(a_stream())
    publisher.send_multipart([*encoder.start(), *[b"x"] * 100_000])
    publisher.send_multipart([b"raw/", *[b"x"] * 100_000])
    publisher.send_multipart(encoder.frame(a_frame(0)))
    assert names(read(source, 2))[1:] == [0]
    assert source.status().bad == {"topic": 1}


def test_the_parts_of_an_overlong_message_are_dropped_one_by_one(stack: ExitStack) -> None:
    context = stack.enter_context(zmq.Context())
    sender, receiver = (stack.enter_context(context.socket(zmq.PAIR)) for _ in range(2))
    sender.bind("inproc://parts")
    receiver.connect("inproc://parts")
    sender.send_multipart([bytes([number % 256]) for number in range(1000)])
    sender.send_multipart([b"next"])
    assert [part.bytes for part in receive_parts(receiver)] == [b"\0", b"\1", b"\2"]
    assert [part.bytes for part in receive_parts(receiver)] == [b"next"]


def a_raw_publisher(stack: ExitStack, **options: Any) -> tuple[zmq.Socket[bytes], ZmqSource]:
    """A plain socket that can send any bytes, and a source that is connected to it."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    stack.callback(context.term)
    publisher = context.socket(zmq.XPUB)
    stack.callback(publisher.close, 0)
    publisher.bind(ANY)
    source = ZmqSource(publisher.getsockopt_string(zmq.LAST_ENDPOINT), **options)
    stack.callback(source.close)
    source.open()
    assert publisher.poll(10_000)
    publisher.recv()
    return publisher, source


def test_bad_messages_are_counted_between_good_ones(stack: ExitStack, caplog: pytest.LogCaptureFixture) -> None:
    publisher, source = a_raw_publisher(stack)
    encoder = Encoder(a_stream())
    publisher.send_multipart(encoder.start())
    rng = np.random.default_rng(0)
    with caplog.at_level(logging.WARNING):
        for index in range(20):
            publisher.send_multipart([b"raw/", rng.bytes(50), b""])
            publisher.send_multipart([b"raw/alone"])
            publisher.send_multipart([b"raw/x/frame/", rng.bytes(50), rng.bytes(50)])
            publisher.send_multipart(encoder.frame(a_frame(index)))
        assert names(read(source, 21))[1:] == list(range(20))
    status = source.status()
    assert (status.bad["topic"], status.bad["parts"], status.bad["header"]) == (20, 20, 20)
    assert status.received == 20
    assert len([record for record in caplog.records if record.name.startswith("deepbid_rt")]) == 3


def test_a_reader_that_pauses_loses_the_oldest_frames_and_gets_a_gap(stack: ExitStack) -> None:
    sink, source = connected(stack, ring_frames=8)
    sink.start(a_stream())
    for index in range(50):
        sink.put(a_frame(index))
        until(source, lambda status, index=index: status.received > index)
    sink.end(StreamEnd("done"))
    until(source, lambda status: status.state == "ended")
    events = read(source, 11)
    assert names(events)[1:] == [Gap(0, 42, "ring"), *range(42, 50), StreamEnd("done")]
    status = source.status()
    frames_read = sum(isinstance(event, Frame) for event in events)
    assert status.received == 50 == frames_read + status.lost["ring"] + status.unread


def test_the_state_follows_the_clock(stack: ExitStack) -> None:
    now = [100.0]
    sink, source = connected(stack, clock=lambda: now[0])
    assert source.status().state == "waiting"
    sink.start(a_stream())
    until(source, lambda status: status.state == "live")
    now[0] += 1.0
    assert source.status().state == "stalled"
    now[0] += 2.5
    assert source.status().state == "lost"
    sink.put(a_frame(0))
    until(source, lambda status: status.received == 1)
    assert source.status().state == "live"


def test_beats_continue_after_the_end(stack: ExitStack) -> None:
    publisher = ZmqSink(ANY, role="raw", beat_s=0.02)
    stack.callback(publisher.close)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    stack.callback(context.term)
    subscriber = context.socket(zmq.SUB)
    stack.callback(subscriber.close, 0)
    subscriber.connect(publisher.endpoint)
    subscriber.setsockopt(zmq.SUBSCRIBE, b"raw/scope1/beat/")
    assert publisher.wait_for_subscriber(10)
    publisher.start(a_stream())
    publisher.end(StreamEnd("done"))
    received: list[bytes] = []
    while not received or b"idle" not in received[-1]:
        assert subscriber.poll(10_000)
        received.append(subscriber.recv_multipart()[1])


def test_the_topic_selects_the_sender(stack: ExitStack) -> None:
    sink, source = connected(stack, topic=b"raw/scope2/")
    sink.start(a_stream(source="scope1"))
    info = a_stream(source="scope2")
    sink.start(info)
    assert read(source, 1) == [info]
    assert source.status().bad == {}


def test_an_error_in_one_message_does_not_end_the_receiving_thread(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_more: object) -> None:
        raise ZeroDivisionError("inside")

    sink, source = connected(stack)
    sink.start(a_stream())
    sink.put(a_frame(0))
    assert names(read(source, 2))[1:] == [0]
    with monkeypatch.context() as patch:
        patch.setattr("deepbid_rt.wire.receiver.decode", broken)
        sink.put(a_frame(1))
        until(source, lambda status: status.bad.get("internal") == 1)
    sink.put(a_frame(2))
    assert names(read(source, 2)) == [Gap(1, 1, "transport"), 2]


class RaisingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise BrokenPipeError("nobody reads stderr")


def test_a_log_handler_that_raises_does_not_end_the_receiving_thread(stack: ExitStack) -> None:
    publisher, source = a_raw_publisher(stack)
    handler = RaisingHandler()
    logging.getLogger("deepbid_rt").addHandler(handler)
    stack.callback(logging.getLogger("deepbid_rt").removeHandler, handler)
    encoder = Encoder(a_stream())
    for parts in ([b"raw/"], encoder.start(), encoder.note("hello"), encoder.frame(a_frame(0))):
        publisher.send_multipart(parts)
    assert names(read(source, 2))[1:] == [0]


def test_an_error_of_the_socket_is_raised_to_the_reader(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_socket: object) -> None:
        raise zmq.ZMQError(zmq.ETERM)

    sink, source = connected(stack)
    sink.start(a_stream())
    assert len(read(source, 1)) == 1
    monkeypatch.setattr("deepbid_rt.zmq_io.source.receive_parts", broken)
    sink.put(a_frame(0))
    for _ in range(2):
        with pytest.raises(zmq.ZMQError):
            source.read(10)


def beats_of(stack: ExitStack, endpoint: str) -> zmq.Socket[bytes]:
    """A subscriber to the beats only."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    stack.callback(context.term)
    subscriber = context.socket(zmq.SUB)
    stack.callback(subscriber.close, 0)
    subscriber.connect(endpoint)
    subscriber.setsockopt(zmq.SUBSCRIBE, b"raw/scope1/beat/")
    return subscriber


def test_a_status_that_fails_is_left_out_of_the_beats_and_counted(
    stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    sink = ZmqSink(ANY, role="raw", beat_s=0.01)
    stack.callback(sink.close)
    beats = beats_of(stack, sink.endpoint)
    sink.set_status(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    assert sink.wait_for_subscriber(10)
    sink.start(a_stream())
    for _ in range(3):
        assert beats.poll(10_000)
        decode(beats.recv_multipart())
    sink.put(a_frame(0))
    assert sink.beat_failures >= 3
    assert caplog.text.count("a beat is incomplete or not sent") == 1, "once, not every second"


@pytest.mark.parametrize("status", [{"text": "x" * 70_000}, {"state": object()}], ids=["too long", "no text"])
def test_a_status_that_does_not_fit_into_a_message_is_left_out(stack: ExitStack, status: dict[str, Any]) -> None:
    sink = ZmqSink(ANY, role="raw", beat_s=0.01)
    stack.callback(sink.close)
    beats = beats_of(stack, sink.endpoint)
    sink.set_status(lambda: status)
    assert sink.wait_for_subscriber(10)
    sink.start(a_stream())
    assert beats.poll(10_000)
    message = decode(beats.recv_multipart())
    assert isinstance(message, BeatMessage)
    assert not message.status


def test_a_beat_that_fails_is_followed_by_others(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = Encoder.beat, iter([ZeroDivisionError("inside"), MemoryError()])

    def broken(encoder: Encoder, status: Any = None) -> Any:
        for error in failures:
            raise error
        return real(encoder, status)

    monkeypatch.setattr(Encoder, "beat", broken)
    sink = ZmqSink(ANY, role="raw", beat_s=0.01)
    stack.callback(sink.close)
    beats = beats_of(stack, sink.endpoint)
    assert sink.wait_for_subscriber(10)
    sink.start(a_stream())
    assert beats.poll(10_000)
    assert sink.beat_failures == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_of_beats_that_has_ended_begins_anew_with_the_series(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = ZmqSink(ANY, role="raw", beat_s=0.01)
    stack.callback(sink.close)
    beats = beats_of(stack, sink.endpoint)
    assert sink.wait_for_subscriber(10)
    with monkeypatch.context() as patch:
        patch.setattr(sink, "_send_beat", lambda _: sys.exit())  # no error, so nothing can be done about it there
        sink._thread.join(10)
    assert not sink._thread.is_alive()
    sink.start(a_stream())
    assert beats.poll(10_000)


def test_a_series_that_is_started_again_goes_on_and_what_is_missing_is_counted(stack: ExitStack) -> None:
    """A session does this after an exception, which may have come from anywhere."""
    sink, source = connected(stack)
    info = a_stream()
    sink.start(info)
    sink.put(a_frame(0))
    with pytest.raises(StreamError):
        sink.put(Frame(1, np.zeros((1, 2, 2), "<i2")))
    sink.start(info)
    sink.put(a_frame(3))
    sink.end(StreamEnd("done"))
    assert names(read(source, 5)) == [info, 0, Gap(1, 2, "source"), 3, StreamEnd("done")]


def test_a_status_that_hangs_does_not_keep_a_sink_from_closing(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepbid_rt.zmq_io.sink._JOIN_S", 0.1)
    hangs, go_on = threading.Event(), threading.Event()

    def status() -> dict[str, Any]:
        hangs.set()
        go_on.wait()
        return {}

    sink = ZmqSink(ANY, role="raw", beat_s=0.01)
    stack.callback(sink._thread.join)
    stack.callback(go_on.set)
    stack.callback(sink.close)
    sink.set_status(status)
    assert hangs.wait(10)
    sink.close()
    assert sink._socket.closed
    go_on.set()


def test_closing_works_twice_and_in_any_state(stack: ExitStack) -> None:
    sink, source = connected(stack)
    sink.start(a_stream())
    sink.put(a_frame(0))
    for end in (sink, source, sink, source):
        end.close()
    never_opened = ZmqSource("tcp://127.0.0.1:5590")
    never_opened.close()


def test_received_frames_can_be_read_after_close(stack: ExitStack) -> None:
    sink, source = connected(stack)
    sink.start(a_stream())
    sink.put(a_frame(0))
    until(source, lambda status: status.received == 1)
    source.close()
    assert names(read(source, 2))[1:] == [0]


def test_waiting_without_a_subscriber_returns_false(stack: ExitStack) -> None:
    sink = ZmqSink(ANY)
    stack.callback(sink.close)
    assert not sink.wait_for_subscriber(0.05)
    source = ZmqSource(sink.endpoint, topic=b"raw/")
    stack.callback(source.close)
    source.open()
    assert not sink.wait_for_subscriber(0.3), "a subscriber to raw/ is not one to den/"


def test_a_port_in_use_is_one_clear_sentence(stack: ExitStack) -> None:
    sink = ZmqSink(ANY)
    stack.callback(sink.close)
    with pytest.raises(EndpointError) as caught:
        ZmqSink(sink.endpoint)
    assert str(caught.value) == (
        f"port in use {sink.endpoint}; expected a free address; "
        "choose another port or stop the program that holds this one."
    )


@pytest.mark.parametrize(
    "endpoint",
    ["", "127.0.0.1:5590", "ipc:///tmp/x", "tcp://127.0.0.1", "tcp://127.0.0.1:70000", "tcp://a b:1", "tcp://*:x"],
)
def test_a_malformed_address_is_refused(endpoint: str) -> None:
    for make in (ZmqSink, ZmqSource):
        with pytest.raises(EndpointError) as caught:
            make(endpoint)
        assert str(caught.value) == (
            f"the address {endpoint!r}; expected tcp://HOST:PORT, such as tcp://127.0.0.1:5590; correct the address."
        )


@pytest.mark.parametrize("endpoint", ["tcp://*:5590", "tcp://127.0.0.1:*", "tcp://127.0.0.1:0"])
def test_connecting_to_a_wildcard_is_refused(endpoint: str) -> None:
    with pytest.raises(EndpointError):
        ZmqSource(endpoint)


def test_binding_beyond_loopback_needs_consent(stack: ExitStack, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(EndpointError) as caught:
        ZmqSink("tcp://*:0")
    assert str(caught.value) == (
        "tcp://*:0, which other machines can reach; expected a loopback address such as tcp://127.0.0.1:5591, or keys; "
        "bind loopback, protect the stream with keys (docs/how-to/connect-two-computers.md), or let anyone on the "
        "network receive the stream with --insecure-lan."
    )
    with caplog.at_level(logging.WARNING):
        stack.callback(ZmqSink("tcp://*:0", insecure_lan=True).close)
    assert "neither encrypted nor authenticated" in caplog.text


def test_an_address_of_another_machine_cannot_be_bound() -> None:
    with pytest.raises(EndpointError, match="expected an address of this machine to bind"):
        ZmqSink("tcp://192.0.2.1:5591", insecure_lan=True)


def test_frames_outside_a_series_are_refused(stack: ExitStack) -> None:
    sink = ZmqSink(ANY)
    stack.callback(sink.close)
    with pytest.raises(StreamError):
        sink.put(a_frame(0))
    sink.start(a_stream())
    sink.end(StreamEnd("done"))
    with pytest.raises(StreamError, match="a frame, gap or end outside a series; expected a start before it"):
        sink.put(a_frame(0))


def test_the_numpy_connector_publishes_a_movie(stack: ExitStack, tmp_path: Path) -> None:
    movie = np.stack([a_frame(index).pixels[0] for index in range(6)])
    np.save(tmp_path / "movie.npy", movie)
    command = [sys.executable, str(ROOT / "bridge" / "publish_numpy.py"), "--movie", str(tmp_path / "movie.npy")]
    command += ["--bind", "tcp://127.0.0.1:*", "--rate", "100", "--layout", "collinear", "--wait", "30"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    stack.callback(process.wait, 30)
    assert process.stdout is not None
    stack.callback(process.stdout.close)
    source = ZmqSource(process.stdout.readline().split()[-1])
    stack.callback(source.close)
    source.open()
    events = read(source, 8)
    assert names(events)[1:] == [*range(6), StreamEnd("done")]
    assert isinstance(events[0], StreamInfo)
    assert (events[0].source, events[0].scan.layout) == ("numpy", "collinear")


def test_a_slow_subscriber_still_receives_the_end_of_a_sink_that_closes(stack: ExitStack) -> None:
    """More frames than the kernel buffers hold wait in the sink, and nothing is read before the sink is closed."""
    sink = ZmqSink(ANY, role="raw", beat_s=60.0)
    stack.callback(sink.close)
    context = stack.enter_context(zmq.Context())
    slow = stack.enter_context(context.socket(zmq.SUB))
    slow.setsockopt(zmq.RCVHWM, 1)
    slow.setsockopt(zmq.RCVBUF, 2**16)
    slow.setsockopt(zmq.SUBSCRIBE, b"raw/")
    slow.connect(sink.endpoint)
    assert sink.wait_for_subscriber(10)
    info = a_stream(shape=(1, 512, 1024))
    sink.start(info)
    for index in range(10):
        sink.put(Frame(index, np.full(info.shape, index, "<i2")))
    sink.end(StreamEnd("done"))
    closing = threading.Thread(target=sink.close)
    closing.start()
    stack.callback(closing.join)
    while not sink._socket.closed:
        threading.Event().wait(0.001)
    kinds = []
    while "end" not in kinds:
        assert slow.poll(10_000), f"nothing came after {kinds}"
        kinds.append(slow.recv_multipart()[0].decode().split("/")[2])
    assert kinds == ["start", *["frame"] * 10, "end"]


def test_a_message_that_is_too_long_does_not_end_the_stream_for_good(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libzmq ends the connection then, and does not connect again by itself."""
    monkeypatch.setattr("deepbid_rt.zmq_io.reconnection.PATIENCE_S", 0.3)
    publisher, source = a_raw_publisher(stack, ring_bytes=8 * 4096)
    publisher.send_multipart([b"raw/scope1/frame/", b"header", bytes(5000)])
    while (subscription := publisher.recv()) != b"\x01raw/":  # it subscribes again
        assert subscription == b"\x00raw/"
        assert publisher.poll(10_000)
    encoder = Encoder(a_stream())
    publisher.send_multipart(encoder.start())
    publisher.send_multipart(encoder.frame(a_frame(0)))
    assert names(read(source, 2))[1:] == [0]


def test_a_connection_that_breaks_is_left_to_libzmq_and_frames_that_wait_are_read(stack: ExitStack) -> None:
    sink, source = connected(stack)
    sink.start(a_stream())
    for index in range(40):
        sink.put(a_frame(index))
    sink.end(StreamEnd("done"))
    sink.close()
    assert names(read(source, 42))[1:-1] == list(range(40))
