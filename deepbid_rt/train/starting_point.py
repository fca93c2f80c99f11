"""The starting point of fine-tuning: the weights of a run, a checkpoint (also of other projects) or an engine file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepbid_rt.card import METADATA_KEY, ModelCard
from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.runtimes.engine_file import check_engine_file
from deepbid_rt.train.checkpoint import as_checkpoint, best_checkpoint_path, read_tensors
from deepbid_rt.train.collapse import refuse_collapsed
from deepbid_rt.train.imported_checkpoint import is_imported, read_imported_checkpoint
from deepbid_rt.train.network import make_net
from deepbid_rt.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """The weights of another network."""

    kind: str
    """The network: ``unet3d``, ``rcan3d``, or ``stream`` for that of mode stream."""
    width: int
    weights: Mapping[str, Tensor]
    """Under the names in `deepbid_rt.nets`, for pictures in units of the noise."""
    optimizer: Mapping[str, Any] | None = None
    """Adam's state; only checkpoints of this package have it."""

    def require_match(self, recipe: Recipe) -> None:
        """Raise `EngineError` when a recipe has another network than this one."""
        kind = "stream" if recipe.mode == "stream" else recipe.network
        if self.kind != kind:
            raise EngineError(
                f"a starting point with network {self.kind} for a recipe with {kind}",
                expected="the same network",
                todo="use --preset fast for a stream engine, --preset window for a window engine",
            )
        if self.width != recipe.width:
            raise EngineError(
                f"a starting point of width {self.width}",
                expected=f"the recipe's width {recipe.width}",
                todo="change the recipe's width or the starting point",
            )
        expected = {key: w.shape for key, w in make_net(recipe).state_dict().items()}
        if {key: w.shape for key, w in self.weights.items()} != expected:
            raise EngineError(
                f"a starting point with other layers than the recipe's {kind}",
                expected="the numbers of memories, later frames, levels, groups and blocks of the recipe",
                todo="copy them from the recipe.toml of the starting point",
            )


def load_starting_point(path: Path, unit: float) -> StartingPoint:
    """Read a run folder, a checkpoint (.pt, or .pth of DeepBID or DeepCAD-RT), or an engine file (.onnx).

    Parameters
    ----------
    path : Path
    unit : float
        Counts per network unit of the recordings to train on. Networks of other projects take raw counts, so their
        weights are converted to this unit, the noise.

    Raises
    ------
    FileError
        When it cannot be read.
    EngineError
        When it is none of these, or its network collapsed in training.
    """
    if path.suffix == ".onnx":
        return _from_engine(path)
    path = best_checkpoint_path(path)
    data = read_tensors(path)
    if is_imported(data):
        imported = read_imported_checkpoint(data, path)
        return StartingPoint("unet3d", imported.width, imported.weights_for_unit(unit))
    checkpoint = as_checkpoint(data, path)
    refuse_collapsed(checkpoint.response, path)
    recipe = checkpoint.recipe
    kind = "stream" if recipe.mode == "stream" else recipe.network
    return StartingPoint(kind, recipe.width, checkpoint.average, checkpoint.optimizer)


def _from_engine(path: Path) -> StartingPoint:
    import onnx  # imported here because only engine files need it

    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf raises many types of its own
        raise FileError(
            f"the engine {path} cannot be read ({error})",
            expected="an .onnx file written by deepbid-rt export",
            todo="check the path",
        ) from error
    check_engine_file(path)
    texts = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY not in texts:
        raise EngineError(
            f"the engine {path} without a model card",
            expected="an .onnx file written by deepbid-rt export",
            todo="start from a checkpoint",
        )
    card = ModelCard.from_json(texts[METADATA_KEY])
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    weights = {
        name: torch.from_numpy(array.copy())
        for name, array in arrays.items()
        if name.rpartition(".")[2] in ("weight", "bias") and array.dtype == "float32"
    }
    kind = "stream" if card.kind == "stream" else str(card.training.get("network", "unet3d"))
    return StartingPoint(kind, int(card.training.get("width", 0)), weights)
