"""Signals end a command like Ctrl-C, at every moment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import tifffile

from deepbid_rt.frame import Frame, StreamInfo
from deepbid_rt.zmq_io import ZmqSink
from tests.e2e.commands import TIMEOUT_S, page_count

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
SIGNALS = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
INFO = StreamInfo((1, 16, 16), np.dtype("<i2"), 30.0)


def as_from_a_terminal() -> None:
    """Give signals their usual effect, which the shell or the runner of the tests may have changed."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def started(*args: str | Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "deepbid_rt", *map(str, args)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=as_from_a_terminal
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(stream: IO[str] | None, beginning: str) -> str:
    """Read a stream until a line with this beginning."""
    assert stream is not None
    read = []
    for line in stream:
        read.append(line)
        if line.startswith(beginning):
            return line
    raise AssertionError("".join(read))


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_session_ends_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    sink = ZmqSink("tcp://127.0.0.1:*", role="raw")
    try:
        options = ("--engine", "echo", "--record", tmp_path, "--max-latency", "none", "--json")
        with started("serve", "--source", sink.endpoint, *options) as session:
            assert sink.wait_for_subscriber(TIMEOUT_S)
            sink.start(INFO)
            for index in range(20):
                sink.put(Frame(index, np.full(INFO.shape, index, np.int16)))
            wait_until(lambda: list(tmp_path.glob("*_denoised.tif")), session)
            session.send_signal(number)
            out, err = session.communicate(timeout=TIMEOUT_S)
    finally:
        sink.close()
    assert session.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert result["frames_in"] == result["frames_out"] == page_count(result["recordings"][0])
    (log,) = tmp_path.glob("*.jsonl")
    assert json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["kind"] == "summary"


LOADING = """
import sys, time
import deepbid_rt.cli.serve as serve, deepbid_rt.cli.demo as demo
def load(*_, **__):
    print("loading", flush=True)
    time.sleep(600)
serve.load_engine = demo.load_engine = load
from deepbid_rt.cli import main
sys.argv[0] = "deepbid-rt"
main()
"""


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("serve", "--source", "tcp://127.0.0.1:9"), 0, "stopped before the session began; nothing was received\n"),
        (("demo",), 130, "interrupted\n"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_engine_loads(
    number: signal.Signals, command: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOADING, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        preexec_fn=as_from_a_terminal,
    )
    try:
        line_of(process.stdout, "loading")
        process.send_signal(number)
        _, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, err) == (code, said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_a_publisher_ends_its_series(number: signal.Signals) -> None:
    options = ("--frames", "5000", "--size", "16", "--bind", "tcp://127.0.0.1:*", "--json")
    with started("simulate", *options) as process:
        line_of(process.stdout, "tcp://")
        process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    assert json.loads(out)["sent"] < 5000


def test_denoising_a_file_ends_like_ctrl_c_and_keeps_what_it_wrote(tmp_path: Path) -> None:
    movie, part = tmp_path / "movie.tif", tmp_path / "out.tif.part"
    with tifffile.TiffWriter(movie, bigtiff=True) as file:
        for page in np.random.default_rng(0).poisson(50, (200, 128, 128)).astype(np.int16):
            file.write(page, contiguous=False, metadata=None)
    with started("denoise", movie, tmp_path / "out.tif", "--threads", "1") as process:
        wait_until(lambda: part.exists() and part.stat().st_size > 200_000, process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, err
    assert f"denoised frames are in {part}" in " ".join(err.split())
    assert page_count(part) >= 5
    assert not (tmp_path / "out.tif").exists()


def test_a_demo_ends_with_its_session_and_takes_its_microscope_along(tmp_path: Path) -> None:
    options = ("--engine", "echo", "--size", "32", "--seconds", "300", "--out", tmp_path, "--json")
    with started("demo", *options) as process:
        wait_until(lambda: any(path.stat().st_size > 40_000 for path in tmp_path.rglob("*_denoised.tif")), process)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    assert time.monotonic() - begun < TIMEOUT_S / 2  # the microscope alone would take 300 s


def test_a_bad_address_is_refused_before_anything_is_simulated(tmp_path: Path) -> None:
    raw = tmp_path / "raw.tif"
    with started("simulate", "--frames", "2000", "--size", "512", "--bind", "tcp://192.0.2.1:9", "--raw", raw) as bad:
        _, err = bad.communicate(timeout=TIMEOUT_S)
    assert bad.returncode == 2
    assert "simulating" not in err
    assert not raw.exists()
