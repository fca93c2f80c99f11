import logging
import re
import shutil
import subprocess
import sys

import numpy as np
import openvino
import pytest

from deepbid_rt import runtimes
from deepbid_rt.card import METADATA_KEY, ModelCard
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes import engine_digest, find_engine, load_engine
from deepbid_rt.runtimes.echo import ECHO_CARD, EchoEngine
from deepbid_rt.runtimes.openvino import OpenVinoEngine
from deepbid_rt.runtimes.openvino_core import core
from tests.fakes import WINDOW_CARD, stamped_frames, stream

onnx = pytest.importorskip("onnx", reason="the train extra is not installed")
SHAPE = (40, 16, 24)
HAS_BF16 = "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def noise(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


@pytest.fixture
def opened(tiny_onnx):
    engine = OpenVinoEngine(tiny_onnx, precision="f32", threads=2)
    yield engine
    engine.close()


def with_metadata(path, target, value):
    model = onnx.load(path)
    del model.metadata_props[:]
    if value is not None:
        onnx.helper.set_model_props(model, {METADATA_KEY: value})
    onnx.save(model, target)
    return target


def write_net(target, nodes, inputs, outputs, initializers=()):
    """An ONNX file with a card and a network of our own."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [value(name, onnx.TensorProto.FLOAT, shape) for name, shape in inputs],
        [value(name, onnx.TensorProto.FLOAT, shape) for name, shape in outputs],
        list(initializers),
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    onnx.helper.set_model_props(model, {METADATA_KEY: WINDOW_CARD.to_json()})
    onnx.save(model, target)
    return target


FREE = [1, 1, "t", "y", "x"]


# What OpenVINO computes.


def test_the_engine_computes_what_torch_computes(opened):
    torch = pytest.importorskip("torch", reason="the train extra is not installed")
    from deepbid_rt.nets.unet3d import UNet3D

    torch.manual_seed(0)
    net = UNet3D(width=2).eval()
    for shape in (SHAPE, (16, 8, 32)):
        opened.warm_up(shape)
        window = noise(shape)
        with torch.no_grad():
            expected = net(torch.from_numpy(window)[None, None])[0, 0].numpy()
        answer = opened.infer(window)
        assert answer.shape == shape
        assert np.abs(answer - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.skipif(not HAS_BF16, reason="this processor has no bfloat16 instructions")
def test_bfloat16_is_close_to_float32_but_not_equal(tiny_onnx, opened):
    low = OpenVinoEngine(tiny_onnx, precision="bf16", threads=2)
    answers = []
    for engine in (opened, low):
        engine.warm_up(SHAPE)
        answers.append(engine.infer(noise()).copy())
    low.close()
    error = np.abs(answers[0] - answers[1]).max()
    assert 0 < error < 0.05 * max(np.abs(answers[0]).max(), 1e-3)


def test_auto_uses_bfloat16_where_the_processor_has_it(tiny_onnx, caplog):
    caplog.set_level(logging.INFO)
    engine = OpenVinoEngine(tiny_onnx)
    engine.close()
    precision = "bf16" if HAS_BF16 else "f32"
    assert re.fullmatch(rf"OpenVINO \d+\.\d+\.\d+ {precision} on .+", engine.description)
    assert f"engine window: {engine.description}" in caplog.messages


def test_float32_can_be_asked_for(opened):
    assert " f32 on " in opened.description


def test_bfloat16_on_a_processor_without_it_is_refused(tiny_onnx, monkeypatch):
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(EngineError) as refused:
        OpenVinoEngine(tiny_onnx, precision="bf16")
    assert str(refused.value) == (
        "precision bf16 on a processor without bfloat16 instructions; expected precision f32 or auto; "
        "leave precision at auto."
    )


def test_the_card_is_read_from_the_file(opened):
    assert opened.card == WINDOW_CARD


def test_warming_up_for_another_size_and_back_changes_nothing(opened):
    """Warming up for a second size and back again leaves no trace."""
    opened.warm_up(SHAPE)
    first = opened.infer(noise()).copy()
    opened.warm_up((16, 8, 8))
    opened.infer(noise((16, 8, 8)))
    opened.warm_up(SHAPE)
    assert np.array_equal(opened.infer(noise()), first)


def test_a_movie_goes_through_a_network(opened):
    info = stream((1, 13, 9), np.uint16)
    denoiser = Denoiser(opened, info)
    frames = stamped_frames(info, 50)
    outs = [out for frame in frames for out in denoiser.push(frame)] + denoiser.flush()
    assert [out.index for out in outs] == list(range(50))
    assert all(out.pixels.shape == info.shape and out.pixels.dtype == info.dtype for out in outs)


# What it refuses.


def test_a_window_that_was_not_warmed_up_is_refused(opened):
    with pytest.raises(EngineError) as refused:
        opened.infer(noise())
    assert str(refused.value) == ("an input of shape (40, 16, 24); expected None as warmed up; call warm_up first.")
    opened.warm_up((16, 8, 8))
    with pytest.raises(EngineError, match=r"expected \(16, 8, 8\) as warmed up"):
        opened.infer(noise())


def test_a_closed_engine_refuses_inputs(opened):
    opened.warm_up((16, 8, 8))
    opened.close()
    opened.close()
    with pytest.raises(EngineError, match="call warm_up first"):
        opened.infer(noise((16, 8, 8)))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(EngineError) as refused:
        OpenVinoEngine(tmp_path / "none.onnx")
    assert str(refused.value) == (
        f"no engine file at {tmp_path / 'none.onnx'}; expected an .onnx file written by deepbid-rt export; "
        "check the path, or name a shipped engine."
    )


@pytest.mark.parametrize("damage", ["empty", "noise", "truncated", "text"])
def test_a_damaged_file_is_refused(tiny_onnx, tmp_path, damage):
    data = tiny_onnx.read_bytes()
    path = tmp_path / "broken.onnx"
    path.write_bytes(
        {
            "empty": b"",
            "noise": np.random.default_rng(1).bytes(4000),
            "truncated": data[: len(data) // 2],
            "text": b"<html>not found</html>",
        }[damage]
    )
    with pytest.raises(EngineError) as refused:
        OpenVinoEngine(path)
    message = str(refused.value)
    assert message.startswith(f"{path} cannot be read as a network (")
    assert message.endswith(
        "; expected an undamaged .onnx file written by deepbid-rt export; export or copy the engine again."
    )
    assert "\n" not in message


def test_a_file_without_a_card_is_refused(tiny_onnx, tmp_path):
    path = with_metadata(tiny_onnx, tmp_path / "bare.onnx", None)
    with pytest.raises(EngineError) as refused:
        OpenVinoEngine(path)
    assert str(refused.value) == (
        f"{path} carries no model card; expected the metadata entry deepbid_rt.card; "
        "export it with deepbid-rt export, which writes the card."
    )


def test_a_card_of_another_version_is_refused(tiny_onnx, tmp_path):
    text = WINDOW_CARD.to_json().replace('"version": 1', '"version": 7')
    with pytest.raises(EngineError) as refused:
        OpenVinoEngine(with_metadata(tiny_onnx, tmp_path / "new.onnx", text))
    assert str(refused.value) == (
        "the model card of 'window' says version 7; expected version 1; "
        "export the engine again with this version of deepbid-rt."
    )


def test_a_card_that_is_not_json_is_refused(tiny_onnx, tmp_path):
    with pytest.raises(EngineError, match="a model card that is not JSON"):
        OpenVinoEngine(with_metadata(tiny_onnx, tmp_path / "odd.onnx", "hello"))


def test_a_network_of_fixed_size_is_refused_for_others(tmp_path):
    node = onnx.helper.make_node("Add", ["window", "bias"], ["denoised"])
    bias = onnx.numpy_helper.from_array(np.zeros((1, 1, 40, 16, 16), np.float32), "bias")
    shape = [1, 1, 40, 16, 16]
    engine = OpenVinoEngine(
        write_net(tmp_path / "fixed.onnx", [node], [("window", shape)], [("denoised", shape)], [bias])
    )
    engine.warm_up((40, 16, 16))
    with pytest.raises(EngineError) as refused:
        engine.warm_up((40, 24, 16))
    message = str(refused.value)
    assert message.startswith("engine 'window' cannot take inputs of (K, Y, X) = (40, 24, 16) (")
    assert message.endswith(
        "; expected 40 arrays and sides in multiples of 8; export the engine again with free sizes."
    )
    engine.close()


@pytest.mark.parametrize(
    ("node", "inputs", "answers"),
    [
        (("AveragePool", {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]}), ["window"], "(20, 8, 12)"),
        (("Concat", {"axis": 1}), ["window", "window"], "(1, 2, 40, 16, 24)"),
        (("Flatten", {}), ["window"], "(1, 15360)"),
    ],
)
def test_a_network_that_answers_another_shape_is_refused(tmp_path, node, inputs, answers):
    kind, attributes = node
    net = onnx.helper.make_node(kind, inputs, ["denoised"], **attributes)
    engine = OpenVinoEngine(write_net(tmp_path / "net.onnx", [net], [("window", FREE)], [("denoised", None)]))
    with pytest.raises(EngineError) as refused:
        engine.warm_up(SHAPE)
    assert str(refused.value) == (
        f"engine 'window' answers (K, Y, X) = {answers} to inputs of (40, 16, 24); "
        "expected an answer of (40, 16, 24); export the engine again."
    )
    engine.close()


def test_a_network_with_two_inputs_is_refused(tmp_path):
    net = onnx.helper.make_node("Add", ["a", "b"], ["denoised"])
    engine = OpenVinoEngine(write_net(tmp_path / "two.onnx", [net], [("a", FREE), ("b", FREE)], [("denoised", FREE)]))
    with pytest.raises(EngineError, match=r"^engine 'window' cannot take inputs of"):
        engine.warm_up(SHAPE)
    engine.close()


# Engines by name.


@pytest.fixture
def shelf(tiny_onnx, tmp_path, monkeypatch):
    """A folder of shipped engines: ``alpha`` and ``beta``."""
    for name in ("alpha", "beta"):
        (tmp_path / name).mkdir()
        shutil.copy(tiny_onnx, tmp_path / name / "model.onnx")
    monkeypatch.setattr(runtimes, "_SHIPPED", (tmp_path / "nowhere", tmp_path))
    return tmp_path


def test_a_shipped_engine_is_found_by_name(shelf):
    assert find_engine("beta") == shelf / "beta" / "model.onnx"
    engine = load_engine("beta", precision="f32", threads=1)
    assert engine.card == WINDOW_CARD
    engine.close()


def test_an_engine_is_found_by_path(shelf):
    engine = load_engine(str(shelf / "alpha" / "model.onnx"))
    assert engine.card.name == "window"
    engine.close()


def test_an_unknown_name_is_refused_with_the_shipped_engines(shelf):
    with pytest.raises(EngineError) as refused:
        load_engine("gamma")
    assert str(refused.value) == (
        "no engine named 'gamma'; expected a path to an .onnx file, or one of echo, average, alpha, beta; "
        "check the name, or train an engine with deepbid-rt train."
    )


def test_an_unknown_name_is_refused_even_when_nothing_is_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes, "_SHIPPED", (tmp_path,))
    with pytest.raises(EngineError) as refused:
        load_engine("gamma")
    assert refused.value.expected == "a path to an .onnx file, or one of echo, average"


@pytest.mark.parametrize("name", ["m.engine", "m.pt", "run/best.pt"])
def test_other_files_are_refused(name):
    with pytest.raises(EngineError, match=r"^engine file .* ends in '\.(engine|pt)'; expected an \.onnx file"):
        load_engine(name)


def test_a_path_without_a_file_is_refused(tmp_path):
    with pytest.raises(EngineError, match="no engine file at"):
        load_engine(str(tmp_path / "none.onnx"))
    with pytest.raises(EngineError, match=r"^engine file .*none\.onnx cannot be read \(No such file or directory\)"):
        engine_digest(str(tmp_path / "none.onnx"))


def test_the_digest_is_the_file_s_sha256(shelf):
    path = shelf / "alpha" / "model.onnx"
    program = "import hashlib,sys; print(hashlib.sha256(open(sys.argv[1],'rb').read()).hexdigest())"
    expected = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert engine_digest("alpha") == engine_digest(str(path)) == expected.stdout.strip()


# Echo.


def test_echo_needs_no_file():
    engine = load_engine("echo")
    assert isinstance(engine, EchoEngine)
    assert engine.card is ECHO_CARD
    assert engine.card.delay == 0
    assert engine.card.normalization.rule == "fixed"
    assert engine_digest("echo") is None


def test_echo_returns_its_input():
    engine = EchoEngine()
    window = noise((1, 3, 3))
    engine.warm_up(window.shape)
    assert np.array_equal(engine.infer(window), window)
    engine.close()
    engine.close()


def test_echo_can_have_the_card_of_a_window_engine():
    card = ModelCard(name="pretend", kind="echo", window=40, hop=8, look_ahead=8)
    assert EchoEngine(card).card.delay == 15


@pytest.mark.parametrize("name", [None, 3, ["default"]])
def test_a_name_that_is_none_is_one_sentence(name: object) -> None:
    with pytest.raises(EngineError, match=r"^engine .*; expected the name of a shipped engine, or the path"):
        load_engine(name)
