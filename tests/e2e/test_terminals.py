"""A terminal that is closed or held stops no session: everything is recorded, and the exit code is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from deepbid_rt.frame import Frame, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSink
from tests.e2e.commands import TIMEOUT_S, page_count, run

pty = pytest.importorskip("pty", reason="pipes and terminals of Unix")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and terminals of Unix")
INFO = StreamInfo((1, 16, 16), np.dtype("<i2"), 30.0)
FRAMES = 20
Ends = tuple[int | None, list[int]]


def fill(descriptor: int) -> None:
    """Write to a descriptor until it takes no more."""
    os.set_blocking(descriptor, False)
    try:
        while True:
            os.write(descriptor, b"x" * 1000)
    except BlockingIOError:
        os.set_blocking(descriptor, True)


def broken_pipe() -> Ends:
    reader, writer = os.pipe()
    os.close(reader)
    return writer, [writer]


def full_pipe() -> Ends:
    reader, writer = os.pipe()
    fill(writer)
    return writer, [reader, writer]


def held_terminal() -> Ends:
    """A terminal that nobody reads, as after Ctrl-S."""
    master, slave = pty.openpty()
    fill(slave)
    return slave, [master, slave]


def closed() -> Ends:
    return None, []


@contextmanager
def made(make: Callable[[], Ends]) -> Iterator[int | None]:
    end, opened = make()
    try:
        yield end
    finally:
        for descriptor in opened:
            os.close(descriptor)


def serve(folder: Path, *, stdout: int | None, stderr: int | None, frames: int = FRAMES) -> tuple[int, str]:
    """Serve some frames with these descriptors, None for a closed one; return exit code and stdout."""

    def close() -> None:
        for number, descriptor in ((1, stdout), (2, stderr)):
            if descriptor is None:
                os.close(number)

    sink = ZmqSink("tcp://127.0.0.1:*", role="raw")
    command = [sys.executable, "-m", "deepbid_rt", "-v", "serve", "--source", sink.endpoint, "--engine", "echo"]
    command += ["--max-latency", "none"]
    command += ["--record", str(folder), "--record-raw", "--frames", str(frames), "--json"]
    try:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True, preexec_fn=close)
        try:
            assert sink.wait_for_subscriber(TIMEOUT_S)
            sink.start(INFO)
            for index in range(frames):
                sink.put(Frame(index, np.full(INFO.shape, index, np.int16)))
            sink.end(StreamEnd("done"))
            out, _ = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
            process.communicate()
    finally:
        sink.close()
    return process.returncode, out


@pytest.mark.parametrize("make", [broken_pipe, full_pipe, held_terminal, closed], ids=lambda make: make.__name__)
def test_no_stderr_stops_a_session(make: Callable[[], Ends], tmp_path: Path) -> None:
    with made(make) as stderr:
        code, out = serve(tmp_path, stdout=subprocess.PIPE, stderr=stderr)
    assert code == 0
    result = json.loads(out.splitlines()[-1])
    assert result["frames_in"] == result["frames_out"] == FRAMES
    assert [page_count(path) for path in result["recordings"]] == [FRAMES, FRAMES]
    (log,) = tmp_path.glob("*.jsonl")
    assert json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["kind"] == "summary"


@pytest.mark.parametrize("make", [broken_pipe, closed], ids=lambda make: make.__name__)
def test_a_result_that_nobody_takes_is_one_sentence_and_exit_code_1(make: Callable[[], Ends], tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    with made(make) as stdout, errors.open("w") as stderr:
        code, _ = serve(tmp_path / "session", stdout=stdout, stderr=stderr.fileno())
    text = errors.read_text(encoding="utf-8")
    assert code == 1, text
    assert "deepbid-rt: the result could not be written to stdout; expected" in text
    assert "Traceback" not in text
    assert "Exception ignored" not in text
    assert [page_count(path) for path in (tmp_path / "session").glob("*.tif")] == [FRAMES, FRAMES]


def test_a_starter_that_reads_no_address_does_not_stop_a_publisher() -> None:
    with made(broken_pipe) as stdout:
        command = [sys.executable, "-m", "deepbid_rt", "simulate", "--frames", "2", "--size", "16", "--rate", "100"]
        process = subprocess.run(
            [*command, "--bind", "tcp://127.0.0.1:*"], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
        )
    assert process.returncode == 0, process.stderr
    assert "stdout takes no text" in process.stderr


def test_the_log_goes_to_a_file_too_and_as_json(tmp_path: Path) -> None:
    log, options = tmp_path / "log", ("serve", "--source", "tcp://127.0.0.1:9", "--publish", "tcp://127.0.0.1:*")
    wrong = run("--log-file", log, *options, "--engine", "nonsense")
    assert wrong.code == 2
    (line,) = log.read_text(encoding="utf-8").splitlines()
    assert " ERROR deepbid-rt: no engine named 'nonsense'" in line
    ended = run("--log-file", log, "--log-json", *options, "--engine", "echo", "--idle-timeout", "0.1")
    shown = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["level"] for line in shown[:2]] == ["info", "info"]
    assert shown[0]["message"].startswith("publishing on tcp://127.0.0.1:")
    (table,) = (line["data"]["rows"] for line in shown if line["message"] == "session")
    assert ["frames in", "0"] in table
    filed = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()[1:]]
    assert [line["message"] for line in filed] == [line["message"] for line in shown]


def test_a_log_file_that_cannot_be_opened_is_refused_before_anything_starts(tmp_path: Path) -> None:
    refused = run("--log-file", tmp_path / "none" / "log", "serve", "--source", "tcp://127.0.0.1:9")
    assert refused.code == 2
    assert refused.stderr.startswith(f"deepbid-rt: the log file {tmp_path / 'none' / 'log'} cannot be opened (No such")


def test_a_program_in_the_background_may_write_to_its_terminal() -> None:
    """Else a terminal with ``stty tostop`` stops the whole process at its first line."""
    source = "import signal, deepbid_rt.cli as cli\n"
    source += "cli.app = lambda: print(signal.getsignal(signal.SIGTTOU) == signal.SIG_IGN)\ncli.main()"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


def test_a_closed_stderr_leaves_its_number_to_no_other_file() -> None:
    """Else a recording gets descriptor 2, and what a library prints goes into it."""
    source = "import os, deepbid_rt.cli as cli\n"
    source += "cli.app = lambda: print(os.path.samestat(os.fstat(2), os.stat(os.devnull)))\ncli.main()"
    done = subprocess.run(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.close(2), check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n")
