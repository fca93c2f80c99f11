"""`build` from its options to a plan, with a simulated builder in the place of TensorRT's."""

import signal
import sys

import numpy as np
import pytest
import tifffile

pytest.importorskip("onnx", reason="the train extra is not installed")
from deepbid_rt.cli.build import BuildPrecision, build_command  # after the check for onnx
from deepbid_rt.errors import StageError, StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.runtimes.tensorrt import build
from deepbid_rt.runtimes.tensorrt.load import GpuHost
from deepbid_rt.runtimes.tensorrt.sidecar import read_facts
from deepbid_rt.zmq_io import ZmqSink
from tests.fakes import stream
from tests.simulated_gpu import GPU, SimulatedTensorRt


@pytest.fixture
def trt(monkeypatch):
    """A simulated TensorRT and GPU in the place of this computer's."""
    simulated = SimulatedTensorRt()
    defaults = (lambda: simulated, lambda: GPU, lambda: simulated.memory)
    monkeypatch.setattr(GpuHost.__init__, "__defaults__", defaults)
    return simulated


def recording(path, size, value=40):
    tifffile.imwrite(path, np.random.default_rng(1).poisson(value, (14, *size)).astype(np.int16))
    return path


def test_the_size_comes_from_a_running_stream(trt, tiny_stream_onnx, tmp_path, capsys):
    sink = ZmqSink("tcp://127.0.0.1:*", role="raw")
    sink.start(stream((1, 50, 30), scan=ScanGeometry("collinear")))
    out = tmp_path / "m.plan"
    try:
        build_command(str(tiny_stream_onnx), out, source=sink.endpoint, precision=BuildPrecision.FP32)
    finally:
        sink.close()
    assert read_facts(out).shape == (5, 32, 32)  # half the lines, on the grid
    assert "the stream has views of 25x30" in "".join(capsys.readouterr())


def test_a_stream_that_never_begins_is_refused(trt, tiny_stream_onnx, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["deepbid_rt.cli.build"], "WAIT_S", 0.2)
    with pytest.raises(StreamError, match=r"^no series from tcp://127.0.0.1:9 within 0 s"):
        build_command(str(tiny_stream_onnx), tmp_path / "m.plan", source="tcp://127.0.0.1:9")
    assert not list(tmp_path.iterdir())


def test_parity_is_measured_on_a_recording(trt, tiny_stream_onnx, tmp_path, monkeypatch):
    asked = []
    plain = build.inputs_from
    monkeypatch.setattr(
        build, "inputs_from", lambda engine, movie, size: (asked.append(movie), plain(engine, movie, size))[1]
    )
    movie = recording(tmp_path / "movie.tif", (24, 32))
    out = tmp_path / "m.plan"
    build_command(str(tiny_stream_onnx), out, size="24x32", frames=movie)
    assert read_facts(out).parity["correlation"] >= 0.9995
    assert np.array_equal(asked[0], tifffile.imread(movie))


def test_ctrl_c_ends_a_build_at_its_next_step_and_leaves_nothing(trt, tiny_stream_onnx, tmp_path):
    steps = []

    def interrupt(step):
        steps.append(step)
        if step == 1:
            signal.raise_signal(signal.SIGINT)

    trt.on_step = interrupt
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(StageError, match=r"^the build was stopped"):
        build_command(str(tiny_stream_onnx), tmp_path / "m.plan", size="24x32")
    assert steps == [0, 1]
    assert signal.getsignal(signal.SIGINT) is before
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("listens_to_ctrl_c")
def test_a_second_ctrl_c_breaks_through(trt, tiny_stream_onnx, tmp_path):
    def interrupt(_step):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    trt.on_step = interrupt
    with pytest.raises(KeyboardInterrupt):
        build_command(str(tiny_stream_onnx), tmp_path / "m.plan", size="24x32")
    assert not list(tmp_path.iterdir())
