"""Where fine-tuning begins: a run, a checkpoint of ours or of another project, or an engine file.

Knows nothing of recordings or of how training goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepbid_rt.card import METADATA_KEY, ModelCard
from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.train.checkpoint import as_checkpoint, best_of, read_tensors
from deepbid_rt.train.collapse import refuse_collapsed
from deepbid_rt.train.imported_checkpoint import is_imported, read_imported_checkpoint
from deepbid_rt.train.network import make_net
from deepbid_rt.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """What another network has learned."""

    kind: str
    """Its network: ``unet3d``, ``rcan3d``, or ``stream`` for that of mode stream."""
    width: int
    weights: Mapping[str, Tensor]
    """Under the names of our networks, for pictures in units of the noise."""
    optimizer: Mapping[str, Any] | None = None
    """Adam's state, from checkpoints of ours."""

    def require_fit(self, recipe: Recipe) -> None:
        """Raise `EngineError` when a recipe asks for another network than this one."""
        kind = "stream" if recipe.mode == "stream" else recipe.network
        if self.kind != kind:
            raise EngineError(
                f"a starting point with network {self.kind} for a recipe with {kind}",
                expected="the same network",
                todo="take --preset fast for a stream engine, --preset window for one with a window",
            )
        if self.width != recipe.width:
            raise EngineError(
                f"a starting point of width {self.width}",
                expected=f"the recipe's width {recipe.width}",
                todo="change the recipe's width or the starting point",
            )
        wanted = {key: w.shape for key, w in make_net(recipe).state_dict().items()}
        if {key: w.shape for key, w in self.weights.items()} != wanted:
            raise EngineError(
                f"a starting point with other layers than the recipe's {kind}",
                expected="as many memories, frames ahead, levels, groups and blocks as in the recipe",
                todo="take them from the recipe.toml of the starting point",
            )


def load_starting_point(path: Path, unit: float) -> StartingPoint:
    """Read a run folder, a checkpoint (.pt, or .pth of DeepBID or DeepCAD-RT), or an engine file (.onnx).

    Parameters
    ----------
    path : Path
    unit : float
        Counts per network unit of the recordings to train on: networks of the other projects see raw counts, and
        have to be turned to the unit of ours, the noise.

    Raises
    ------
    FileError
        When it cannot be read.
    EngineError
        When it is none of these, or collapsed in training.
    """
    if path.suffix == ".onnx":
        return _of_engine(path)
    path = best_of(path)
    data = read_tensors(path)
    if is_imported(data):
        seed = read_imported_checkpoint(data, path)
        return StartingPoint("unet3d", seed.width, seed.weights_in(unit))
    checkpoint = as_checkpoint(data, path)
    refuse_collapsed(checkpoint.response, path)
    recipe = checkpoint.recipe
    kind = "stream" if recipe.mode == "stream" else recipe.network
    return StartingPoint(kind, recipe.width, checkpoint.average, checkpoint.optimizer)


def _of_engine(path: Path) -> StartingPoint:
    import onnx  # only for engines: checkpoints do without

    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf has many of its own
        raise FileError(
            f"the engine {path} cannot be read ({error})",
            expected="an .onnx file written by deepbid-rt export",
            todo="check the path",
        ) from error
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
