"""The recipe: everything that decides what a training run does, in one frozen object and one TOML file.

It knows nothing of files other than its own, of recordings or of torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepbid_rt.card import Views
from deepbid_rt.errors import FileError
from deepbid_rt.train.recipe_rules import GRID as GRID
from deepbid_rt.train.recipe_rules import Augment, Balance, Decay, Mode, Network, check_type, check_values, wrong

_LATER = ("network", "accumulate", "augment", "minutes", "patience", "balance", "gap_weight", "views")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an engine is trained. Checked on construction, then frozen.

    The defaults are the preset ``window``; see `preset` for the others.
    """

    mode: Mode = "mp"
    """Where input and target come from: ``mp-collinear`` (forward and backward line of the same place), ``mp-rows``
    (even and odd lines of the same frames), ``mp-rows-stacked`` (the papers' version of it, two frames stacked),
    ``tp`` (even and odd frames), ``mp`` (``mp-collinear`` or ``mp-rows`` by each recording's own layout),
    ``tis`` (a volume and the next one), ``sis`` (even and odd slices of a volume),
    ``stream`` (as ``mp``, one frame and the memories of its past, for the stream engine)."""
    network: Network = "unet3d"
    """``unet3d``: the papers' 3D U-Net; ``rcan3d``: residual groups with channel attention, far slower. Mode stream
    has a network of its own."""
    width: int = 16
    """Channels after the network's first level; 16 is the U-Net's 1,020,337 parameters."""
    levels: int = 3
    """Mode stream: resolutions that the network works at, from half downwards, the channels doubled at each."""
    stream_look_ahead: int = 0
    """Mode stream: frames after the answered one that the network sees in its place (0 to 2); the engine's delay."""
    rcan: tuple[int, int] = (3, 5)
    """Network rcan3d: residual groups, and blocks in each."""
    memories: tuple[float, ...] = (0.4, 0.15, 0.05)
    """Mode stream: weight of the newest frame in each exponential average, as many as wanted, the slowest last."""
    patch: tuple[int, int, int] = (32, 96, 96)
    """(T, Y, X) that the network sees: frames, lines of one view, pixels; multiples of `GRID`. Mode stream: T is 1."""
    batch: int = 1
    """Patches per step, of all processes together."""
    accumulate: int = 1
    """Equal parts that a process works its patches of a step off in, so that fewer are in memory at once."""
    augment: Augment = "turns"
    """``turns``: flips, and quarter turns of square patches; ``flips``: scan lines stay lines; ``none``."""
    steps: int = 6000
    """Optimiser steps of the whole run, at most."""
    minutes: float = 0.0
    """The run ends after this time at the latest, the learning rate falling with whichever of steps and time is
    further; 0 sets no limit. With a limit the numbers depend on the machine's speed."""
    patience: int = 0
    """The run ends after this many held-out checks in a row without a better one; 0 never."""
    learning_rate: float = 6e-4
    """Adam's step size at its highest."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates, the papers' values."""
    warm_up_steps: int = 100
    """Steps over which the learning rate rises linearly from zero."""
    decay: Decay = "cosine"
    """``cosine``: after the warm-up the learning rate falls to zero at the last step; ``none``: it stays."""
    clip_norm: float = 1.0
    """Gradients longer than this (2-norm over all parameters) are shortened to it; 0 leaves them alone."""
    l1: float = 0.5
    """Weight of the mean absolute error in raw counts; see `deepbid_rt.train.objective.loss`."""
    mse: float = 0.5
    """Weight of the mean squared error in raw counts squared."""
    balance: Balance = "mean"
    """``mean``: of all errors; ``log``: of each pair's logarithm, so that bright recordings do not drown dim ones;
    ``signal``: of each pair's over the spread of its picture, which serves dim recordings better still."""
    gap_weight: float = 0.0
    """Weight of the gap-amending term, see `deepbid_rt.train.objective.gap_loss` (rDL: 1), for modes mp-rows,
    mp-rows-stacked and sis; costs a second pass of the network. 0 leaves it out."""
    ema_decay: float = 0.0
    """Decay per step of the running mean of the weights that is judged and exported; 0 turns it off."""
    seed: int = 0
    """Decides the first weights, every pair of every step, and the held-out pairs."""
    held_out: float = 0.15
    """Fraction of each recording's frames, at its end, that is only ever used to judge."""
    held_out_pairs: int = 2
    """Fixed pairs per recording that the held-out loss is measured on."""
    validate_every: int = 250
    """Steps between two measurements of the held-out loss."""
    checkpoint_every: int = 100
    """Steps between two checkpoints, the most that a kill can cost."""
    calibration_frames: int = 32
    """Frames at each recording's start that its offset and noise scale are measured on."""
    views: Views = "each"
    """Mode stream: what the exported engine sees of a frame, see `deepbid_rt.card.ModelCard.views`."""
    window: int = 32
    """Frames of one inference of the exported engine."""
    hop: int = 8
    """Frames answered by one inference of the exported engine."""
    look_ahead: int = 8
    """Frames after the answered ones that the exported engine sees; mode stream has `stream_look_ahead` instead."""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            check_type(f.name, getattr(self, f.name), f.default)
        check_values(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, TOML and checkpoints; `from_dict` is the exact inverse."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Read a recipe from plain data. Raises `EngineError` naming the first unknown key or wrong value."""
        known = [f.name for f in dataclasses.fields(cls)]
        for key in data:
            if key not in known:
                raise wrong(f"an unknown key {key!r}", f"some of {', '.join(known)}")
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
        return cls(**fields)

    @property
    def digest(self) -> str:
        """SHA-256 of what the mode reads, 64 hexadecimal digits; equal recipes have equal digests.

        Fields that came after the first engines count only where they say something, so that digests stay.
        """
        read = {
            "memories": self.mode == "stream",
            "levels": self.mode == "stream" and self.levels != 3,
            "stream_look_ahead": self.mode == "stream" and self.stream_look_ahead > 0,
            "rcan": self.network == "rcan3d",
            **{f.name: getattr(self, f.name) != f.default for f in dataclasses.fields(self) if f.name in _LATER},
        }
        content = {key: value for key, value in self.to_dict().items() if read.get(key, True)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_toml(self) -> str:
        """Return the text of a TOML file that `load_recipe` reads back to an equal recipe."""
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in self.to_dict().items())


PresetName = Literal["fast", "window", "paper"]
_PRESETS: dict[PresetName, dict[str, Any]] = {
    "fast": {
        "mode": "stream",
        "width": 24,
        "levels": 2,
        "memories": [0.4, 0.15, 0.03],
        "views": "mean",
        "patch": [1, 96, 96],
        "batch": 8,
        "steps": 4000,
        "learning_rate": 1.6e-3,
        "betas": [0.9, 0.999],
        "warm_up_steps": 500,
        "l1": 0.0,
        "mse": 1.0,
        "balance": "signal",
        "ema_decay": 0.995,
        "held_out_pairs": 4,
        "validate_every": 400,
        "checkpoint_every": 200,
        "calibration_frames": 8,
    },
    "window": {},
    "paper": {
        "patch": [104, 152, 152],
        "steps": 100_000,
        "learning_rate": 5e-5,
        "warm_up_steps": 0,
        "decay": "none",
        "clip_norm": 0.0,
        "validate_every": 5000,
        "checkpoint_every": 500,
    },
}


def preset(name: PresetName, **changes: Any) -> Recipe:
    """Return a named recipe.

    Parameters
    ----------
    name : {"fast", "window", "paper"}
        ``fast``: a stream engine like the shipped ``default``, in minutes on two cores. ``window``: the papers' network
        with one warm-up and one cosine decay at a high learning rate, in an hour. ``paper``: DeepBID's recipe (Adam
        5e-5, 100,000 steps, patches of 100 x 150 x 150 rounded to multiples of 8, no clipping, no decay), in days.
    **changes
        Fields to set otherwise.

    Raises
    ------
    EngineError
        When a changed field is unknown or has a wrong value.
    """
    return Recipe.from_dict(_PRESETS[name] | changes)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from a TOML file of the fields of `Recipe`; absent fields keep their defaults.

    Raises
    ------
    FileError
        When the file cannot be read or is not TOML.
    EngineError
        When a key is unknown or a value wrong.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(
            f"the recipe {path} cannot be read ({error})",
            expected="a TOML file of recipe fields",
            todo="correct the file or its path",
        ) from error
    return Recipe.from_dict(data)
