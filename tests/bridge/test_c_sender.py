"""The sender in plain C: compiled with warnings as errors, and received like any other stream."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.wire.codec import decode
from deepbid_rt.wire.header import digest
from deepbid_rt.wire.message import BeatMessage, EndMessage
from deepbid_rt.zmq_io import ZmqSource
from tests import ROOT

SOURCE = ROOT / "bridge" / "c" / "send_frames.c"
WAIT_S = 60.0
COMMON = ("v", "k", "sid", "seq", "ts", "hh")
OF_A_BEAT = ("last_seq", "last_fn", "fps", "state", "reason", "status")


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (Debian: apt-get install gcc)")
    folder = tmp_path_factory.mktemp("c")
    (folder / "empty.c").write_text("#include <zmq.h>\nint main(void) { return zmq_errno(); }\n")
    probe = subprocess.run([compiler, "empty.c", "-o", "empty", "-lzmq"], cwd=folder, capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no headers of libzmq (Debian: apt-get install libzmq3-dev)")
    strict = ("-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsanitize=undefined")
    command = [compiler, *strict, "-o", "send_frames", str(SOURCE), "-lzmq"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if built.returncode and "ubsan" in built.stderr:
        command.remove("-fsanitize=undefined")
        built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder / "send_frames"


@contextmanager
def sending(sender: Path, *arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running program, and its address. It waits for a subscriber."""
    command = [str(sender), "tcp://127.0.0.1:*", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().removeprefix("publishing on ").strip()
        finally:
            process.kill()


def pattern(number: int, shape: tuple[int, int, int]) -> np.ndarray:
    c, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return ((x + number) % 256 + 16 * (y % 16) + 1000 * c - 500).astype("<i2")


def test_a_receiver_gets_every_frame_and_what_they_are(sender):
    shape = (2, 20, 30)
    with sending(sender, 25, 200, *shape) as (process, endpoint), closing(ZmqSource(endpoint)) as source:
        source.open()
        events: list[Any] = []
        until_s = time.monotonic() + WAIT_S
        while not (events and isinstance(events[-1], StreamEnd)):
            assert time.monotonic() < until_s
            event = source.read(0.5)
            if isinstance(event, Frame):
                np.testing.assert_array_equal(event.pixels, pattern(event.index, shape))
                assert abs(event.t_ns - time.time_ns()) < 60e9
            events += [event] if event is not None else []
        status = source.status()
        assert process.wait(WAIT_S) == 0
        assert json.loads(process.stdout.read().splitlines()[-1]) == {"frames": 25}
        assert process.stderr.read() == ""
    info = events[0]
    assert isinstance(info, StreamInfo)
    assert (info.shape, info.dtype, info.rate_hz, info.planes) == (shape, np.dtype("<i2"), 200.0, 1)
    assert (info.scan.layout, info.scan.bidirectional, info.scan.first, info.scan.mirrored) == (
        *("ordinary", True, "forward", True),
    )
    assert [event.index for event in events[1:-1]] == list(range(25))
    assert events[-1] == StreamEnd("done")
    assert not sum(status.lost.values())
    assert not any(status.bad.values())


def messages(sender: Path, *arguments: object) -> list[list[bytes]]:
    """All messages up to the idle beat."""
    with (
        sending(sender, *arguments) as (process, endpoint),
        zmq.Context() as context,
        context.socket(zmq.SUB) as socket,
    ):
        socket.setsockopt(zmq.LINGER, 0)
        socket.subscribe(b"")
        socket.connect(endpoint)
        found: list[list[bytes]] = []
        while not (found and b"idle" in found[-1][1]):
            assert socket.poll(WAIT_S * 1000)
            found.append(socket.recv_multipart())
        assert process.wait(WAIT_S) == 0
    return found


def body_of(header: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in header.items() if key not in (*COMMON, *OF_A_BEAT)}


@pytest.mark.parametrize(("rate", "shape"), [(1000, (1, 8, 8)), (29.97, (2, 130, 300)), (0.9, (8, 1, 8192))])
def test_the_hash_of_the_start_body_is_the_one_of_the_protocol(sender, rate, shape):
    """Also when a number of the body takes more bytes, and when beats come between slow frames."""
    found = messages(sender, 2, rate, *shape)
    headers = [msgpack.unpackb(parts[1]) for parts in found]
    start = headers[0]
    assert start["k"] == "start"
    expected = digest(body_of(start))
    assert start["rate_hz"] == pytest.approx(rate)
    assert {header["hh"] for header in headers} == {expected}
    for header in headers:
        if header["k"] == "beat":
            assert body_of(header) == body_of(start)
    if rate < 1:
        assert "beat" in [header["k"] for header in headers[:-2]]


def test_messages_are_numbered_as_the_protocol_says(sender):
    found = messages(sender, 300, 1000, 1, 4, 4)
    decoded = [decode(parts) for parts in found]
    counted = [message.seq for message in decoded if not isinstance(message, BeatMessage)]
    assert counted == list(range(302))
    assert {parts[0].split(b"/")[1] for parts in found} == {b"scope1"}
    end, beat = decoded[-2:]
    assert isinstance(end, EndMessage)
    assert (end.end, end.last_fn) == (StreamEnd("done"), 299)
    assert isinstance(beat, BeatMessage)
    assert (beat.seq, beat.last_seq, beat.last_fn, beat.end) == (301, 301, 299, StreamEnd("done"))


def test_two_runs_are_two_series(sender):
    assert len({msgpack.unpackb(messages(sender, 1, 100, 1, 4, 4)[0][1])["sid"] for _ in range(2)}) == 2


def test_a_series_without_a_frame_is_legal(sender):
    assert [decode(parts).__class__.__name__ for parts in messages(sender, 0, 100, 1, 4, 4)] == [
        "StartMessage", "EndMessage", "BeatMessage",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("nonsense",), 1, "Invalid argument"),
        (("tcp://127.0.0.1:*", "1", "0"), 2, "more than 0 Hz"),
        (("tcp://127.0.0.1:*", "1", "30", "9", "4", "4"), 2, "1 to 8 channels"),
        (("tcp://127.0.0.1:*", "1", "30", "1", "0", "4"), 2, "1 to 8192 lines"),
    ],
)
def test_what_cannot_be_is_refused(sender, arguments, status, words):
    finished = subprocess.run([sender, *arguments], capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert finished.returncode == status
    assert words in finished.stderr


def test_a_gap_in_the_numbers_is_a_gap_for_the_receiver(sender, tmp_path):
    """Another main, around the same functions, which loses frames 1 and 2 and sends a second series."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    functions = SOURCE.read_text().split("/* ---- The example")[0]
    (tmp_path / "two.c").write_text(
        functions
        + """
int main(void)
{
    dbrt sender;
    unsigned shape[3] = {1, 1, 2}, other[3] = {1, 2, 2};
    unsigned char pixels[4] = {1, 2, 3, 4};
    char bound[256];
    size_t length = sizeof bound;
    dbrt_open(&sender, "tcp://127.0.0.1:*", "rig-7");
    zmq_getsockopt(sender.socket, ZMQ_LAST_ENDPOINT, bound, &length);
    printf("publishing on %s\\n", bound);
    fflush(stdout);
    dbrt_wait(&sender, 30000);
    dbrt_start(&sender, shape, "<u2", 10);
    dbrt_frame(&sender, 0, pixels);
    dbrt_frame(&sender, 3, pixels);
    dbrt_end(&sender, "abort");
    dbrt_start(&sender, other, "|u1", 10);
    dbrt_frame(&sender, 1099511627776, pixels);
    dbrt_end(&sender, "done");
    dbrt_beat(&sender, 0);
    dbrt_close(&sender);
    return 0;
}
"""
    )
    command = [compiler, "-std=c11", "-O1", "-o", "two", "two.c", "-lzmq"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    with sending(tmp_path / "two") as (_, endpoint), closing(ZmqSource(endpoint)) as source:
        source.open()
        events: list[Any] = []
        until_s = time.monotonic() + WAIT_S
        while sum(isinstance(event, StreamEnd) for event in events) < 2:
            assert time.monotonic() < until_s
            event = source.read(0.5)
            if isinstance(event, Frame):
                events.append((event.index, event.pixels.tolist()))
            elif event is not None:
                events.append(event)
    first, second = events[0], events[5]
    assert events[1:5] == [(0, [[[513, 1027]]]), Gap(1, 2, "source"), (3, [[[513, 1027]]]), StreamEnd("abort")]
    assert (first.source, second.shape, second.dtype) == ("rig-7", (1, 2, 2), np.dtype("|u1"))
    assert events[6:] == [(2**40, [[[1, 2], [3, 4]]]), StreamEnd("done")]
    assert first.series != second.series
