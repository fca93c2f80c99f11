"""`serve` with an engine that takes whole frames: it uses the simulated device, reports it, and equals the host."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.cli.serve import serve_command  # after the check for torch
from deepbid_rt.errors import EngineError, RefusedError
from deepbid_rt.recording.sidecar import read_sidecar
from deepbid_rt.runtimes.gpu.torch_device import HostDevice
from deepbid_rt.runtimes.tensorrt.load import GpuHost
from deepbid_rt.runtimes.tensorrt.sidecar import read_facts, sidecar_path, write_plan
from deepbid_rt.runtimes.torch import TorchEngine
from tests.e2e.commands import started
from tests.simulated_gpu import GPU, SimulatedMemory, SimulatedTensorRt


def session(onnx: Path, raw: Path, folder: Path, tensors: HostDevice | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Serve a recording; return the runtime in the session log."""
    engine = TorchEngine(onnx, precision="f32", device="cpu", tensors=tensors)
    monkeypatch.setattr(sys.modules["deepbid_rt.cli.serve"], "load_engine", lambda *_args, **_rest: engine)
    with started("replay", raw, "--scan", "collinear", "--bind", "tcp://127.0.0.1:*", "--wait", "--json") as sender:
        serve_command(sender.line(), str(onnx), record=folder, frames=20, idle_timeout_s=5.0, max_latency="none")
        sender.finish()
    (log,) = folder.glob("*.jsonl")
    (entry,) = [line for line in read_sidecar(log) if line["kind"] == "engine"]
    return str(entry["runtime"])


def test_whole_frames_on_the_device_equal_the_host(
    tiny_stream_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    raw = tmp_path / "raw.tif"
    tissue = np.repeat(rng.gamma(1.0, 40.0, (36, 72)), 2, axis=0)
    tifffile.imwrite(raw, rng.poisson(tissue, (20, 72, 72)).astype(np.int16), photometric="minisblack")
    movies, runtimes = [], []
    for number, tensors in enumerate((HostDevice(), None)):
        folder = tmp_path / f"session{number}"
        runtimes.append(session(tiny_stream_onnx, raw, folder, tensors, monkeypatch))
        (denoised,) = folder.glob("*_denoised.tif")
        movies.append(tifffile.imread(denoised).astype(float))
    assert runtimes[0].endswith(", whole frames on CPU, no CUDA graph")
    assert runtimes[1].endswith(", frames prepared on the host: the network runs on the CPU")
    assert movies[0].shape == (20, 36, 72)
    assert np.mean(np.abs(movies[0] - movies[1]) > 1) < 0.01
    assert not np.array_equal(movies[0], tifffile.imread(raw)[:, ::2])


def _no_gpu() -> None:
    raise EngineError("an NVIDIA driver but no GPU", expected="a GPU", todo="check nvidia-smi")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("no driver", "an NVIDIA driver but no GPU"),
        ("an old driver", "TensorRT cannot use this GPU with this driver"),
        ("a GPU that fails", "was run for the first time (CUDA error"),
        ("another GPU", "was built for simulated GPU"),
        ("another TensorRT", "which is installed here"),
        ("no memory", "the simulated GPU has no room"),
        ("no context", "no room to run engine"),
        ("foreign", "is no TensorRT plan"),
        ("cut", "was changed, cut or exchanged"),
        ("no sidecar", "the sidecar of the plan, cannot be read"),
        ("lying sidecar", "as its sidecar says"),
        ("other answers", "from its answer to the same input when it was built"),
    ],
)
def test_plans_that_cannot_run_are_refused_before_waiting_for_a_stream(
    simulated_plans: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, says: str
) -> None:
    """`main` turns each `RefusedError` into exit code 2."""
    trt = SimulatedTensorRt(SimulatedMemory(room=1000 if wrong == "no memory" else 1 << 30))
    gpu = replace(GPU, capability="8.6") if wrong == "another GPU" else GPU
    plan, facts = tmp_path / "m.plan", read_facts(simulated_plans["stream"])
    data = simulated_plans["stream"].read_bytes()
    if wrong == "foreign":
        data = bytes(60) + data[60:]
        facts = replace(facts, plan_sha256=hashlib.sha256(data).hexdigest())
    if wrong == "lying sidecar":
        tensors = tuple(replace(tensor, shape=(*tensor.shape[:3], 40)) for tensor in facts.tensors)
        facts = replace(facts, tensors=tensors)
    write_plan(plan, data, facts)
    if wrong == "cut":
        plan.write_bytes(data[:-1])
    if wrong == "no sidecar":
        sidecar_path(plan).unlink()
    trt.no_gpu = "CUDA initialization failure with error: 35" if wrong == "an old driver" else None
    trt.fail_after = 0 if wrong == "a GPU that fails" else None
    trt.no_context = wrong == "no context"
    trt.gain = np.float32(1.5 if wrong == "other answers" else 1)
    trt.__version__ = "11.4.0.106" if wrong == "another TensorRT" else trt.__version__
    probe = _no_gpu if wrong == "no driver" else lambda: gpu
    monkeypatch.setattr(GpuHost.__init__, "__defaults__", (lambda: trt, probe, lambda: trt.memory))
    monkeypatch.setattr(sys.modules["deepbid_rt.cli.serve"], "ZmqSource", lambda *_a, **_k: pytest.fail("waited"))
    with pytest.raises(RefusedError) as refused:
        serve_command("tcp://127.0.0.1:9", str(plan), trust=True)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
