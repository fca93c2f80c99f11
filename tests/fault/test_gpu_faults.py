"""The GPU fails during a session: the session ends with the GPU's error, and the recording up to then is complete."""

import math
import re
import threading

import numpy as np
import pytest

pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.denoising.denoiser import Denoiser  # after the check for torch
from deepbid_rt.errors import StageError
from deepbid_rt.frame import Frame, StreamEnd
from deepbid_rt.live.pipeline import Pipeline
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits, SessionState
from deepbid_rt.recording.recorder import Recorder
from deepbid_rt.recording.sidecar import Sidecar, read_sidecar
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.runtimes.gpu.torch_device import HostDevice
from deepbid_rt.runtimes.tensorrt.engine import TensorRtEngine
from deepbid_rt.runtimes.torch import TorchEngine
from tests.fakes import ListSink, ListSource, stream
from tests.simulated_gpu import SimulatedMemory, SimulatedTensorRt, SimulatedTorchMemory, simulated_host
from tests.stand_in_cuda import StandInMemory

FRAMES, GOOD = 30, 17
GUARD_S = 30.0
"""Longest wait, seconds; reached only when the test fails."""


class FailingDevice(HostDevice):
    """A device whose work fails after `left` more frames."""

    def __init__(self):
        super().__init__()
        self.left = math.inf

    def prepare(self, work):
        def launch():
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore lines")
            work()

        return launch, False


def frames(info):
    rng = np.random.default_rng(0)
    return [Frame(n, rng.poisson(100, info.shape).astype(info.dtype)) for n in range(FRAMES)]


def record(engine, info, folder, break_now):
    """Run a session whose GPU fails after `GOOD` frames; return the error, the status and the raw frames.

    Frames after the failure pass through undenoised.
    """
    sidecar = Sidecar(folder)
    recorders = [Recorder(folder, "denoised", sidecar), Recorder(folder, "raw", sidecar)]
    outlets = [SinkSettings(f"recorder {n}", r, 100) for n, r in enumerate(recorders)]
    made = frames(info)
    good = threading.Event()
    watch = ListSink(on_put=lambda frame: good.set() if frame.index == GOOD - 1 else None)

    def let_the_gpu_fail():
        assert good.wait(GUARD_S)
        break_now()

    steps = [info, *made[:GOOD], let_the_gpu_fail, *made[GOOD:], StreamEnd("done")]
    denoised = [outlets[0], SinkSettings("watch", watch, 100)]
    pipeline = Pipeline(
        ListSource(steps),
        lambda i: Denoiser(engine, i),
        raw=outlets[1:],
        denoised=denoised,
        limits=SessionLimits(series=1),
    )
    with pytest.raises(StageError) as failed:
        pipeline.run()
    sidecar.close(error=str(failed.value))
    return failed.value, pipeline.status(), made


def check_recording(folder, info, made, lines):
    log = read_sidecar(next(folder.glob("*.jsonl")))
    assert log[-1]["kind"] == "summary"
    assert "the GPU failed in the middle of the session" in log[-1]["error"]
    with TiffMovie(next(folder.glob("*_denoised.tif")), 1) as movie:
        assert movie.shape == (FRAMES, 1, lines, info.shape[2])
        assert np.array_equal(movie.frame(FRAMES - 1), made[-1].pixels), "raw pixels after the failure"
    with TiffMovie(next(folder.glob("*_raw.tif")), 1) as movie:
        assert movie.shape[0] == FRAMES
        assert all(np.array_equal(movie.frame(n), made[n].pixels) for n in range(FRAMES))


@pytest.mark.parametrize("owner", [SimulatedMemory, SimulatedTorchMemory, StandInMemory])
def test_a_session_with_a_plan_goes_on_undenoised_and_reports_the_gpu_error(simulated_plans, tmp_path, owner):
    """With views prepared on the host, and with whole frames on the device through torch and through kernels."""
    trt = SimulatedTensorRt(owner())
    engine = TensorRtEngine(simulated_plans["stream"], trust=True, host=simulated_host(trt))
    info = stream((1, 24, 32), "<u2")
    error, status, made = record(engine, info, tmp_path / "session", lambda: setattr(trt, "fail_after", 0))
    assert "CUDA error: an illegal memory access was encountered" in str(error)
    assert "the recording up to here is complete" in str(error)
    assert (status.state, status.frames_out, status.unexplained) == (SessionState.FAILED, FRAMES, 0)
    check_recording(tmp_path / "session", info, made, 24)
    engine.close()


def test_a_failing_kernel_is_reported_and_the_session_goes_on(simulated_plans, tmp_path):
    memory = StandInMemory()
    engine = TensorRtEngine(simulated_plans["stream"], trust=True, host=simulated_host(SimulatedTensorRt(memory)))
    info = stream((1, 24, 32), "<u2")
    try:
        error, status, made = record(engine, info, tmp_path / "session", lambda: memory.cuda.stand_in_fail_after(3))
    finally:
        memory.cuda.stand_in_fail_after(-1)
    assert re.search(r"the GPU failed in the middle of the session \(kernel \w+: CUDA error 719", str(error))
    assert (status.state, status.frames_out, status.unexplained) == (SessionState.FAILED, FRAMES, 0)
    check_recording(tmp_path / "session", info, made, 24)
    engine.close()
    assert memory.closed == 1


def test_a_torch_session_goes_on_undenoised_and_reports_the_gpu_error(tiny_stream_onnx, tmp_path):
    device = FailingDevice()
    engine = TorchEngine(tiny_stream_onnx, precision="f32", device="cpu", tensors=device)
    info = stream((1, 24, 32), "<u2")
    error, status, made = record(engine, info, tmp_path / "session", lambda: setattr(device, "left", 0))
    assert str(error).startswith("the GPU failed in the middle of the session (CUDA error: an illegal memory access")
    assert (status.state, status.frames_out, status.unexplained) == (SessionState.FAILED, FRAMES, 0)
    check_recording(tmp_path / "session", info, made, 24)
    engine.close()
