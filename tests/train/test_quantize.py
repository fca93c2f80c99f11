"""8-bit engine files give nearly the same output."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
import torch

from deepbid_rt.card import ModelCard
from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.nets.unet2d import UNet2D
from deepbid_rt.nets.unet3d import UNet3D
from deepbid_rt.runtimes.openvino import OpenVinoEngine
from deepbid_rt.train import quantize as module
from deepbid_rt.train.export import write_onnx
from deepbid_rt.train.quantize import nodes_kept_in_float, quantize
from tests.e2e.commands import run

CARD = ModelCard(name="small", kind="stream", memories=(0.4, 0.1), grid=8)


def inputs(count=16, size=(32, 40)):
    return list(np.random.default_rng(0).standard_normal((count, CARD.depth, *size), np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    torch.manual_seed(0)
    write_onnx(UNet2D(8, CARD.memories, levels=2), CARD, folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def small(folder: Path) -> tuple[Path, float]:
    path = folder / "small.onnx"
    return path, quantize(folder / "model.onnx", path, inputs())


def run_file(path: Path, given):
    engine = OpenVinoEngine(path, precision="f32")
    engine.warm_up(given.shape)
    return engine.infer(given).copy(), engine


def test_outputs_agree_to_a_fraction_of_the_noise_at_any_size(folder, small):
    for size in ((32, 40), (48, 24)):
        [given] = inputs(1, size)
        first, _ = run_file(folder / "model.onnx", given)
        second, _ = run_file(small[0], given)
        assert 0 < np.sqrt(np.mean((first - second) ** 2)) < 0.1 * first.std()
    assert 0 < small[1] < 0.05


def test_the_card_is_copied_and_the_runtime_reports_int8(folder, small):
    _, engine = run_file(small[0], inputs(1)[0])
    assert engine.card == CARD
    assert "int8 and f32" in engine.description
    assert "int8" not in run_file(folder / "model.onnx", inputs(1)[0])[1].description


def test_only_the_unet_is_in_8_bits(folder, small):
    kept = set(nodes_kept_in_float(onnx.load(folder / "model.onnx")))
    graph = onnx.load(small[0]).graph
    dequantized = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    in_8_bit = {node.name for node in convolutions if set(node.input) & dequantized}
    assert in_8_bit == {node.name for node in convolutions} - kept
    assert len(in_8_bit) == 5  # two encoders, two decoders and the convolution between the decoders


@pytest.mark.parametrize("fault", ["window", "few", "no card"])
def test_unsuitable_files_and_too_few_inputs_are_refused(folder, tmp_path, fault):
    source, given = folder / "model.onnx", inputs()
    if fault == "window":
        source = tmp_path / "window.onnx"
        write_onnx(UNet3D(2), ModelCard(name="w", kind="window", window=40, hop=8, look_ahead=16, grid=8), source)
    elif fault == "few":
        given = given[:15]
    else:
        model = onnx.load(source)
        del model.metadata_props[:]
        source = tmp_path / "bare.onnx"
        onnx.save(model, source)
    expected = {"window": "of kind window", "few": "^15 inputs .* at least 16", "no card": "which has no model card"}
    with pytest.raises(EngineError, match=expected[fault]):
        quantize(source, tmp_path / "out.onnx", given)
    assert not (tmp_path / "out.onnx").exists()


def test_outputs_that_differ_too_much_leave_no_file(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_DIFFERENCE", 0.0)
    with pytest.raises(EngineError, match=r"^outputs that differ by .* after quantization"):
        quantize(folder / "model.onnx", tmp_path / "out.onnx", inputs())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(folder, tmp_path):
    with pytest.raises(FileError, match="cannot be written"):
        quantize(folder / "model.onnx", tmp_path / "absent" / "out.onnx", inputs())


def test_the_command_quantizes_with_a_recording(folder, tmp_path):
    rng = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "like.tif", rng.poisson(40.0, (24, 64, 40)).astype(np.uint16))
    path = tmp_path / "small.onnx"
    like = ("--like", tmp_path / "like.tif", "--scan", "collinear", "-o", path)
    finished = run("quantize", folder / "model.onnx", *like, "--json")
    assert finished.code == 0, finished.stderr
    assert finished.result["inputs"] == 48  # two for each frame, one for each direction
    assert 0 < finished.result["difference"] < 0.1
    [given] = inputs(1)
    assert "int8" in run_file(path, given)[1].description
    assert "exists already" in run("quantize", "window", *like).stderr
    refused = run("quantize", "window", *like, "--overwrite")
    assert refused.code == 2
    assert "of kind window" in refused.stderr
