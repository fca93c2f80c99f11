"""Real TensorRT on a real GPU (tier E): ``pytest -m trt``. Elsewhere the tests are skipped and name what is missing."""

import numpy as np
import pytest

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.open_memory import open_memory
from deepbid_rt.runtimes.gpu.probe import find_gpu
from deepbid_rt.runtimes.tensorrt.api import import_tensorrt
from deepbid_rt.runtimes.tensorrt.engine import TensorRtEngine
from deepbid_rt.runtimes.tensorrt.load import GpuHost

pytestmark = pytest.mark.trt


@pytest.fixture(scope="module", params=["torch", "pycuda"])
def host(request):
    try:
        import_tensorrt()
        find_gpu()
        open_memory(request.param).close()
    except EngineError as error:
        pytest.skip(str(error))
    return GpuHost(memory=lambda: open_memory(request.param))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize(("kind", "shape"), [("stream", (5, 64, 96)), ("window", (40, 32, 48))])
def test_a_built_plan_is_loaded_and_equals_the_onnx_file(host, request, tmp_path, kind, shape, precision):
    from deepbid_rt.runtimes.tensorrt.build import BuildEffort, BuildProgress, BuildSpec, build, read_onnx

    onnx = request.getfixturevalue("tiny_stream_onnx" if kind == "stream" else "tiny_onnx")
    spec = BuildSpec(onnx, tmp_path / "m.plan", shape, precision, BuildEffort(level=1))
    movie = [np.random.default_rng(n).poisson(40, shape[1:]).astype(np.int16) for n in range(44)]
    fractions = []
    progress = BuildProgress(lambda _name, fraction: fractions.append(fraction))
    facts = build(spec, *read_onnx(onnx), movie, progress, host)
    assert facts.parity["correlation"] >= 0.9995
    assert facts.layers
    assert fractions == sorted(fractions)
    engine = TensorRtEngine(spec.plan, trust=True, host=host)
    assert engine.infer(np.zeros(shape, np.float32)).shape == ((1, *shape[1:]) if kind == "stream" else shape)
    engine.close()
