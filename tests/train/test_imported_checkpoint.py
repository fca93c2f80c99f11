"""Checkpoints of DeepBID and DeepCAD-RT become engines and starting points with the same output as the originals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deepbid_rt.card import METADATA_KEY, ModelCard, Normalization
from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.nets.unet3d import UNet3D
from deepbid_rt.runtimes.openvino import OpenVinoEngine
from deepbid_rt.train.export import export
from deepbid_rt.train.imported_checkpoint import DEFAULT_NORMALIZATION, is_imported, read_imported_checkpoint
from deepbid_rt.train.starting_point import load_starting_point
from deepbid_rt.train.trained_network import load_trained

LEVELS = [(1, 4, 8), (8, 8, 16), (16, 16, 32), (32, 32, 64)]  # channels in, between and out, at width 8
UP = [(96, 32, 32), (48, 16, 16), (24, 8, 8)]


def original_weights(seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the projects' names, for the published layers at width 8."""
    torch.manual_seed(seed)
    weights = {}
    for side, levels in (("encoders", LEVELS), ("decoders", UP)):
        for level, (before, between, after) in enumerate(levels):
            for number, (i, o) in enumerate([(before, between), (between, after)], start=1):
                layer = torch.nn.Conv3d(i, o, 3)
                name = f"{side}.{level}.basic_module.SingleConv{number}.conv"
                weights |= {f"{name}.weight": layer.weight.detach(), f"{name}.bias": layer.bias.detach()}
    layer = torch.nn.Conv3d(8, 1, 1)
    return weights | {"final_conv.weight": layer.weight.detach(), "final_conv.bias": layer.bias.detach()}


def original_output(w: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Compute the output of the published network directly, layer by layer."""

    def pair(x: Tensor, name: str) -> Tensor:
        for number in (1, 2):
            layer = f"{name}.basic_module.SingleConv{number}.conv"
            x = F.relu(F.conv3d(x, w[f"{layer}.weight"], w[f"{layer}.bias"], padding=1))
        return x

    levels = [pair(x, "encoders.0")]
    for level in (1, 2, 3):
        levels.append(pair(F.max_pool3d(levels[-1], 2), f"encoders.{level}"))
    x = levels.pop()
    for level in (0, 1, 2):
        skip = levels.pop()
        x = pair(torch.cat([skip, F.interpolate(x, size=skip.shape[2:], mode="nearest")], 1), f"decoders.{level}")
    return F.conv3d(x, w["final_conv.weight"], w["final_conv.bias"])


def deepbid(weights: dict[str, Tensor]) -> dict[str, Any]:
    return {"params": weights}


def deepcad(weights: dict[str, Tensor]) -> dict[str, Any]:
    return {f"Generator.{key}": w for key, w in weights.items()}


def on_two_gpus(weights: dict[str, Tensor]) -> dict[str, Any]:
    return {f"module.Generator.{key}": w for key, w in weights.items()}


@pytest.fixture
def window() -> Tensor:
    return 200 * torch.randn(1, 1, 16, 24, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("wrap", [deepbid, deepcad, on_two_gpus])
def test_the_imported_network_has_exactly_the_original_output(tmp_path: Path, wrap: Any, window: Tensor) -> None:
    path = tmp_path / "E_10.pth"
    torch.save(wrap(original_weights()), path)
    net, card = load_trained(path, "lab")
    with torch.no_grad():
        assert torch.equal(net(window), original_output(original_weights(), window))
    assert (card.name, card.kind, card.normalization) == ("lab", "window", DEFAULT_NORMALIZATION)
    assert (DEFAULT_NORMALIZATION.rule, DEFAULT_NORMALIZATION.scale) == ("mean", 1.0)
    assert card.training == {"width": 8, "imported": "DeepBID or DeepCAD-RT checkpoint E_10.pth"}
    assert card.scan == ("collinear", "ordinary")


def test_the_engine_file_has_the_normalization_of_the_training(tmp_path: Path, window: Tensor) -> None:
    path, out = tmp_path / "original.pth", tmp_path / "imported.onnx"
    torch.save(deepcad(original_weights()), path)
    normalization = Normalization(rule="minimum", frames=16, scale=2.0)
    assert export(path, out, "lab", normalization).normalization == normalization
    engine = OpenVinoEngine(out, precision="f32", threads=1)
    assert engine.card.normalization == normalization
    engine.warm_up((16, 24, 8))
    output = engine.infer(window[0, 0].numpy())
    expected = original_output(original_weights(), window)[0, 0].numpy()
    assert np.abs(output - expected).max() < 1e-3 * expected.std()
    engine.close()


def test_as_a_starting_point_it_is_converted_to_units_of_the_noise(tmp_path: Path, window: Tensor) -> None:
    path = tmp_path / "original.pth"
    torch.save(deepbid(original_weights()), path)
    start = load_starting_point(path, 50.0)
    converted = {k: start.weights[unet3d_name(k)] for k in original_weights()}
    assert torch.allclose(
        50 * original_output(converted, window / 50), original_output(original_weights(), window), rtol=1e-3, atol=1e-3
    )
    assert (start.kind, start.width, start.optimizer) == ("unet3d", 8, None)


def unet3d_name(name: str) -> str:
    name = name.replace(".basic_module.SingleConv1.conv", ".0").replace(".basic_module.SingleConv2.conv", ".2")
    return name.replace("final_conv", "head")


def change(key: str, value: Any) -> dict[str, Any]:
    return original_weights() | {key: value}


@pytest.mark.parametrize(
    ("data", "came"),
    [
        (change("body.0.attention.weight", torch.zeros(1)), "holds 'body.0.attention.weight'"),
        (change("final_conv.bias", 3), "holds 'final_conv.bias'"),
        (change("final_conv.weight", torch.zeros(8)), "has no final_conv"),
        (
            change("encoders.1.basic_module.SingleConv2.conv.bias", torch.zeros(5)),
            "has (5,) instead of (16,) in layer encoders.1.2.bias",
        ),
        (
            {
                k: w
                for k, w in original_weights().items()
                if not k.startswith("decoders.2.basic_module.SingleConv1.conv.b")
            },
            "has nothing instead of (8,) in layer decoders.2.0.bias",
        ),
    ],
)
def test_another_network_is_refused(data: dict[str, Any], came: str) -> None:
    message = (
        f"the checkpoint original.pth {came}; expected a checkpoint of deepbid-rt, or the 3D U-Net of DeepBID or "
        "DeepCAD-RT, alone or under 'params'; save the generator's state_dict by itself; their other networks cannot "
        "be imported."
    )
    with pytest.raises(EngineError, match=f"^{re.escape(message)}$"):
        read_imported_checkpoint(data, Path("original.pth"))


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    torch.save({"params": torch.nn.Conv3d(1, 1, 1)}, tmp_path / "whole.pth")  # a pickled object, not its weights
    with pytest.raises(FileError, match="cannot be read"):
        load_trained(tmp_path / "whole.pth", "lab")


def test_checkpoints_of_this_package_are_not_imported() -> None:
    assert is_imported(deepbid({}))
    assert not is_imported({"version": 1})
    assert not is_imported({})
    assert not is_imported([1])


def test_the_card_of_an_imported_network_is_valid_json() -> None:
    card = read_imported_checkpoint(original_weights(), Path("x.pth")).card("lab", DEFAULT_NORMALIZATION)
    assert ModelCard.from_json(card.to_json()) == card
    assert METADATA_KEY


def test_exact_windows_give_the_output_over_the_whole_movie() -> None:
    imported = read_imported_checkpoint(original_weights(), Path("x.pth"))
    card = imported.card("lab", DEFAULT_NORMALIZATION, exact=True)
    assert (card.window, card.hop, card.look_ahead, card.delay) == (128, 24, 52, 75)
    net = UNet3D(imported.width).double().eval()
    net.load_state_dict(imported.weights)
    movie = torch.randn(1, 1, 256, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    begin = 64
    denoised = slice(card.window - card.look_ahead - card.hop, card.window - card.look_ahead)

    def window_output(look_ahead: int) -> Tensor:
        """Return the output for the same frames of a window that ends this many frames after them."""
        return net(movie[:, :, begin : begin + denoised.stop + look_ahead])[:, :, denoised]

    with torch.no_grad():
        whole = net(movie)[:, :, begin + denoised.start : begin + denoised.stop]
        near = {"rtol": 0, "atol": 1e-12 * float(whole.std())}
        assert torch.allclose(window_output(card.look_ahead), whole, **near)
        assert not torch.allclose(window_output(card.look_ahead - 8), whole, **near)
