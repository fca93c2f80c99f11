"""One core for the process: more of them break Ctrl-C; and nobody is told of it."""

import os
import subprocess
import sys

import pytest

from deepbid_rt.runtimes.openvino_core import core


def test_there_is_one():
    assert core() is core()


def test_ctrl_c_after_engines_came_and_went_is_an_exception_and_no_crash(tiny_onnx, tiny_stream_onnx):
    """Engines closed in the order they were opened in, then the signal."""
    code = f"""
import signal
from pathlib import Path
from deepbid_rt.runtimes.openvino import OpenVinoEngine
first = OpenVinoEngine(Path({str(tiny_onnx)!r}))
second = OpenVinoEngine(Path({str(tiny_stream_onnx)!r}))
first.warm_up((40, 16, 24))
second.warm_up((5, 24, 32))
first.close()
del first
second.close()
del second
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("caught")
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (finished.returncode, finished.stdout.strip()) == (0, "caught"), finished.stderr


@pytest.mark.parametrize("module", ["deepbid_rt.runtimes.openvino", "deepbid_rt.train.quantize"])
def test_nobody_is_told_of_a_session(module, tmp_path):
    """OpenVINO's own telemetry keeps an identity in the home folder and sends from a thread."""
    code = f"import {module}, threading; print(threading.active_count())"
    open_to_it = {k: v for k, v in os.environ.items() if k != "CI"} | {"HOME": str(tmp_path)}
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, env=open_to_it
    )
    assert (finished.returncode, finished.stdout.strip()) == (0, "1"), finished.stderr
    assert not (tmp_path / "intel").exists()
