"""Checkpoints of a training run: the files from which it is continued or exported.

A run's folder holds ``last.pt`` (to continue from), ``best.pt`` (lowest held-out loss), ``recipe.toml`` and
``log.jsonl``. Files are replaced as a whole: if the process is killed while writing, the previous file stays.
"""

from __future__ import annotations

import math
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.train.progress import EndReason
from deepbid_rt.train.recipe import Recipe

CHECKPOINT_VERSION = 1
LAST, BEST = "last.pt", "best.pt"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a run after ``step`` steps."""

    recipe: Recipe
    recordings: tuple[str, ...]
    """`Recording.description` of each recording."""
    step: int
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    """Running mean of the weights, which is validated and exported; equal to `weights` if the recipe has none."""
    optimizer: Mapping[str, Any]
    held_out: float
    """Held-out loss of `average` in noise variances; infinite before the first validation."""
    best_held_out: float
    """Lowest held-out loss so far."""
    best_step: int
    """Step at which it was reached."""
    elapsed_s: float = 0.0
    """Time that the run took so far, over all calls."""
    ended: EndReason = ""
    """Why the run has ended; empty while it can be continued."""
    response: float = math.inf
    """How much the outputs of `average` on held-out frames vary, see `deepbid_rt.train.learner.Validation`.

    Infinite before the first validation, and in old checkpoints, which do not have this value.
    """


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: after an error, the previous file is unchanged.

    Raises
    ------
    FileError
        When the file cannot be written.
    """
    data = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    data |= {"version": CHECKPOINT_VERSION, "recipe": checkpoint.recipe.to_dict()}
    data |= {"recordings": list(checkpoint.recordings)}
    data |= {name: dict(data[name]) for name in ("weights", "average", "optimizer")}
    part = path.with_name(path.name + ".part")
    try:
        torch.save(data, part)
        part.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        part.unlink(missing_ok=True)
        raise FileError(
            f"the checkpoint {path} cannot be written ({error})",
            expected="a folder with room for it",
            todo="make room or choose another folder; the previous checkpoint is unchanged",
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, its tensors to the CPU.

    Raises
    ------
    FileError
        When the file is absent or not a checkpoint.
    EngineError
        When it has another version, or its recipe is not valid in this version of the package.
    """
    return as_checkpoint(read_tensors(path), path)


def read_tensors(path: Path) -> Any:
    """Return the content of a torch file: numbers, text and tensors on the CPU. Code in it is never run.

    Raises
    ------
    FileError
        When the file is absent, damaged, or holds anything else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise FileError(
            f"the checkpoint {path} cannot be read ({f'{type(error).__name__}: {error}'.splitlines()[0]})",
            expected="a file written by deepbid-rt train",
            todo="check the path, or train again into an empty folder",
        ) from error


def as_checkpoint(data: Any, path: Path) -> Checkpoint:
    """Return the content of ``path``, as `read_tensors` returned it, as a checkpoint. Raises as `load_checkpoint`."""
    if not isinstance(data, dict) or data.get("version") != CHECKPOINT_VERSION:
        came = data.get("version") if isinstance(data, dict) else type(data).__name__
        raise EngineError(
            f"the checkpoint {path} of version {came}",
            expected=f"version {CHECKPOINT_VERSION}",
            todo="use the deepbid-rt that wrote it, or train again",
        )
    del data["version"]
    return Checkpoint(
        **data | {"recipe": Recipe.from_dict(data["recipe"]), "recordings": tuple(data["recordings"])},
    )


def best_checkpoint_path(source: Path) -> Path:
    """Return ``source`` if it is a file; of a run's folder ``best.pt``, or ``last.pt`` if there is none yet."""
    if not source.is_dir():
        return source
    return source / (BEST if (source / BEST).exists() else LAST)


def require_disk_space(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Raise `FileError` when a folder's disk is too full for the checkpoints of a network."""
    # Weights, their mean and Adam's two moments, in bytes.
    size = 4 * sum(w.numel() * w.element_size() for w in weights.values())
    free = shutil.disk_usage(folder).free
    if free < 3 * size:  # last, best, and the file being written
        raise FileError(
            f"the disk of {folder} has {free / 1e6:.0f} MB left",
            expected=f"room for checkpoints, {3 * size / 1e6:.0f} MB",
            todo="make room or choose another folder",
        )


def load_for_resume(run_dir: Path, recipe: Recipe, recordings: tuple[str, ...]) -> Checkpoint | None:
    """Return the run's last checkpoint, or None when the folder holds none.

    Raises
    ------
    EngineError
        When it was made with another recipe or from other recordings.
    """
    path = run_dir / LAST
    if not path.exists():
        return None
    checkpoint = load_checkpoint(path)
    if checkpoint.recipe.digest != recipe.digest:
        raise EngineError(
            f"the run in {run_dir} was started with recipe {checkpoint.recipe.digest[:12]} (now {recipe.digest[:12]})",
            expected="the same recipe when a run is continued",
            todo="restore recipe.toml, or train into an empty folder with the old run as starting point",
        )
    if checkpoint.recordings != recordings:
        raise EngineError(
            f"the run in {run_dir} was started with the recordings {'; '.join(checkpoint.recordings)}",
            expected=f"the same as now: {'; '.join(recordings)}",
            todo="give the same recordings, or train into an empty folder with the old run as starting point",
        )
    return checkpoint


def replace_text(path: Path, text: str) -> None:
    """Write a small UTF-8 text file atomically."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8", newline="\n")
    os.replace(part, path)  # noqa: PTH105  # os.replace is atomic on POSIX and on Windows
