"""Loads a trained network with its model card, from a run or a checkpoint (also of other projects)."""

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
from deepbid_rt.train.checkpoint import Checkpoint, as_checkpoint, best_checkpoint_path, read_tensors
from deepbid_rt.train.collapse import refuse_collapsed
from deepbid_rt.train.imported_checkpoint import DEFAULT_NORMALIZATION, is_imported, read_imported_checkpoint
from deepbid_rt.train.network import make_net

_STREAM_CALIBRATION_FRAMES = 16
"""First frames of a series that a stream engine calibrates on.

They are denoised together at the end of the calibration, each with temporal averages of the others, and more of them
give better averages. This is independent of the recipe's `calibration_frames`: there, fewer frames are better, see
docs/lab-notes/2026-11-29-quality.md, "What is noise".
"""


def load_trained(
    source: Path,
    name: str,
    normalization: Normalization | None = None,
    *,
    exact: bool = False,
    allow_collapsed: bool = False,
) -> tuple[nn.Module, ModelCard]:
    """Load the best network of a run, or the network of a checkpoint file.

    Parameters
    ----------
    source : Path
        A run folder, or a checkpoint file of this package, of DeepBID or of DeepCAD-RT.
    name : str
        The engine's name on the card.
    normalization : Normalization, optional
        Normalisation that a network of another project was trained with; the default is `DEFAULT_NORMALIZATION`.
        Checkpoints of this package state their own.
    exact : bool
        Use windows as long as the receptive field of a network of another project, see
        `deepbid_rt.train.imported_checkpoint.ImportedCheckpoint.card`.
    allow_collapsed : bool
        Load a network even if it has collapsed, to inspect it.

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
        When it holds an unsupported network, or one that collapsed in training, or when `normalization` or `exact` are
        given for a checkpoint of this package.
    """
    path = best_checkpoint_path(source)
    data = read_tensors(path)
    if is_imported(data):
        imported = read_imported_checkpoint(data, path)
        net: nn.Module = unet3d.UNet3D(imported.width)
        net.load_state_dict(imported.weights)
        return net.eval(), imported.card(name, normalization or DEFAULT_NORMALIZATION, exact=exact)
    if normalization or exact:
        raise EngineError(
            f"an offset rule or exact windows for {path}, a checkpoint of deepbid-rt",
            expected="these options only for checkpoints of other projects",
            todo="leave --offset, --scale and --exact out",
        )
    checkpoint = as_checkpoint(data, path)
    if not allow_collapsed:
        refuse_collapsed(checkpoint.response, path)
    net = make_net(checkpoint.recipe)
    net.load_state_dict(checkpoint.average)
    return net.eval(), make_card(checkpoint, name)


def make_card(checkpoint: Checkpoint, name: str) -> ModelCard:
    """Return the model card of the engine made from a checkpoint.

    Raises
    ------
    EngineError
        When the recipe's window, hop and look-ahead are not valid on a card.
    """
    recipe = checkpoint.recipe
    layouts: tuple[Layout, ...] = ("collinear", "ordinary")
    trained_layouts = {word for recording in checkpoint.recordings for word in recording.split()}
    stream = recipe.mode == "stream"
    calibration_frames = _STREAM_CALIBRATION_FRAMES if stream else recipe.calibration_frames
    time: dict[str, Any] = (
        {"memories": recipe.memories, "views": recipe.views, "look_ahead": recipe.stream_look_ahead}
        if stream
        else {"window": recipe.window, "hop": recipe.hop, "look_ahead": recipe.look_ahead}
    )
    return ModelCard(
        name=name,
        kind="stream" if stream else "window",
        scan=tuple(layout for layout in layouts if layout in trained_layouts),
        **time,
        grid=unet2d.grid_of(recipe.levels) if stream else unet3d.GRID,
        normalization=Normalization(rule="calibrate", frames=calibration_frames),
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
