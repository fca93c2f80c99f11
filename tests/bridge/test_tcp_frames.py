"""Frames over TCP: every form of sender, and senders that break off."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest

from bridge import tcp_frames
from bridge.tcp_frames import FrameFormat, TcpSettings, TcpSource
from deepbid_rt.errors import EndpointError, OptionError, RefusedError
from deepbid_rt.frame import Event, Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSource
from tests import ROOT

SHAPE = (2, 5, 7)
WAIT_S = 20.0


def form(**more: Any) -> FrameFormat:
    return FrameFormat(**{"shape": SHAPE, "dtype": np.dtype("<i2"), **more})


def picture(number: int, dtype: str = "<i2") -> np.ndarray:
    return (np.arange(np.prod(SHAPE)).reshape(SHAPE) * 3 + number).astype(dtype)


def message(number: int, format_: FrameFormat, *, length: int | None = None, count: int | None = None) -> bytes:
    """A frame as its sender writes it."""
    pixels = picture(number, format_.dtype.str)
    raw = pixels.tobytes() if format_.order == "rows" else b"".join(one.tobytes(order="F") for one in pixels)
    order = "big" if format_.length.endswith("be") else "little"
    head = [len(raw) if length is None else length] if format_.width else []
    head += [number if count is None else count] if format_.numbers else []
    return b"".join(value.to_bytes(format_.width, order) for value in head) + raw


@contextmanager
def listening(format_: FrameFormat, **more: Any) -> Iterator[tuple[TcpSource, Callable[[], socket.socket]]]:
    """A source that listens, and a function that connects to it."""
    source = TcpSource(TcpSettings(format_, 30.0, "127.0.0.1:0", **more))
    opened: list[socket.socket] = []
    with closing(source):
        source.open()

        def connect() -> socket.socket:
            opened.append(socket.create_connection(source.address))
            return opened[-1]

        try:
            yield source, connect
        finally:
            for one in opened:
                one.close()


def until(source: TcpSource, enough: Callable[[list[Event]], bool]) -> list[Event]:
    events: list[Event] = []
    deadline_s = time.monotonic() + WAIT_S
    while not enough(events):
        assert time.monotonic() < deadline_s, f"only {events[-3:]}"
        event = source.read(0.05)
        if isinstance(event, Frame):
            event = Frame(event.index, event.pixels.copy(), arrived_ns=event.arrived_ns, plane=event.plane)
        events += [event] if event is not None else []
    return events


def has(count: int) -> Callable[[list[Event]], bool]:
    return lambda events: sum(isinstance(event, Frame) for event in events) >= count


def ended(events: list[Event]) -> bool:
    return bool(events) and isinstance(events[-1], StreamEnd)


def kinds(events: list[Event]) -> list[str]:
    return [event.reason if isinstance(event, StreamEnd) else type(event).__name__ for event in events]


FORMS = [
    form(),
    form(length="4be", numbers=True),
    form(length="8le", dtype=np.dtype(">u2")),
    form(length="4le", dtype=np.dtype("<f4"), order="columns"),
    form(length="2be", dtype=np.dtype("u1"), numbers=True, order="columns"),
    form(length="none", dtype=np.dtype(">f4")),
    form(length="8be", dtype=np.dtype("<u2"), order="columns"),
]


@pytest.mark.parametrize("format_", FORMS)
@pytest.mark.parametrize("piece", [1, 13, 10**6])
def test_frames_of_every_form_in_pieces_of_every_size(format_, piece):
    with listening(format_) as (source, connect):
        sender = connect()
        content = b"".join(message(number, format_) for number in range(3))
        for at in range(0, len(content), piece):
            sender.sendall(content[at : at + piece])
        sender.close()
        events = until(source, ended)
    assert kinds(events) == ["StreamInfo", "Frame", "Frame", "Frame", "done"]
    assert (events[0].shape, events[0].rate_hz) == (SHAPE, 30.0)
    for number, frame in enumerate(events[1:4]):
        assert frame.index == number
        np.testing.assert_array_equal(frame.pixels, picture(number, format_.dtype.str))
        assert frame.pixels.dtype == events[0].dtype == format_.dtype.newbyteorder("<")
        assert frame.pixels.flags.c_contiguous


def test_a_sender_that_breaks_off_leaves_no_torn_picture(caplog):
    with listening(form()) as (source, connect):
        sender = connect()
        sender.sendall(message(0, form()) + message(1, form())[:-1])
        until(source, has(1))
        sender.close()
        assert until(source, ended) == [Gap(1, 1, "source"), StreamEnd("error")]
        again = connect()
        again.sendall(message(5, form()))
        again.close()
        events = until(source, ended)
    assert kinds(events) == ["StreamInfo", "Frame", "done"]
    np.testing.assert_array_equal(events[1].pixels, picture(5))
    assert "147 of 148 bytes" in caplog.text


def test_a_connection_that_is_reset_ends_its_series():
    with listening(form()) as (source, connect):
        sender = connect()
        sender.sendall(message(0, form()))
        until(source, has(1))
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sender.close()
        assert kinds(until(source, ended)) == ["error"]


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (139, "139 bytes"), (0, "0 bytes"), (2**63, "bytes"), (280, "2 times as much"),
        (int.from_bytes((140).to_bytes(8, "big"), "little"), "other byte order"),
    ],
)  # fmt: skip
def test_a_wrong_length_ends_the_series_and_the_next_connection_is_taken(length, words, caplog):
    with listening(form()) as (source, connect):
        connect().sendall(message(0, form()) + message(1, form(), length=length) + message(2, form()))
        events = until(source, ended)
        assert kinds(events) == ["StreamInfo", "Frame", "error"]
        assert words in caplog.text
        connect().sendall(message(7, form()))
        assert kinds(until(source, has(1))) == ["StreamInfo", "Frame"]


def test_a_length_that_counts_the_number_is_explained(caplog):
    numbered = form(numbers=True)
    with listening(numbered) as (source, connect):
        sender = connect()
        sender.sendall(message(0, numbered, length=148))
        assert source.read(0.5) is None
        assert "must not count" in caplog.text


def test_nothing_is_published_of_a_connection_without_a_whole_frame():
    with listening(form()) as (source, connect):
        connect().close()
        sender = connect()
        sender.sendall(b"GET / HTTP/1.1\r\n\r\n")
        sender.close()
        assert source.read(0.3) is None


def test_lost_numbers_are_gaps_and_a_number_that_falls_begins_a_series(caplog):
    numbered = form(numbers=True)
    with listening(numbered, planes=2) as (source, connect):
        sender = connect()
        for number in (3, 4, 4, 7, 1):
            sender.sendall(message(number, numbered))
        sender.close()
        events = until(source, lambda events: kinds(events).count("done") == 2)
    assert kinds(events) == ["StreamInfo", "Frame", "Frame", "Gap", "Frame", "done", "StreamInfo", "Frame", "done"]
    assert events[3] == Gap(5, 2, "source")
    assert [(event.index, event.plane) for event in events if isinstance(event, Frame)] == [
        (3, 1),
        (4, 0),
        (7, 1),
        (1, 1),
    ]
    assert events[0].series != events[6].series
    assert "twice" in caplog.text


@pytest.mark.parametrize("count", [2**40, 2**64 - 1])
def test_an_impossible_number_ends_the_series(count):
    numbered = form(numbers=True)
    with listening(numbered) as (source, connect):
        connect().sendall(message(0, numbered) + message(1, numbered, count=count))
        assert kinds(until(source, ended)) == ["StreamInfo", "Frame", "error"]


def test_a_connection_to_a_sender_that_waits_is_made_again_when_it_ends(caplog):
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        source = TcpSource(TcpSettings(form(), 30.0, connect=f"{host}:{port}"))
        with closing(source):
            source.open()
            for number in range(2):
                server.settimeout(0.0)
                connection = None
                deadline_s = time.monotonic() + WAIT_S
                while connection is None:
                    assert time.monotonic() < deadline_s
                    source.read(0.05)
                    try:
                        connection, _ = server.accept()
                    except BlockingIOError:
                        continue
                connection.sendall(message(number, form()))
                connection.close()
                events = until(source, ended)
                assert kinds(events) == ["StreamInfo", "Frame", "done"]
                np.testing.assert_array_equal(events[1].pixels, picture(number))
            server.close()
            deadline_s = time.monotonic() + WAIT_S
            while "does not answer" not in caplog.text:
                assert time.monotonic() < deadline_s
                assert source.read(0.05) is None


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:5600", "[::]:5600", "192.168.0.7:5600", "microscope:5600", "127.0.0.1.evil:1"]
)
def test_it_listens_on_this_computer_only_unless_asked(listen):
    with pytest.raises(EndpointError):
        TcpSource(TcpSettings(form(), 30.0, listen))
    TcpSource(TcpSettings(form(), 30.0, listen, open_to_network=True))


@pytest.mark.parametrize("listen", ["5600", ":5600", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:x"])
def test_addresses_that_are_none_are_refused(listen):
    with pytest.raises(EndpointError):
        TcpSource(TcpSettings(form(), 30.0, listen))


def test_a_port_in_use_is_refused():
    with listening(form()) as (source, _), pytest.raises(EndpointError):
        TcpSource(TcpSettings(form(), 30.0, f"127.0.0.1:{source.address[1]}")).open()


@pytest.mark.parametrize(
    "more",
    [
        {"length": "3be"}, {"length": "8"}, {"length": "none", "numbers": True}, {"dtype": np.dtype("i4")},
        {"dtype": np.dtype("O")}, {"length": "1be", "shape": (1, 16, 16)}, {"shape": (1, 0, 5)}, {"shape": (5,)},
        {"shape": (1, 2, 3, 4)},
    ],
)  # fmt: skip
def test_impossible_forms_are_refused(more):
    with pytest.raises(OptionError):
        form(**more)


@pytest.mark.parametrize("more", [{"format": form(shape=(9, 5, 5))}, {"rate_hz": 0.0}, {"planes": 0}])
def test_streams_that_cannot_be_are_refused(more):
    with pytest.raises(RefusedError):
        TcpSource(TcpSettings(**{"format": form(), "rate_hz": 30.0, **more}))


@pytest.mark.skipif(shutil.which("octave-cli") is None, reason="octave-cli (GNU Octave) is not installed")
def test_what_the_lines_of_the_documentation_send_from_matlab(tmp_path):
    """The two lines that write, with a file in place of the connection."""
    text = (ROOT / "docs" / "how-to" / "connect-any-program.md").read_text()
    lines = [line.split("%")[0].replace("write(t, ", "fwrite(t, ") for line in text.splitlines() if "write(t, " in line]
    assert len(lines) == 2
    program = f"""
        image = reshape(0:34, 5, 7);
        frame = int16(image);
        t = fopen("{(tmp_path / "bytes").as_posix()}", "w");
        {" ".join(lines)}
        fclose(t);
    """
    subprocess.run(["octave-cli", "--eval", program], check=True, capture_output=True, timeout=60)
    format_ = form(shape=(1, 5, 7), order="columns")
    with listening(format_) as (source, connect):
        sender = connect()
        sender.sendall((tmp_path / "bytes").read_bytes())
        sender.close()
        events = until(source, ended)
    assert kinds(events) == ["StreamInfo", "Frame", "done"]
    np.testing.assert_array_equal(events[1].pixels[0], np.arange(35).reshape(7, 5).T)


def test_it_may_be_read_closed_and_opened_again():
    with listening(form()) as (source, connect):
        sender = connect()
        sender.sendall(message(0, form()))
        assert isinstance(until(source, has(1))[0], StreamInfo)
        source.close()
        source.close()
        assert source.read(0.0) is None
        source.open()
        connect().sendall(message(3, form()))
        assert kinds(until(source, has(1))) == ["StreamInfo", "Frame"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--shape", "5,7", "--rate", "0"), 2, "0.0 Hz"),
        (("--shape", "5", "--rate", "30"), 2, "--shape 5"),
        (("--shape", "5,7", "--rate", "30", "--dtype", "nonsense"), 2, "--dtype nonsense"),
        (("--shape", "5,7", "--rate", "30", "--listen", "0.0.0.0:0"), 2, "--open-to-network"),
        (("--shape", "5,7", "--rate", "30", "--scan", "collinear", "--no-bidirectional"), 2, "collinear"),
    ],
)
def test_the_command_says_what_it_refuses(arguments, status, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tcp_frames.py", "--bind", "tcp://127.0.0.1:0", *arguments])
    assert tcp_frames.main() == status
    assert words in capsys.readouterr().err


def test_the_command_publishes_what_is_sent_to_it():
    command = [sys.executable, str(ROOT / "bridge" / "tcp_frames.py"), "--bind", "tcp://127.0.0.1:0"]
    command += ["--listen", "127.0.0.1:0", "--shape", "2,5,7", "--rate", "30", "--series", "1", "--wait", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            with closing(ZmqSource(process.stdout.readline().removeprefix("publishing on ").strip())) as received:
                received.open()
                host, port = process.stderr.readline().removeprefix("listening on ").strip().split(":")
                with socket.create_connection((host, int(port))) as sender:
                    sender.sendall(b"".join(message(number, form()) for number in range(4)))
                events = until(received, ended)
            said = process.communicate(timeout=WAIT_S)[0]
        finally:
            process.kill()
    assert kinds(events) == ["StreamInfo", *["Frame"] * 4, "done"]
    np.testing.assert_array_equal(events[3].pixels, picture(2))
    assert json.loads(said.splitlines()[-1]) == {"series": 1, "frames": 4, "lost": 0}
