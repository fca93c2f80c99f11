import threading

import numpy as np
import pytest

from deepbid_rt.errors import EngineError, StageError
from deepbid_rt.runtimes.tensorrt.builder import BuildEffort, build_plan, count_layers
from deepbid_rt.runtimes.tensorrt.log import KEPT, Messages, make_logger
from deepbid_rt.runtimes.tensorrt.progress import BuildProgress
from deepbid_rt.runtimes.tensorrt.trtexec import trtexec_commands
from tests.simulated_gpu import SimulatedTensorRt

NETWORK = b"\x08network"


def silent():
    return BuildProgress(lambda *_: None)


def built(trt, cache=b"", tf32=True, progress=None):
    return build_plan(trt, NETWORK, BuildEffort(3, 64 << 20), cache, progress or silent(), tf32=tf32)


def test_the_network_is_strongly_typed_on_one_stream_with_the_given_effort():
    trt = SimulatedTensorRt()
    assert built(trt).plan[28:] == NETWORK
    config = trt.configs[0]
    assert trt.flags == [1 << 1]
    assert (config.max_aux_streams, config.builder_optimization_level) == (0, 3)
    assert config.pools == {"workspace": 64 << 20}
    assert config.profiling_verbosity == "detailed"
    assert config.cleared == []


def test_float32_turns_tf32_off():
    trt = SimulatedTensorRt()
    built(trt, tf32=False)
    assert trt.configs[0].cleared == ["tf32"]


def test_a_timing_cache_is_used_and_returned():
    trt = SimulatedTensorRt()
    assert built(trt, b"simulated cache").timing_cache == b"simulated cache"
    assert trt.configs[0].caches == [b"simulated cache"]


def test_a_timing_cache_of_another_gpu_is_ignored(caplog):
    trt = SimulatedTensorRt()
    built(trt, b"of another GPU")
    assert trt.configs[0].caches == [b"of another GPU", b""]
    assert "the timing cache does not fit this GPU and TensorRT" in caplog.text


def test_a_network_that_cannot_be_parsed_is_refused():
    with pytest.raises(EngineError) as refused:
        build_plan(SimulatedTensorRt(), b"no network", BuildEffort(), b"", silent(), tf32=True)
    assert str(refused.value) == (
        "TensorRT 10.13.3.9 cannot read the network (simulated parser error 0); expected a network of layers that it "
        "knows; export the engine again, or report this with the TensorRT version."
    )


def test_a_network_that_cannot_be_built_is_refused_with_the_reason():
    trt = SimulatedTensorRt()
    trt.refuse_build = "Error Code 10: Could not find any implementation for node conv: out of memory"
    with pytest.raises(EngineError) as refused:
        built(trt)
    assert str(refused.value) == (
        "TensorRT 10.13.3.9 cannot build the network (the GPU has too little free memory: Error Code 10: Could not "
        "find any implementation for node conv: out of memory); expected a plan; "
        "give it more memory with --workspace, or another --precision."
    )


def test_a_build_that_is_stopped_ends_at_its_next_step():
    trt = SimulatedTensorRt()
    progress = silent()
    seen = []
    trt.on_step = lambda step: (seen.append(step), progress.stop() if step == 1 else None)
    with pytest.raises(StageError, match=r"^the build was stopped; expected a plan; run the command again; nothing"):
        built(trt, progress=progress)
    assert seen == [0, 1]


# Progress.


def test_nested_phases_become_one_fraction_that_never_falls():
    reports = []
    built(SimulatedTensorRt(), progress=BuildProgress(lambda name, fraction: reports.append((name, fraction))))
    fractions = [fraction for _, fraction in reports]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert ("Tactics", 0.375) in reports


def test_steps_of_finished_or_unknown_phases_are_accepted():
    progress = silent()
    assert progress.step("never begun", 3)
    progress.finish("never begun")
    progress.start("empty", None, 0)
    assert progress.step("empty", 0)


def test_phases_may_come_from_several_threads():
    reports = []
    progress = BuildProgress(lambda _name, fraction: reports.append(fraction))
    progress.start("all", None, 8)

    def work(number):
        progress.start(f"part {number}", "all", 50)
        for step in range(50):
            progress.step(f"part {number}", step)
        progress.finish(f"part {number}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(reports) <= 1.0


# Messages.


def test_only_the_last_warnings_and_errors_are_kept():
    messages = Messages()
    assert messages.explain() == "TensorRT gave no reason"
    logger = make_logger(SimulatedTensorRt(), messages)
    severity = logger.Severity
    logger.log(severity.VERBOSE, "chatter")
    logger.log(severity.INFO, "more chatter")
    assert messages.explain() == "TensorRT gave no reason"
    for number in range(KEPT + 5):
        text = f"warning {number}"
        logger.log(severity.WARNING, text)
    assert messages.explain() == f"warning {KEPT + 4}"
    assert len(messages._lines) == KEPT
    messages.reset()
    assert messages.explain() == "TensorRT gave no reason"


# Layer descriptions of TensorRT 10 and 11.


def test_layers_are_counted_by_type():
    ten = '{"Layers": [{"Outputs": [{"Format/Datatype": "Half"}]}, {"Outputs": [{"Format/Datatype": "Half"}]}]}'
    eleven = '{"Layers": [{"Outputs": [{"Format": "Row major", "DataType": "FP32"}]}, "a name"], "I/O Tensors": []}'
    assert count_layers(ten) == {"Half": 2}
    assert count_layers(eleven) == {"FP32": 1, "not told": 1}
    assert count_layers("no JSON") == count_layers("[]") == {}


def test_trtexec_commands_describe_the_same_build(tmp_path):
    build, time = trtexec_commands(tmp_path / "m.onnx", tmp_path / "m.plan", BuildEffort(4, 512 << 20), 11)
    assert build.split() == [
        "trtexec",
        f"--onnx={tmp_path}/m.onnx",
        f"--saveEngine={tmp_path}/m.plan",
        "--builderOptimizationLevel=4",
        "--memPoolSize=workspace:512",
        "--maxAuxStreams=0",
        f"--timingCacheFile={tmp_path}/m.cache",
        "--profilingVerbosity=detailed",
        f"--exportLayerInfo={tmp_path}/m.layers.json",
        "--skipInference",
    ]
    assert "--useCudaGraph" in time
    assert "--stronglyTyped" in trtexec_commands(tmp_path / "m.onnx", tmp_path / "m.plan", BuildEffort(), 10)[0]
    assert np.all([not part.startswith("--fp16") for part in build.split()])
