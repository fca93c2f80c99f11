"""Every name and argument of TensorRT that is used, compared with NVIDIA's bindings of both major versions (tier B).

The simulated TensorRT is compared too, so that it has nothing that the real one lacks.
"""

import inspect
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepbid_rt.runtimes.tensorrt import api
from tests import tensorrt_bindings
from tests.simulated_gpu import SimulatedContext, SimulatedEngine, SimulatedTensorRt, _Config

SKIPPED = tensorrt_bindings.why_not()
WHEELS = tensorrt_bindings.wheels("tensorrt_cu*_bindings-*.whl")
SUBCLASSED = {
    "ILogger": {"log": ["severity", "msg"]},
    "IProgressMonitor": {
        "phase_start": ["phase_name", "parent_phase", "num_steps"],
        "step_complete": ["phase_name", "step"],
        "phase_finish": ["phase_name"],
    },
}
SEVERITIES = {"INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"}
CONSTRUCTED = {"Builder": ["logger"], "OnnxParser": ["network", "logger"], "Runtime": ["logger"]}


def methods_of(protocol):
    return {
        name: [n for n in inspect.signature(member).parameters if n != "self"]
        for name, member in vars(protocol).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def attributes_of(protocol):
    return {name for name in protocol.__annotations__ if not name.startswith("_")}


@pytest.fixture(scope="module", params=WHEELS or [None], ids=lambda w: w.name.split("-")[1] if w else "none")
def description(request, tmp_path_factory):
    if SKIPPED:
        pytest.skip(SKIPPED)
    folder = tmp_path_factory.mktemp("bindings")
    with zipfile.ZipFile(request.param) as wheel:
        wheel.extractall(folder)
    major = request.param.name.split("-")[1].split(".")[0]
    program = Path(tensorrt_bindings.__file__)
    done = subprocess.run([sys.executable, program, folder, major], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def bindings(description):
    return description["classes"]


@pytest.mark.parametrize("name", api.PROTOCOLS)
def test_each_class_has_the_names_and_arguments_we_use(bindings, name):
    found = bindings[name]
    protocol = api.PROTOCOLS[name]
    assert attributes_of(protocol) <= set(found)
    for method, arguments in methods_of(protocol).items():
        assert method in found
        overloads = found[method]
        assert overloads, f"no signature of {name}.{method} to be read"
        assert any(given[: len(arguments)] == arguments for given in overloads), (method, arguments, overloads)


@pytest.mark.parametrize("name", SUBCLASSED)
def test_each_base_class_calls_the_methods_we_define(bindings, name):
    for method, arguments in SUBCLASSED[name].items():
        assert bindings[name][method] == [arguments]


def test_severities_have_the_names_we_use(bindings):
    assert set(bindings["ILogger"]) >= {"Severity", "__init__"}
    assert set(bindings["Logger"]) >= SEVERITIES


@pytest.mark.parametrize("name", CONSTRUCTED)
def test_each_class_is_created_with_our_arguments(bindings, name):
    assert any(given[: len(CONSTRUCTED[name])] == CONSTRUCTED[name] for given in bindings[name]["__init__"])
    assert [n for n in inspect.signature(getattr(api.TensorRt, name)).parameters if n != "self"] == CONSTRUCTED[name]


def test_creation_without_a_gpu_raises_type_error(description):
    """The stubs return no object, as TensorRT does where it cannot use the GPU."""
    assert description["without a GPU"] == {"Runtime": "TypeError", "Builder": "TypeError"}


def test_every_type_we_use_is_compared():
    module = set(api.TensorRt.__annotations__) - {"__version__"} | set(methods_of(api.TensorRt))
    assert module <= set(api.PROTOCOLS) | set(SUBCLASSED)


def simulated():
    trt = SimulatedTensorRt()
    builder = trt.Builder(None)
    parser = trt.OnnxParser(SimpleNamespace(onnx=b""), None)
    return {
        "Builder": builder,
        "OnnxParser": parser,
        "Runtime": trt.Runtime(None),
        "ICudaEngine": SimulatedEngine,
        "IExecutionContext": SimulatedContext,
        "IBuilderConfig": _Config,
        "EngineInspector": SimulatedEngine.create_engine_inspector(SimpleNamespace()),
    }


@pytest.mark.parametrize("name", simulated())
def test_the_simulated_tensorrt_has_the_same_signatures(name):
    thing = simulated()[name]
    for method, arguments in methods_of(api.PROTOCOLS[name]).items():
        given = [n for n in inspect.signature(getattr(thing, method)).parameters if n != "self"]
        assert given == arguments, (name, method)
