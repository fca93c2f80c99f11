"""Export writes an ONNX file with its card that agrees with torch, or no file."""

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from deepbid_rt.card import METADATA_KEY, ModelCard
from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.nets.unet3d import UNet3D
from deepbid_rt.runtimes.openvino_core import core
from deepbid_rt.runtimes.torch_net import load_net
from deepbid_rt.train import export as module
from deepbid_rt.train.checkpoint import BEST, LAST, Checkpoint, save_checkpoint
from deepbid_rt.train.export import card_toml, check_parity, export
from deepbid_rt.train.network import make_net
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.trained_network import make_card

pytestmark = pytest.mark.usefixtures("one_thread")


def make_checkpoint(step: int = 7, seed: int = 0, **recipe: Any) -> Checkpoint:
    torch.manual_seed(seed)
    weights = UNet3D(2).state_dict()
    return Checkpoint(
        recipe=Recipe.from_dict({"width": 2, "window": 40, "look_ahead": 16} | recipe),
        recordings=("64x1x256x128 <i2 collinear mirrored mp-collinear", "64x1x128x128 <u2 ordinary mirrored mp-rows"),
        step=step,
        weights=weights,
        average=weights,
        optimizer={},
        held_out=1.25,
        best_held_out=1.25,
        best_step=step,
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelCard, Checkpoint]:
    folder = tmp_path_factory.mktemp("run")
    best = make_checkpoint(7, seed=1)
    save_checkpoint(folder / LAST, make_checkpoint(9, seed=2))
    save_checkpoint(folder / BEST, best)
    path = folder / "model.onnx"
    return path, export(folder, path, "trial"), best


def test_the_card_describes_the_training(exported: tuple[Path, ModelCard, Checkpoint]) -> None:
    _, card, best = exported
    assert (card.name, card.kind, card.scan) == ("trial", "window", ("collinear", "ordinary"))
    assert (card.window, card.hop, card.look_ahead, card.grid) == (40, 8, 16, 8)
    assert (card.normalization.rule, card.normalization.frames) == ("calibrate", 32)
    assert card.training["recipe"] == best.recipe.digest
    assert (card.training["step"], card.training["held_out"]) == (7, 1.25)


def test_the_card_has_only_the_layouts_that_were_trained() -> None:
    one = replace(make_checkpoint(), recordings=("64x1x128x128 <u2 ordinary mirrored mp-rows",))
    assert make_card(one, "trial").scan == ("ordinary",)


def test_the_card_is_read_back_from_the_file_and_from_toml(exported: tuple[Path, ModelCard, Checkpoint]) -> None:
    path, card, _ = exported
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert ModelCard.from_json(properties[METADATA_KEY]) == card
    assert ModelCard.from_dict(tomllib.loads(card_toml(card))) == card


def test_card_toml_escapes_special_characters(exported: tuple[Path, ModelCard, Checkpoint]) -> None:
    card = replace(exported[1], name='a "quoted" \\ näme', training={"note": "two\nlines", "inner": {"x": [1, 2.5]}})
    assert ModelCard.from_dict(tomllib.loads(card_toml(card))) == card


def test_the_file_has_no_companion_and_no_paths_of_this_machine(exported: tuple[Path, ModelCard, Checkpoint]) -> None:
    path, _, _ = exported
    assert sorted(p.name for p in path.parent.iterdir()) == [BEST, LAST, "model.onnx"]
    content = path.read_bytes()
    assert str(Path(module.__file__).parents[2]).encode() not in content
    assert b"site-packages" not in content
    model = onnx.load(path)
    assert [i.name for i in model.graph.input] == ["window"]
    assert [o.name for o in model.graph.output] == ["denoised"]
    assert [o.version for o in model.opset_import if o.domain == ""] == [18]


@pytest.mark.parametrize("shape", [(8, 8, 8), (40, 24, 16)])
def test_every_size_on_the_grid_gives_the_output_of_torch(
    exported: tuple[Path, ModelCard, Checkpoint], shape: tuple[int, int, int]
) -> None:
    path, _, best = exported
    net = UNet3D(2)
    net.load_state_dict(best.average)
    window = np.random.default_rng(0).normal(size=(1, 1, *shape)).astype(np.float32)
    compiled = core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.no_grad():
        expected = net(torch.from_numpy(window)).numpy()
    assert np.abs(compiled(window)[0] - expected).max() < 1e-3 * expected.std()


def corrupt(path: Path) -> None:
    """Change the weights of the last layer by a fiftieth."""
    model = onnx.load(path)
    (head,) = [i for i in model.graph.initializer if i.name == "head.weight"]
    values = onnx.numpy_helper.to_array(head) * np.float32(1.02)
    head.CopyFrom(onnx.numpy_helper.from_array(values, head.name))
    onnx.save(model, path)


def test_a_file_that_differs_from_torch_is_an_error(
    exported: tuple[Path, ModelCard, Checkpoint], tmp_path: Path
) -> None:
    path, _, best = exported
    net = UNet3D(2)
    net.load_state_dict(best.average)
    check_parity(net, path)
    other = tmp_path / "other.onnx"
    other.write_bytes(path.read_bytes())
    corrupt(other)
    message = (
        r"^ONNX and torch differ by \S+ standard deviations on windows of \(16, 24, 32\); expected at most 0\.001; use "
    )
    with pytest.raises(EngineError, match=message):
        check_parity(net, other)


def test_a_file_that_cannot_be_run_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(EngineError, match=r"^an exported file that OpenVINO cannot run"):
        check_parity(UNet3D(2), path)


def test_a_failed_export_keeps_the_old_engine_and_leaves_no_other_file(
    exported: tuple[Path, ModelCard, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, _ = exported

    def write_corrupted(_net: object, _card: object, target: Path) -> None:
        target.write_bytes(path.read_bytes())
        corrupt(target)

    monkeypatch.setattr(module, "write_onnx", write_corrupted)
    out = tmp_path / "model.onnx"
    out.write_text("the old engine")
    with pytest.raises(EngineError, match=r"^ONNX and torch differ"):
        export(path.parent, out, "trial")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert out.read_text() == "the old engine"


def test_a_missing_folder_is_refused(
    exported: tuple[Path, ModelCard, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, _ = exported
    monkeypatch.setattr(module, "write_onnx", lambda _net, _card, target: target.write_bytes(path.read_bytes()))
    out = tmp_path / "absent" / "model.onnx"
    with pytest.raises(FileError, match=f"^{re.escape(f'the engine file {out} cannot be written')}"):
        export(path.parent, out, "trial")


def test_a_run_without_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="expected a file written by deepbid-rt train"):
        export(tmp_path, tmp_path / "model.onnx", "trial")


def test_the_card_as_json_has_the_digest(exported: tuple[Path, ModelCard, Checkpoint]) -> None:
    assert json.loads(exported[1].to_json())["training"]["recipe"] == exported[2].recipe.digest


@pytest.mark.parametrize(("levels", "grid", "later_frames"), [(1, 4, 0), (2, 4, 1), (3, 8, 2)])
def test_a_stream_run_becomes_a_stream_engine(tmp_path: Path, levels: int, grid: int, later_frames: int) -> None:
    recipe = Recipe(
        mode="stream",
        width=2,
        levels=levels,
        stream_look_ahead=later_frames,
        patch=(1, 16, 16),
        memories=(0.5, 0.2, 0.1),
        calibration_frames=6,
    )
    weights = make_net(recipe).state_dict()
    checkpoint = replace(make_checkpoint(), recipe=recipe, weights=weights, average=weights)
    save_checkpoint(tmp_path / BEST, checkpoint)
    card = export(tmp_path, tmp_path / "model.onnx", "trial")
    assert (card.kind, card.memories, card.depth, card.grid, card.delay) == (
        "stream",
        (0.5, 0.2, 0.1),
        6 + later_frames,
        grid,
        later_frames,
    )
    assert (card.normalization.rule, card.normalization.frames) == ("calibrate", 16)  # not the 6 frames of the recipe
    assert ModelCard.from_dict(tomllib.loads(card_toml(card))) == card
    assert [i.name for i in onnx.load(tmp_path / "model.onnx").graph.input] == ["inputs"]
    read = load_net(tmp_path / "model.onnx")[0].state_dict()
    assert {key: w.shape for key, w in read.items()} == {key: w.shape for key, w in weights.items()}
    assert all(torch.equal(w, weights[key]) for key, w in read.items())
