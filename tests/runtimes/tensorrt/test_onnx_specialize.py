from pathlib import Path

import numpy as np
import pytest

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes import find_engine
from tests.fakes import STREAM_CARD

onnx = pytest.importorskip("onnx", reason="the train extra is not installed")
from deepbid_rt.runtimes.openvino_core import core  # noqa: E402
from deepbid_rt.runtimes.tensorrt import onnx_specialize as module  # noqa: E402  # needs onnx
from deepbid_rt.runtimes.tensorrt.onnx_specialize import LIMIT, read_onnx, specialize, weights_of  # noqa: E402

SHAPES = {"light": (1, 6, 64, 64), "default": (1, 6, 64, 64), "best": (1, 8, 64, 64), "window": (1, 1, 24, 32, 32)}
PRECISIONS = ("fp32", "fp16", "bf16")


def run(model, given):
    plugin = core()
    net = plugin.read_model(model.SerializeToString())
    return plugin.compile_model(net, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(given)


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(params=SHAPES)
def shipped(request):
    model, _ = read_onnx(find_engine(request.param))
    return model, SHAPES[request.param]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_precision_is_close_to_float32(shipped, precision):
    model, shape = shipped
    given = noise(shape)
    expected = run(model, given)[0]
    got = run(specialize(model, shape, precision), given)[0]
    assert got.dtype == np.float32
    most = {"fp32": 1e-6, "fp16": 2e-3, "bf16": 2e-2}[precision]
    assert np.std(expected - got) <= most * np.std(expected)
    assert (np.abs(expected - got).max() > 0) == (precision != "fp32")


def test_sizes_are_fixed_and_inputs_and_answers_stay_float32(shipped):
    model, shape = shipped
    for precision in PRECISIONS:
        graph = specialize(model, shape, precision).graph
        for value, sizes in ((graph.input[0], shape), (graph.output[0], (shape[0], 1, *shape[2:]))):
            assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
            assert tuple(d.dim_value for d in value.type.tensor_type.shape.dim) == sizes


def types_of(model):
    inferred = onnx.shape_inference.infer_shapes(model)
    return {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_every_convolution_except_the_bypass_has_low_precision(shipped, precision):
    model, shape = shipped
    low = specialize(model, shape, precision)
    weights = {tensor.name: tensor.data_type for tensor in low.graph.initializer}
    kinds = {n.name: weights[n.input[1]] for n in low.graph.node if n.op_type in ("Conv", "ConvTranspose")}
    exact = [name for name, kind in kinds.items() if kind == onnx.TensorProto.FLOAT]
    assert len(exact) == (shape[1] > 1)  # the stream engine's
    assert set(kinds.values()) <= {onnx.TensorProto.FLOAT, module._TYPES[precision]}


def test_the_bypass_keeps_brightness_in_float32():
    """A bright, even area keeps its last digits in the stream engine: fp16 cannot hold 1000.1."""
    model, _ = read_onnx(find_engine("default"))
    shape = SHAPES["default"]
    given = np.full(shape, 1000.1, np.float32)
    given[:, 1:3] = 1
    expected, got = (run(net, given)[0] for net in (model, specialize(model, shape, "fp16")))
    inner = np.s_[..., 24:40, 24:40]
    assert np.abs(expected[inner] - got[inner]).max() < 1.0


def test_no_layer_leaves_the_range_of_fp16_at_the_limit(shipped):
    model, shape = shipped
    fixed = specialize(model, shape, "fp32")
    everything = [name for node in fixed.graph.node for name in node.output]
    del fixed.graph.output[:]
    fixed.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in everything)
    rng = np.random.default_rng(1)
    signs = (np.ones(shape), -np.ones(shape), np.sign(rng.normal(size=shape)), rng.uniform(-1, 1, shape))
    worst = 0.0
    for sign in signs:
        given = (LIMIT * sign).astype(np.float32)
        if shape[1] > 1:
            given[:, 1:3] = 1  # mask and weight of a stream engine's inputs are never more
        worst = max(worst, *(float(np.abs(v).max()) for v in run(fixed, given).values()))
    assert LIMIT < worst < float(np.finfo(np.float16).max)


@pytest.mark.parametrize("value", [0.0, 65535.0, -65535.0, 1e30])
def test_saturated_and_dark_inputs_give_finite_answers(shipped, value):
    model, shape = shipped
    answer = run(specialize(model, shape, "fp16"), np.full(shape, value, np.float32))[0]
    assert np.isfinite(answer).all()


def test_weights_are_in_the_order_of_execution(shipped):
    model, _ = shipped
    by_name = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = weights_of(model)
    assert len(weights) == sum(n.op_type in ("Conv", "ConvTranspose") for n in model.graph.node)
    first, last = ("space.compare", "skip") if "skip.weight" in by_name else ("encoders.0.0", "head")
    assert np.array_equal(weights[0][0], by_name[f"{first}.weight"])
    assert np.array_equal(weights[-1][0], by_name[f"{last}.weight"])
    assert np.array_equal(weights[-1][1], by_name[f"{last}.bias"])


@pytest.mark.parametrize("shape", [(1, 6, 62, 64), (1, 1, 20, 32, 32)])
def test_a_size_off_the_grid_is_refused(shape):
    name = "default" if len(shape) == 4 else "window"
    model, _ = read_onnx(find_engine(name))
    with pytest.raises(EngineError, match=r"^a network that cannot take inputs of .* in fp32 .*multiples of the card"):
        specialize(model, shape, "fp32")


def test_two_inputs_are_refused():
    model, _ = read_onnx(find_engine("default"))
    model.graph.input.append(model.graph.input[0])
    with pytest.raises(EngineError, match=r"^a network with 2 inputs and 1 outputs"):
        specialize(model, SHAPES["default"], "fp16")


def test_other_files_are_refused(tmp_path: Path):
    with pytest.raises(EngineError, match=r"^no engine file at"):
        read_onnx(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_bytes(b"<html>not found</html>")
    with pytest.raises(EngineError, match=r"text\.onnx cannot be read as a network"):
        read_onnx(tmp_path / "text.onnx")
    model = onnx.ModelProto()
    model.ir_version = 8
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(EngineError, match=r"bare\.onnx carries no model card"):
        read_onnx(tmp_path / "bare.onnx")


def test_read_onnx_returns_the_card(tiny_stream_onnx):
    assert read_onnx(tiny_stream_onnx)[1] == STREAM_CARD
