"""The command ``deepbid-rt view``, and that it cannot disturb a session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile

from deepbid_rt.frame import Frame, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSink
from tests.e2e.commands import Running, run, started

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals, and a virtual screen")
SIDE, FRAMES = 128, 240


def until(reached: Callable[[], Any]) -> None:
    for _ in range(6000):
        if reached():
            return
        threading.Event().wait(0.01)
    pytest.fail("never reached")


def connected(process: subprocess.Popen[str], *endpoints: str) -> bool:
    """Return whether a process is connected to all of these addresses."""
    assert process.poll() is None, process.communicate()
    ports = {int(endpoint.rpartition(":")[2]) for endpoint in endpoints}
    talking = psutil.Process(process.pid).net_connections("tcp")
    return ports <= {c.raddr.port for c in talking if c.status == psutil.CONN_ESTABLISHED and c.raddr}


@dataclass
class Session:
    """A served session, and a viewer that is connected to both streams."""

    microscope: ZmqSink
    serve: Running
    viewer: Running
    published: str


@pytest.fixture
def session(screen: str, tmp_path: Path) -> Iterator[Session]:
    pytest.importorskip("PySide6.QtWidgets", reason="PySide6 or a library is not installed", exc_type=ImportError)
    with ExitStack() as stack:
        microscope = ZmqSink("tcp://127.0.0.1:*", role="raw")
        stack.callback(microscope.close)
        options = ("--engine", "echo", "--record", tmp_path, "--record-raw", "--frames", str(FRAMES), "--json")
        options += ("--max-latency", "none")
        serve = stack.enter_context(
            started("serve", "--source", microscope.endpoint, "--publish", "tcp://127.0.0.1:*", *options)
        )
        published = serve.process.stderr.readline().removeprefix("publishing on ").strip()
        viewer = stack.enter_context(started("view", "--connect", published, "--out", tmp_path / "view", "--json"))
        assert microscope.wait_for_subscriber(60.0)
        microscope.start(StreamInfo((1, SIDE, SIDE), np.dtype("<i2"), 60.0))
        until(lambda: connected(viewer.process, published, microscope.endpoint))
        yield Session(microscope, serve, viewer, published)


def scan(session: Session, first: int, count: int, pause_s: float) -> None:
    for index in range(first, first + count):
        session.microscope.put(Frame(index, np.full((1, SIDE, SIDE), index, np.int16)))
        threading.Event().wait(pause_s)


def test_the_viewer_shows_a_session_and_reports_what_it_displayed(session: Session) -> None:
    scan(session, 0, FRAMES, 0.01)
    served = session.serve.finish()
    assert served.result["frames_out"] == FRAMES
    session.viewer.process.send_signal(signal.SIGTERM)
    watched = session.viewer.finish()
    assert watched.code == 0, watched.stderr
    result = watched.result
    assert result["displayed"] > 0
    assert result["received"] > FRAMES / 2
    assert result["with_raw"] > 0
    assert result["messages"] == []


@pytest.mark.parametrize("fault", ["killed", "frozen", "flooded"])
def test_no_fault_of_the_viewer_affects_the_session(session: Session, fault: str, tmp_path: Path) -> None:
    half = FRAMES // 2
    scan(session, 0, half, 0.005)
    if fault == "killed":
        session.viewer.process.kill()
    elif fault == "frozen":
        session.viewer.process.send_signal(signal.SIGSTOP)
    # Flooded: frames arrive much faster than a screen can show them.
    scan(session, half, FRAMES - half, 0.002 if fault == "flooded" else 0.005)
    session.microscope.end(StreamEnd("done"))
    served = session.serve.finish()
    assert served.code == 0, served.stderr
    assert served.result["frames_in"] == served.result["frames_out"] == FRAMES
    assert not any(served.result["lost"].values())
    for stream in ("raw", "denoised"):
        (path,) = tmp_path.glob(f"*_{stream}.tif")
        with tifffile.TiffFile(path) as tif:
            assert [page.asarray()[0, 0] for page in tif.pages] == list(range(FRAMES))
    if fault == "flooded":
        assert session.viewer.process.poll() is None


REPORTING_VIEWER = """
import sys
from pathlib import Path
from deepbid_rt.viewer.run import run_viewer
from deepbid_rt.viewer.viewer_model import ViewerModel

painted = ViewerModel.painted

def report(model):
    painted(model)
    print(-1 if model.playback.shown is None else model.playback.shown.index, flush=True)

ViewerModel.painted = report
run_viewer(sys.argv[1], None, 1.0, Path(sys.argv[2]), Path(sys.argv[2], "rois.json"), None)
"""
"""A viewer that prints the number of each frame that is on the screen."""


def test_a_viewer_that_was_frozen_shows_the_newest_frame_again(session: Session, tmp_path: Path) -> None:
    program = [sys.executable, "-c", REPORTING_VIEWER, session.published, str(tmp_path)]
    numbers = iter(range(FRAMES))
    shown = [-1]

    def scan_until_shown(least: int) -> None:
        """Send frames until the screen shows this one or a later one."""
        while shown[-1] < least:
            number = next(numbers, None)
            assert number is not None, f"frame {least} was never shown; the last one was {shown[-1]}"
            scan(session, number, 1, 0.1)

    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as viewer:
        reader = threading.Thread(target=lambda: shown.extend(int(line) for line in viewer.stdout))
        reader.start()
        try:
            until(lambda: connected(viewer, session.published))
            scan_until_shown(0)
            viewer.send_signal(signal.SIGSTOP)
            for _ in range(60):
                scan(session, newest := next(numbers), 1, 0.005)
            viewer.send_signal(signal.SIGCONT)
            scan_until_shown(newest)
        finally:
            viewer.kill()
            reader.join()


def test_the_demo_opens_the_viewer(screen: str, tmp_path: Path) -> None:
    pytest.importorskip("PySide6.QtWidgets", reason="PySide6 or a library is not installed", exc_type=ImportError)
    options = ("--engine", "average", "--size", "32", "--seconds", "2", "--out", tmp_path, "--json")
    with started("demo", "--view", *options) as demo:
        result = demo.line()
        assert '"frames_lost": 0' in result
        (viewer,) = (c for c in psutil.Process(demo.process.pid).children() if "view" in c.cmdline())
        viewer.terminate()
        assert demo.process.wait(60) == 0


def test_without_a_screen_the_error_is_one_sentence() -> None:
    pytest.importorskip("PySide6.QtWidgets", reason="PySide6 or a library is not installed", exc_type=ImportError)
    hidden = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    hidden.pop("QT_QPA_PLATFORM", None)
    command = [sys.executable, "-m", "deepbid_rt", "view"]
    done = subprocess.run(command, capture_output=True, text=True, env=hidden, timeout=100, check=False)
    assert done.returncode == 2
    assert "a viewer without a screen" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("display", [":4321", "nonsense"])
def test_a_screen_that_does_not_answer_gives_one_sentence(display: str) -> None:
    pytest.importorskip("PySide6.QtWidgets", reason="PySide6 or a library is not installed", exc_type=ImportError)
    hidden = {key: value for key, value in os.environ.items() if key not in ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    command = [sys.executable, "-m", "deepbid_rt", "view"]
    environment = {**hidden, "DISPLAY": display}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert done.returncode == 2
    assert f"the display {display}, which does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_the_error_is_one_sentence() -> None:
    program = (
        "import sys; sys.modules.update(vispy=None, PySide6=None); sys.argv = ['deepbid-rt', 'view'];"
        "from deepbid_rt.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert 'pip install "deepbid-rt[viewer]"' in done.stderr


def test_a_malformed_address_gives_one_sentence(screen: str) -> None:
    pytest.importorskip("PySide6.QtWidgets", reason="PySide6 or a library is not installed", exc_type=ImportError)
    done = run("view", "--connect", "127.0.0.1:5591")
    assert done.code == 2
    assert "tcp://HOST:PORT" in done.stderr
