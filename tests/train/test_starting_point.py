"""Fine-tuning starts from a run, a checkpoint or an engine, whose network must be that of the recipe."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.nets.unet3d import UNet3D
from deepbid_rt.train.checkpoint import BEST, LAST, Checkpoint, save_checkpoint
from deepbid_rt.train.export import export
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.network import make_net
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.starting_point import load_starting_point
from deepbid_rt.train.trainer import train
from tests.training import COLLINEAR, TINY, noisy_waves

WINDOW = Recipe(width=2)
RCAN = Recipe(width=4, network="rcan3d", rcan=(1, 2))
STREAM = Recipe(width=2, mode="stream", patch=(1, 16, 16))


def save(folder: Path, recipe: Recipe, name: str = BEST) -> dict[str, torch.Tensor]:
    # All different, as after training, because the exporter stores equal arrays only once.
    weights = {key: w + 0.01 * torch.randn_like(w) for key, w in make_net(recipe).state_dict().items()}
    recordings = ("64x1x256x128 <i2 collinear mirrored mp-collinear",)
    save_checkpoint(folder / name, Checkpoint(recipe, recordings, 3, weights, weights, {}, 1.2, 1.2, 3))
    return weights


def same(ours: Any, theirs: Any) -> bool:
    return set(ours) == set(theirs) and all(torch.equal(ours[k], theirs[k]) for k in theirs)


def test_a_run_gives_its_best_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, WINDOW, LAST)
    best = save(tmp_path, WINDOW)
    assert same(load_starting_point(tmp_path, 1.0).weights, best)


@pytest.mark.parametrize("recipe", [WINDOW, RCAN, STREAM], ids=["unet3d", "rcan3d", "stream"])
def test_an_engine_gives_the_weights_it_was_exported_from(tmp_path: Path, recipe: Recipe) -> None:
    weights = save(tmp_path, recipe)
    export(tmp_path, tmp_path / "model.onnx", "trial")
    start = load_starting_point(tmp_path / "model.onnx", 1.0)
    assert same(start.weights, weights)
    start.require_match(recipe)


@pytest.mark.parametrize(
    ("start", "recipe", "message"),
    [
        (WINDOW, RCAN, "a starting point with network unet3d for a recipe with rcan3d; expected the same network; "),
        (STREAM, WINDOW, "a starting point with network stream for a recipe with unet3d; expected the same network; "),
        (WINDOW, replace(WINDOW, width=3), "a starting point of width 2; expected the recipe's width 3; "),
        (STREAM, replace(STREAM, levels=2), "a starting point with other layers than the recipe's stream; expected "),
        (
            RCAN,
            replace(RCAN, rcan=(2, 2)),
            "a starting point with other layers than the recipe's rcan3d; expected ",
        ),
    ],
)
def test_another_architecture_is_refused_before_the_first_step(
    tmp_path: Path, start: Recipe, recipe: Recipe, message: str
) -> None:
    save(tmp_path, start)
    recipe = replace(recipe, patch=(1 if recipe.mode == "stream" else 8, 16, 16), calibration_frames=8)
    with pytest.raises(EngineError, match=f"^{re.escape(message)}"):
        train([ArrayMovie(noisy_waves())], [COLLINEAR], recipe, tmp_path / "new", tmp_path / BEST)
    assert not (tmp_path / "new").exists()


def test_an_engine_without_card_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), path)
    with pytest.raises(EngineError, match=r"without a model card; expected an \.onnx file written by"):
        load_starting_point(path, 1.0)
    path.write_bytes(b"\xff\xff")
    with pytest.raises(FileError, match="cannot be read"):
        load_starting_point(path, 1.0)


def test_a_run_starts_from_a_network_of_another_project(tmp_path: Path) -> None:
    net = UNet3D(2)
    original = {}
    for key, w in net.state_dict().items():
        name = re.sub(r"^((?:en|de)coders\.\d)\.0\.", r"\1.basic_module.SingleConv1.conv.", key)
        name = re.sub(r"^((?:en|de)coders\.\d)\.2\.", r"\1.basic_module.SingleConv2.conv.", name)
        original[f"Generator.{name.replace('head', 'final_conv')}"] = w
    torch.save(original, tmp_path / "original.pth")
    recipe = replace(TINY, steps=1, warm_up_steps=0, learning_rate=1e-9)
    summary = train([ArrayMovie(noisy_waves())], [COLLINEAR], recipe, tmp_path / "run", tmp_path / "original.pth")
    assert summary.step == 1
