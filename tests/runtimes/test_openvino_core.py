"""The process has one OpenVINO core, Ctrl-C works after engines are closed, and no telemetry is sent."""

import os
import subprocess
import sys

import pytest

from deepbid_rt.runtimes.openvino_core import core


def test_core_is_always_the_same_object():
    assert core() is core()


def test_ctrl_c_after_closing_engines_raises_instead_of_crashing(tiny_onnx, tiny_stream_onnx):
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
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have set it to be ignored
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("caught")
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (finished.returncode, finished.stdout.strip()) == (0, "caught"), finished.stderr


@pytest.mark.parametrize("module", ["deepbid_rt.runtimes.openvino", "deepbid_rt.train.quantize"])
def test_no_telemetry_is_sent(module, tmp_path):
    """OpenVINO's telemetry would keep an identity in the home folder and send from a thread."""
    code = f"import {module}, threading; print(threading.active_count())"
    environment = {k: v for k, v in os.environ.items() if k != "CI"} | {"HOME": str(tmp_path)}
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert (finished.returncode, finished.stdout.strip()) == (0, "1"), finished.stderr
    assert not (tmp_path / "intel").exists()
