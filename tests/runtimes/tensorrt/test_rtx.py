"""NVIDIA's real parser and builder over what we build (tier C): TensorRT-RTX, a sibling of TensorRT 11, on the CPU.

It builds without GPU or driver and cannot run here, so this proves that the networks are accepted, nothing more.
Wanted: ``pip download --no-deps -d DIR tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings`` and DIR in
``DEEPBID_RT_TENSORRT_WHEELS``. One process builds everything, as the libraries stay loaded.
"""

import json
import os
import subprocess
import sys
import zipfile

import pytest

from deepbid_rt.runtimes import _SHIPPED, find_engine
from deepbid_rt.runtimes.tensorrt.header import read_header
from tests import tensorrt_bindings

pytest.importorskip("onnx", reason="the train extra is not installed")
WHEELS = tensorrt_bindings.wheels("tensorrt_rtx_*.whl")
ENGINES = sorted({path.parent.name for folder in _SHIPPED for path in folder.glob("*/model.onnx")})
SIZES = {"stream": (64, 96), "window": (32, 48)}

PROGRAM = """
import ctypes, json, sys
folder, jobs = sys.argv[1], json.loads(sys.argv[2])
for name in ("libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1"):
    ctypes.CDLL(f"{folder}/tensorrt_rtx_libs/{name}", ctypes.RTLD_GLOBAL)
sys.path.insert(0, folder)
import tensorrt_rtx_bindings as trt
from pathlib import Path
from deepbid_rt.denoising.network_inputs import padded_size
from deepbid_rt.runtimes.tensorrt.builder import BuildEffort, build_plan
from deepbid_rt.runtimes.tensorrt.onnx_specialize import read_onnx, specialize
from deepbid_rt.runtimes.tensorrt.progress import BuildProgress
results = {}
for path, precision, size in jobs:
    model, card = read_onnx(Path(path))
    shape = (card.depth, *padded_size(tuple(size), card.grid))
    shape = (1, *shape) if card.kind == "stream" else (1, 1, *shape)
    steps = []
    progress = BuildProgress(lambda name, fraction: steps.append(fraction))
    network = specialize(model, shape, precision).SerializeToString()
    try:
        built = build_plan(trt, network, BuildEffort(level=3), b"", progress, tf32=precision != "fp32")
        results[f"{path} {precision}"] = {"bytes": len(built.plan), "head": built.plan[:28].hex(), "steps": steps}
    except Exception as error:
        results[f"{path} {precision}"] = {"error": str(error)}
print(json.dumps({"version": trt.__version__, "results": results}))
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory, request):
    if len(WHEELS) < 2:
        pytest.skip(f"TensorRT-RTX is not in the folder that {tensorrt_bindings.VARIABLE} names")
    folder = tmp_path_factory.mktemp("rtx")
    for path in WHEELS:
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(folder)
    engines = {name: find_engine(name) for name in ENGINES} | {
        "window": request.getfixturevalue("tiny_onnx"),
        "stream": request.getfixturevalue("tiny_stream_onnx"),
    }
    jobs = []
    for name, path in engines.items():
        size = SIZES["window" if "window" in name else "stream"]
        jobs += [(str(path), precision, size) for precision in ("fp32", "fp16", "bf16")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder, json.dumps(jobs)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    return engines, answer


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", [*ENGINES, "window", "stream"])
def test_the_network_parses_and_builds(outcome, name, precision):
    engines, answer = outcome
    result = answer["results"][f"{engines[name]} {precision}"]
    assert "error" not in result, result
    assert result["bytes"] > 10_000


def test_the_header_is_read_at_the_right_place_and_names_the_product(outcome):
    _, answer = outcome
    for result in answer["results"].values():
        head = bytes.fromhex(result["head"])
        assert head[:4] == b"vtrt"
        header = read_header(b"ftrt" + head[4:], "m.plan", "rebuild")
        assert header.matches(answer["version"])
