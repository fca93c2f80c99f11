"""A trained network with its card, from a run, a checkpoint of ours, or one of another project.

Knows nothing of ONNX or of what the network is used for.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from deepbid_rt.card import ModelCard, Normalization
from deepbid_rt.errors import EngineError
from deepbid_rt.frame import Layout
from deepbid_rt.nets import unet2d, unet3d
from deepbid_rt.train.checkpoint import Checkpoint, as_checkpoint, best_of, read_tensors
from deepbid_rt.train.collapse import refuse_collapsed
from deepbid_rt.train.imported_checkpoint import SEEN, is_imported, read_imported_checkpoint
from deepbid_rt.train.network import make_net

_FIRST = 16
"""Frames that wait for each other when a stream engine begins: they answer each other, so more than a recipe asks of a
recording, whose normalisation learns more from fewer, see docs/stream-engine.md, "What is noise"."""


def load_trained(
    source: Path, name: str, seen: Normalization | None = None, *, exact: bool = False, collapsed: bool = False
) -> tuple[nn.Module, ModelCard]:
    """Load the best network of a run, or that of a checkpoint file.

    Parameters
    ----------
    source : Path
        A run folder or a checkpoint file, ours or one of DeepBID or DeepCAD-RT.
    name : str
        The engine's name on the card.
    seen : Normalization, optional
        What a network of another project was trained to see; `SEEN` when left out. Ours know it themselves.
    exact : bool
        Let a network of another project see all that it can, see `deepbid_rt.train.imported_checkpoint.ImportedCheckpoint.card`.
    collapsed : bool
        Load a network even if it has collapsed, to look at it.

    Returns
    -------
    net : Module
        On the CPU, in evaluation mode.
    card : ModelCard

    Raises
    ------
    FileError
        When the checkpoint cannot be read.
    EngineError
        When it holds another network, or one that collapsed in training, or `seen` or `exact` are given for a
        checkpoint of ours.
    """
    path = best_of(source)
    data = read_tensors(path)
    if is_imported(data):
        seed = read_imported_checkpoint(data, path)
        net: nn.Module = unet3d.UNet3D(seed.width)
        net.load_state_dict(seed.weights)
        return net.eval(), seed.card(name, seen or SEEN, exact=exact)
    if seen or exact:
        raise EngineError(
            f"an offset rule or exact windows for {path}, a checkpoint of deepbid-rt",
            expected="these for checkpoints of other projects only",
            todo="leave --offset, --scale and --exact out",
        )
    checkpoint = as_checkpoint(data, path)
    if not collapsed:
        refuse_collapsed(checkpoint.response, path)
    net = make_net(checkpoint.recipe)
    net.load_state_dict(checkpoint.average)
    return net.eval(), make_card(checkpoint, name)


def make_card(checkpoint: Checkpoint, name: str) -> ModelCard:
    """Return the card of the engine that a checkpoint becomes.

    Raises
    ------
    EngineError
        When the recipe's window, hop and look-ahead do not make a valid card.
    """
    recipe = checkpoint.recipe
    layouts: tuple[Layout, ...] = ("collinear", "ordinary")
    trained = {word for recording in checkpoint.recordings for word in recording.split()}
    stream = recipe.mode == "stream"
    time: dict[str, Any] = (
        {"memories": recipe.memories, "views": recipe.views, "look_ahead": recipe.stream_look_ahead}
        if stream
        else {"window": recipe.window, "hop": recipe.hop, "look_ahead": recipe.look_ahead}
    )
    return ModelCard(
        name=name,
        kind="stream" if stream else "window",
        scan=tuple(layout for layout in layouts if layout in trained),
        **time,
        grid=unet2d.grid_of(recipe.levels) if stream else unet3d.GRID,
        normalization=Normalization(rule="calibrate", frames=_FIRST if stream else recipe.calibration_frames),
        training={
            "mode": recipe.mode,
            **({} if stream else {"network": recipe.network}),
            "width": recipe.width,
            "recipe": recipe.digest,
            "step": checkpoint.step,
            "steps": recipe.steps,
            "held_out": round(checkpoint.held_out, 6) if np.isfinite(checkpoint.held_out) else "not measured",
            "recordings": [f"{n} of {what}" for what, n in Counter(checkpoint.recordings).items()],
        },
    )
