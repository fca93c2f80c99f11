"""`TensorRtEngine` on a simulated GPU: answers, every refusal, the order of calls, and errors during a session."""

import dataclasses
import gc
import json
import logging
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import EngineError, StageError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.runtimes import load_engine
from deepbid_rt.runtimes.gpu.cuda_errors import check_alignment
from deepbid_rt.runtimes.gpu.open_memory import open_memory
from deepbid_rt.runtimes.openvino import OpenVinoEngine
from deepbid_rt.runtimes.tensorrt.api import import_tensorrt
from deepbid_rt.runtimes.tensorrt.engine import TensorRtEngine
from deepbid_rt.runtimes.tensorrt.load import GpuHost
from deepbid_rt.runtimes.tensorrt.sidecar import read_facts, sidecar_path, write_plan
from tests.fakes import stamped_frames, stream
from tests.simulated_gpu import GPU, SimulatedMemory, SimulatedTensorRt, SimulatedTorchMemory, plan_of, simulated_host

pytest.importorskip("onnx", reason="the train extra is not installed")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPBID_RT_ENGINES", str(tmp_path))
    return tmp_path


@pytest.fixture
def plan(simulated_plans, tmp_path):
    path = tmp_path / "m.plan"
    source = simulated_plans["stream"]
    write_plan(path, source.read_bytes(), read_facts(source))
    return path


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def refusal(plan, host=None, **rest):
    with pytest.raises(EngineError) as refused:
        TensorRtEngine(plan, host=host or simulated_host(), **rest)
    message = str(refused.value)
    assert "\n" not in message
    return message


def rebuild(plan):
    facts = read_facts(plan)
    return f"build it again: deepbid-rt build {facts.onnx} -o {plan} --size 24x32 --precision fp32."


def test_a_stream_plan_equals_the_onnx_file(plan, tiny_stream_onnx):
    engine = TensorRtEngine(plan, host=simulated_host())
    reference = OpenVinoEngine(tiny_stream_onnx, precision="f32")
    engine.warm_up((5, 24, 32))
    reference.warm_up((5, 24, 32))
    for seed in range(4):
        given = noise((5, 24, 32), seed)
        assert np.abs(engine.infer(given) - reference.infer(given)).max() < 1e-5
    engine.close()
    reference.close()


def test_a_window_plan_equals_the_onnx_file(simulated_plans, tiny_onnx):
    engine = TensorRtEngine(simulated_plans["window"], trust=True, host=simulated_host())
    reference = OpenVinoEngine(tiny_onnx, precision="f32")
    reference.warm_up((40, 16, 24))
    given = noise((40, 16, 24))
    assert np.abs(engine.infer(given) - reference.infer(given)).max() < 1e-5
    engine.close()
    reference.close()


def test_the_description_names_runtime_gpu_and_memory(plan, caplog):
    caplog.set_level(logging.INFO)
    engine = TensorRtEngine(plan, host=simulated_host())
    assert engine.description == "TensorRT 10.13.3.9 fp32 on simulated GPU, simulated memory, one CUDA graph"
    assert f"engine stream: {engine.description}" in caplog.messages
    engine.close()


def test_without_graphs_each_run_is_queued(plan):
    trt = SimulatedTensorRt(SimulatedMemory(graphs=False))
    engine = TensorRtEngine(plan, host=simulated_host(trt))
    assert engine.description.endswith("no CUDA graph")
    first = engine.infer(noise((5, 24, 32))).copy()
    assert not np.array_equal(first, engine.infer(noise((5, 24, 32), 1)))
    assert trt.memory.captured == trt.memory.replayed == 0
    engine.close()


def test_a_graph_is_captured_after_one_run_and_then_replayed(plan):
    trt = SimulatedTensorRt()
    engine = TensorRtEngine(plan, host=simulated_host(trt))
    for seed in range(5):
        engine.infer(noise((5, 24, 32), seed))
    assert (trt.memory.captured, trt.memory.replayed) == (1, 6)  # the golden answer is the first
    assert [context.runs for context in trt.contexts] == [2]
    engine.close()


def test_a_movie_goes_through_a_plan(plan):
    engine = TensorRtEngine(plan, host=simulated_host())
    info = stream((1, 24, 32), np.uint16)
    denoiser = Denoiser(engine, info)
    outs = [out for frame in stamped_frames(info, 12) for out in denoiser.push(frame)] + denoiser.flush()
    assert [out.index for out in outs] == list(range(12))
    engine.close()


def test_runtime_and_logger_exist_as_long_as_the_plan(plan):
    trt = SimulatedTensorRt()
    engine = TensorRtEngine(plan, host=simulated_host(trt))
    gc.collect()
    assert trt.runtime() is not None
    assert trt.logger() is not None
    engine.close()


def test_close_frees_the_memory_once(plan):
    trt = SimulatedTensorRt()
    engine = TensorRtEngine(plan, host=simulated_host(trt))
    engine.close()
    engine.close()
    assert trt.memory.closed == 1
    for use in (lambda: engine.infer(noise((5, 24, 32))), lambda: engine.warm_up((5, 24, 32)), engine.inspect):
        with pytest.raises(EngineError, match=r"^a closed engine"):
            use()


@pytest.mark.parametrize(
    ("owner", "frames", "says"),
    [
        ("torch", "auto", "whole frames on CPU, no CUDA graph"),
        ("torch", "kernels", "whole frames on the GPU in 6 kernels, no CUDA graph"),
        ("pycuda", "auto", "whole frames on the GPU in 6 kernels, no CUDA graph"),
    ],
)
def test_whole_frames_go_through_a_plan_on_the_device(plan, owner, frames, says):
    """Each inference of each slot has its own context; answers equal those for views prepared on the host."""
    pytest.importorskip("torch", reason="the train extra is not installed")
    from tests.stand_in_cuda import StandInMemory
    from tests.stand_in_cuda.engine import StandInTorchMemory

    trt = SimulatedTensorRt({"torch": StandInTorchMemory, "pycuda": StandInMemory}[owner]())
    info = stream((1, 48, 32), np.uint16, ScanGeometry("collinear"))
    outs = []
    for host in (simulated_host(trt), simulated_host()):
        engine = TensorRtEngine(plan, host=host, frames=frames)
        denoiser = Denoiser(engine, info)
        outs.append([out for frame in stamped_frames(info, 14) for out in denoiser.push(frame)])
        where = says if len(outs) == 1 else "frames prepared on the host: the simulated GPU takes no kernels"
        assert where in denoiser.runtime
        pipelines = list(engine.open_planes(info, "mean")) if len(outs) == 1 else []
        engine.close()
        assert not any(vars(pipeline) for pipeline in pipelines)
    assert len(trt.contexts) == 1 + 2 * 2
    for got, expected in zip(*outs, strict=True):
        assert np.mean(np.abs(got.pixels.astype(float) - expected.pixels) > 1) < 0.01
        assert got.motion.status == expected.motion.status


def test_whole_frames_of_another_size_are_refused_with_the_build_command(plan):
    engine = TensorRtEngine(plan, host=simulated_host(SimulatedTensorRt(SimulatedTorchMemory())))
    with pytest.raises(EngineError, match="--size 56x48 --precision fp32"):
        Denoiser(engine, stream((1, 50, 41)))
    engine.close()


# Refusals, in the order of the checks.


def test_a_plan_outside_the_engines_folder_is_refused(plan, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPBID_RT_ENGINES", str(tmp_path / "engines"))
    assert refusal(plan) == (
        f"the plan {plan} lies outside the engines folder, and a plan is a program; "
        f"expected a plan in {tmp_path / 'engines'}; "
        "move it there if you built it (or set DEEPBID_RT_ENGINES), or say trust (--trust, trust=True)."
    )
    TensorRtEngine(plan, trust=True, host=simulated_host()).close()


def test_a_link_out_of_the_engines_folder_is_refused(plan, monkeypatch, tmp_path):
    engines = tmp_path / "engines"
    engines.mkdir()
    monkeypatch.setenv("DEEPBID_RT_ENGINES", str(engines))
    (engines / "m.plan").symlink_to(plan)
    sidecar_path(engines / "m.plan").symlink_to(sidecar_path(plan))
    assert "lies outside the engines folder" in refusal(engines / "m.plan")


def write_with_digest(plan, data):
    """Write other bytes with a sidecar that has their digest: a right digest proves nothing else."""
    import hashlib

    facts = dataclasses.replace(read_facts(plan), plan_sha256=hashlib.sha256(data).hexdigest())
    write_plan(plan, data, facts)


@pytest.mark.parametrize(
    ("data", "begins"),
    [(b"ftrt", " holds 4 bytes; "), (b"vtrt" + bytes(60), " is a plan of TensorRT-RTX "), (bytes(60), " is no Tensor")],
)
def test_other_files_never_reach_tensorrt(plan, data, begins):
    write_with_digest(plan, data)
    message = refusal(plan, GpuHost(lambda: pytest.fail("reached"), lambda: pytest.fail("reached")))
    assert message.startswith(f"{plan}{begins}")
    assert message.endswith(rebuild(plan))


def test_a_changed_plan_never_reaches_tensorrt(plan):
    plan.write_bytes(plan.read_bytes()[:-1])
    message = refusal(plan, GpuHost(lambda: pytest.fail("reached"), lambda: pytest.fail("reached")))
    assert "plan or sidecar was changed, cut or exchanged" in message


def test_a_missing_tensorrt_is_refused(plan, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    message = refusal(plan, GpuHost(import_tensorrt))
    assert message == (
        "a plan, but the Python package tensorrt is not installed; expected TensorRT 10.3 or newer; "
        'run pip install "deepbid-rt[tensorrt]", or serve the .onnx file of the engine, which needs no GPU.'
    )


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("8.6.1", "TensorRT 8.6.1; expected 10.3 or newer; install a newer TensorRT, or serve the .onnx file"),
        ("10.2.0", "TensorRT 10.2.0; expected 10.3"),
    ],
)
def test_an_old_tensorrt_is_refused(monkeypatch, version, message):
    module = types.ModuleType("tensorrt")
    module.__version__ = version
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    with pytest.raises(EngineError) as refused:
        import_tensorrt()
    assert str(refused.value).startswith(message)


def test_a_tensorrt_whose_libraries_are_missing_is_refused(monkeypatch, tmp_path):
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(EngineError) as refused:
        import_tensorrt()
    assert str(refused.value).startswith(
        "TensorRT cannot be loaded (libnvinfer.so.10: cannot open shared object file); expected its libraries"
    )


@pytest.mark.parametrize("installed", ["11.4.0.106", "10.13.3.8", "10.16.1.11"])
def test_another_tensorrt_is_refused(plan, installed):
    assert refusal(plan, simulated_host(SimulatedTensorRt(version=installed))) == (
        f"{plan} was built by TensorRT 10.13.3.9 (its header says 10.13.3.9); "
        f"expected TensorRT {installed}, which is installed here; {rebuild(plan)}"
    )


def test_a_header_with_another_tensorrt_is_refused(plan):
    write_with_digest(plan, plan_of(plan.read_bytes()[28:], "10.16.1.11"))
    assert "its header says 10.16.1.11" in refusal(plan)


def test_a_sidecar_with_another_tensorrt_is_refused(plan):
    write_plan(plan, plan.read_bytes(), dataclasses.replace(read_facts(plan), tensorrt="10.16.1.11"))
    assert "was built by TensorRT 10.16.1.11 (its header says 10.13.3.9)" in refusal(plan)


def test_another_gpu_is_refused(plan):
    gpu = dataclasses.replace(GPU, name="small GPU", capability="8.6")
    assert refusal(plan, simulated_host(gpu=gpu)) == (
        f"{plan} was built for simulated GPU (compute capability 9.0); "
        "expected a plan for small GPU (compute capability 8.6); "
        + rebuild(plan).replace("build it again", "build it again on this computer")
    )


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (
            "[E] 1: [runtime.cpp::parsePlan::314] Serialization assertion header.magicTag == kPLAN_MAGIC_TAG failed.",
            "it is not a plan of TensorRT, or it has a prefix",
        ),
        (
            "stdVersionRead == kSERIALIZATION_VERSION failed. Current Version: 239, Serialized Engine Version: 243",
            "another version of TensorRT wrote it",
        ),
        (
            "The engine plan file is generated on an incompatible device, expecting compute 9.0 got compute 8.6",
            "it was built for another GPU",
        ),
        ("Requested amount of GPU memory could not be allocated: out of memory", "the GPU has too little free memory"),
        ("something new\nin two lines", "something new in two lines"),
    ],
)
def test_messages_of_tensorrt_are_explained(plan, said, means):
    trt = SimulatedTensorRt()
    trt.refuse_load = said
    message = refusal(plan, simulated_host(trt))
    assert message.startswith(f"TensorRT 10.13.3.9 does not take {plan} ({means}")
    assert message.endswith(rebuild(plan))
    assert trt.memory.closed == 1


def test_a_sidecar_with_another_shape_is_refused(plan):
    data = json.loads(sidecar_path(plan).read_text())
    data["tensors"][0]["shape"] = [1, 5, 24, 40]
    sidecar_path(plan).write_text(json.dumps(data))
    assert refusal(plan).startswith(
        f"{plan} has input 'inputs' float32 (1, 5, 24, 32) and output 'denoised' float32 (1, 1, 24, 32); "
        "expected input 'inputs' float32 (1, 5, 24, 40) and "
    )


def test_tensors_are_compared_by_name_in_any_order(plan):
    data = json.loads(sidecar_path(plan).read_text())
    data["tensors"].reverse()
    sidecar_path(plan).write_text(json.dumps(data))
    TensorRtEngine(plan, host=simulated_host()).close()


@pytest.mark.parametrize(
    ("wrong", "value", "says"),
    [
        ("io_type", 1, "has input 'inputs' other (1, 5, 24, 32)"),
        ("io_format", "DHWC8", "needs its tensor 'inputs' in another layout or place"),
        ("io_swapped", True, "has output 'inputs' float32 (1, 5, 24, 32) and input 'denoised'"),
        ("io_place", "host", "needs its tensor 'inputs' in another layout or place"),
    ],
)
def test_another_type_order_or_place_of_tensors_is_refused(plan, wrong, value, says):
    trt = SimulatedTensorRt()
    setattr(trt, wrong, value)
    message = refusal(plan, simulated_host(trt))
    assert says in message
    assert message.endswith(rebuild(plan))
    assert trt.memory.closed == 1


def test_swapped_inputs_and_outputs_are_refused(plan):
    data = json.loads(sidecar_path(plan).read_text())
    for tensor in data["tensors"]:
        tensor["mode"] = "output" if tensor["mode"] == "input" else "input"
    sidecar_path(plan).write_text(json.dumps(data))
    assert f"{plan} has input 'inputs' float32 (1, 5, 24, 32) and output 'denoised'" in refusal(plan)


def test_addresses_that_tensorrt_refuses_are_refused(plan):
    trt = SimulatedTensorRt()
    trt.memory.refuses = True
    assert refusal(plan, simulated_host(trt)).startswith("TensorRT refuses the memory of 'inputs' (TensorRT gave no re")
    assert trt.memory.closed == 1


def test_a_driver_too_old_for_tensorrt_is_refused(plan):
    trt = SimulatedTensorRt()
    trt.no_gpu = "[checkMacros.cpp::catchCudaError::212] CUDA initialization failure with error: 35"
    message = refusal(plan, simulated_host(trt))
    assert message.startswith(
        "TensorRT cannot use this GPU with this driver (the GPU or its driver cannot be used: [ch"
    )
    assert message.endswith("check nvidia-smi, and update the driver or install an older TensorRT.")
    assert trt.memory.closed == 1


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("golden", [True, False])
def test_a_gpu_that_fails_at_once_is_refused(plan, graphs, golden):
    trt = SimulatedTensorRt(SimulatedMemory(graphs=graphs))
    trt.fail_after = int(golden)  # in the first run, or in that of the golden answer
    message = refusal(plan, simulated_host(trt))
    assert message == (
        f"the GPU failed when {plan} was run for the first time (CUDA error: an illegal memory access was "
        "encountered); expected a first run without errors; "
        "check nvidia-smi and the system log, then start again."
    )
    assert trt.memory.closed == 1


def test_a_failed_first_run_is_refused(plan):
    trt = SimulatedTensorRt()
    trt.refuse_run = "Error Code 1: Cuda Runtime (an illegal memory access was encountered)"
    assert refusal(plan, simulated_host(trt)).startswith(
        f"the GPU failed when {plan} was run for the first time (Error Code 1: Cuda Runtime (an illegal memory acc"
    )


def test_json_of_another_tool_before_the_plan_is_accepted(plan):
    text = b'{"task": "denoise"}'
    write_with_digest(plan, len(text).to_bytes(4, "little") + text + plan.read_bytes())
    TensorRtEngine(plan, host=simulated_host()).close()


def test_plans_in_the_home_folder_are_trusted_by_default(plan, tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPBID_RT_ENGINES")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert f"expected a plan in {tmp_path / 'home' / '.deepbid-rt' / 'engines'}; " in refusal(plan)


def test_a_golden_answer_of_another_length_is_refused(plan):
    data = json.loads(sidecar_path(plan).read_text())
    for values in ([], data["golden"]["values"][:1]):
        sidecar_path(plan).write_text(json.dumps(data | {"golden": data["golden"] | {"values": values}}))
        assert "answers values that are not finite, or another number of values" in refusal(plan)


def test_too_little_memory_is_refused(plan):
    trt = SimulatedTensorRt()
    trt.no_context = True
    assert refusal(plan, simulated_host(trt)).startswith(
        "no room to run engine 'stream' (the GPU has too little free memory: Requested amount of GPU memory"
    )
    assert trt.memory.closed == 1
    small = SimulatedTensorRt(SimulatedMemory(room=1000))
    assert refusal(plan, simulated_host(small)).startswith("the simulated GPU has no room")
    assert small.memory.closed == 1


@pytest.mark.parametrize("gain", [1.5, np.nan, 0.0])
def test_a_plan_with_another_golden_answer_is_refused(plan, gain):
    trt = SimulatedTensorRt()
    trt.gain = np.float32(gain)
    message = refusal(plan, simulated_host(trt))
    expected = "values that are not finite" if np.isnan(gain) else "from its answer to the same input when it was built"
    assert expected in message
    assert trt.memory.closed == 1


def test_another_frame_size_is_refused_with_the_build_command(plan):
    engine = TensorRtEngine(plan, host=simulated_host())
    with pytest.raises(EngineError) as refused:
        Denoiser(engine, stream((1, 50, 41)))
    assert str(refused.value) == (
        "views of (K, Y, X) = (5, 56, 48), and a plan for (5, 24, 32); expected a plan for this size, as each plan "
        f"takes one; build one: deepbid-rt build {read_facts(plan).onnx} -o {plan} --size 56x48 --precision fp32."
    )
    with pytest.raises(EngineError, match=r"^an input of shape \(5, 8, 8\)"):
        engine.infer(noise((5, 8, 8)))
    engine.close()


def test_a_plan_is_opened_with_tensorrt_by_its_suffix(plan, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="the Python package tensorrt is not installed"):
        load_engine(str(plan))


# Errors in mid-session.


def test_a_cuda_error_during_a_session_is_a_stage_error(plan):
    trt = SimulatedTensorRt()
    engine = TensorRtEngine(plan, host=simulated_host(trt))
    engine.infer(noise((5, 24, 32)))
    trt.fail_after = 0
    with pytest.raises(StageError) as failed:
        engine.infer(noise((5, 24, 32)))
    assert str(failed.value) == (
        "the GPU failed in the middle of the session (CUDA error: an illegal memory access was encountered); "
        "expected a GPU that keeps working; "
        "check nvidia-smi and the system log, then start again; the recording up to here is complete."
    )
    engine.close()


def test_a_failed_run_is_a_stage_error(plan):
    trt = SimulatedTensorRt(SimulatedMemory(graphs=False))
    engine = TensorRtEngine(plan, host=simulated_host(trt))
    trt.refuse_run = "Error Code 1: Cuda Runtime (an illegal memory access was encountered)"
    with pytest.raises(StageError, match="an illegal memory access"):
        engine.infer(noise((5, 24, 32)))
    engine.close()


# Memory.


@pytest.mark.parametrize("address", [0, 255, 4096 + 128])
def test_addresses_that_tensorrt_cannot_use_are_refused(address):
    assert check_alignment(4096) == 4096
    with pytest.raises(EngineError, match="expected an address that is a multiple of 256"):
        check_alignment(address)


def test_a_computer_without_cuda_has_no_memory_to_open(monkeypatch):
    torch = pytest.importorskip("torch", reason="the train extra is not installed")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"^torch .* cannot use a GPU here"):
        open_memory("torch")
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(EngineError, match=r"^pycuda cannot be used here|^no library that can own"):
        open_memory("pycuda")
