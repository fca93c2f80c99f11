"""The recipe: all settings of a training run, in one frozen object and one TOML file."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from deepbid_rt.card import ViewInput
from deepbid_rt.errors import EngineError, FileError

TrainingMode = Literal["mp", "mp-collinear", "mp-rows", "mp-rows-stacked", "tp", "tis", "sis", "stream"]
NetworkName = Literal["unet3d", "rcan3d"]
Augment = Literal["turns", "flips", "none"]
Decay = Literal["cosine", "none"]
Balance = Literal["mean", "log", "signal"]

GRID = 8
"""Frames, lines and pixels of a patch are multiples of this, as are window and hop of the exported engine."""
_ANY_LENGTH = ("memories",)
"""Tuple fields of any length; all others have as many numbers as their default."""
_ADDED_LATER = ("network", "accumulate", "augment", "minutes", "patience", "balance", "gap_weight", "views")
"""Fields that are newer than the first engines, whose digests must stay the same, see `Recipe.digest`."""
_AT_LEAST_1 = ("width", "batch", "steps", "held_out_pairs", "validate_every", "checkpoint_every")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a training run, checked on construction.

    The defaults are the preset ``window``; see `preset` for the others.

    Raises
    ------
    EngineError
        When a field has a wrong type or value; the message names the first one.
    """

    mode: TrainingMode = "mp"
    """Where input and target come from: ``mp-collinear`` (forward and backward line of the same place), ``mp-rows``
    (even and odd lines of the same frames), ``mp-rows-stacked`` (the papers' version of it, two frames stacked),
    ``tp`` (even and odd frames), ``mp`` (``mp-collinear`` or ``mp-rows``, by the layout of each recording),
    ``tis`` (a volume and the next one), ``sis`` (even and odd slices of a volume),
    ``stream`` (as ``mp``, one frame and its temporal averages, for the stream engine)."""
    network: NetworkName = "unet3d"
    """``unet3d``: the papers' 3D U-Net; ``rcan3d``: residual groups with channel attention, far slower. Mode stream
    always uses the 2D U-Net of the stream engine."""
    width: int = 16
    """Channels after the network's first level. With 16 the U-Net has 1,020,337 parameters."""
    levels: int = 3
    """Mode stream: number of resolutions of the network, from half resolution downwards; each has twice the channels of
    the one above."""
    stream_look_ahead: int = 0
    """Mode stream: later frames among the network's inputs (0 to 2), which is the delay of the engine."""
    rcan: tuple[int, int] = (3, 5)
    """Network rcan3d: residual groups, and blocks in each."""
    memories: tuple[float, ...] = (0.4, 0.15, 0.05)
    """Mode stream: weight of the newest frame in each temporal average, the slowest last. Any number of them."""
    patch: tuple[int, int, int] = (32, 96, 96)
    """(T, Y, X) of the network's input: frames, lines of one view, pixels; multiples of `GRID`. Mode stream: T is 1."""
    batch: int = 1
    """Patches per step, of all processes together."""
    accumulate: int = 1
    """Number of equal parts in which a process computes its patches of a step one after another, to use less memory."""
    augment: Augment = "turns"
    """``turns``: flips, and quarter turns of square patches; ``flips``: scan lines stay lines; ``none``."""
    steps: int = 6000
    """Optimiser steps of the whole run, at most."""
    minutes: float = 0.0
    """Time limit of the run; 0 sets none. The learning rate falls with the steps or the time, whichever is further
    along. With a limit, the result depends on the speed of the machine."""
    patience: int = 0
    """The run ends after this many validations in a row without a better held-out loss; 0: never."""
    learning_rate: float = 6e-4
    """Adam's largest step size."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates; the papers' values."""
    warm_up_steps: int = 100
    """Steps over which the learning rate rises linearly from zero."""
    decay: Decay = "cosine"
    """``cosine``: after the warm-up the learning rate falls to zero at the last step; ``none``: it stays constant."""
    clip_norm: float = 1.0
    """Gradients with a larger 2-norm (over all parameters) are scaled down to it; 0 turns this off."""
    l1: float = 0.5
    """Weight of the mean absolute error in raw counts; see `deepbid_rt.train.objective.loss`."""
    mse: float = 0.5
    """Weight of the mean squared error in raw counts squared."""
    balance: Balance = "mean"
    """``mean``: the loss is the mean over all pixels; ``log``: the mean over pairs of the logarithm, so that bright
    recordings do not dominate dim ones; ``signal``: each pair is divided by the contrast of its picture, which is even
    better for dim recordings."""
    gap_weight: float = 0.0
    """Weight of the gap-amending term, see `deepbid_rt.train.objective.gap_loss` (rDL: 1), for modes mp-rows,
    mp-rows-stacked and sis. It needs a second pass of the network. 0 turns it off."""
    ema_decay: float = 0.0
    """Decay per step of the running mean of the weights, which is validated and exported; 0 turns it off."""
    seed: int = 0
    """Random seed of the initial weights, of all pairs, and of the held-out pairs."""
    held_out: float = 0.15
    """Fraction of each recording's frames, at its end, that is used for validation only."""
    held_out_pairs: int = 2
    """Fixed pairs per recording that the held-out loss is computed on."""
    validate_every: int = 250
    """Steps between two validations."""
    checkpoint_every: int = 100
    """Steps between two checkpoints, which is the most that is lost when the process is killed."""
    calibration_frames: int = 32
    """Frames at the start of each recording that its offset and noise are measured on."""
    views: ViewInput = "each"
    """Mode stream: input of the exported engine, see `deepbid_rt.card.ModelCard.views`."""
    window: int = 32
    """Frames of one inference of the exported engine."""
    hop: int = 8
    """Frames denoised by one inference of the exported engine."""
    look_ahead: int = 8
    """Frames after the denoised ones in the window of the exported engine; mode stream uses `stream_look_ahead`."""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            _check_type(f.name, getattr(self, f.name), f.default)
        _check_values(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, TOML and checkpoints; `from_dict` is the exact inverse."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Make a recipe from plain data. Raises `EngineError` naming the first unknown key or wrong value."""
        names = [f.name for f in dataclasses.fields(cls)]
        for key in data:
            if key not in names:
                raise _recipe_error(f"an unknown key {key!r}", f"some of {', '.join(names)}")
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
        return cls(**fields)

    @property
    def digest(self) -> str:
        """SHA-256 of the fields that the mode uses, 64 hexadecimal digits; equal recipes have equal digests.

        Fields in `_ADDED_LATER` are included only if they differ from their default, so that old digests stay the same.
        """
        used = {
            "memories": self.mode == "stream",
            "levels": self.mode == "stream" and self.levels != 3,
            "stream_look_ahead": self.mode == "stream" and self.stream_look_ahead > 0,
            "rcan": self.network == "rcan3d",
            **{f.name: getattr(self, f.name) != f.default for f in dataclasses.fields(self) if f.name in _ADDED_LATER},
        }
        content = {key: value for key, value in self.to_dict().items() if used.get(key, True)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_toml(self) -> str:
        """Return the text of a TOML file from which `load_recipe` reads an equal recipe."""
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in self.to_dict().items())


def _recipe_error(came: str, expected: str) -> EngineError:
    return EngineError(f"the recipe has {came}", expected=expected, todo="correct the recipe")


def _check_type(key: str, value: object, default: object) -> None:
    """Raise `EngineError` when a field does not have the type of its default."""
    if isinstance(default, tuple):
        any_length = key in _ANY_LENGTH
        fits = isinstance(value, tuple) and (bool(value) if any_length else len(value) == len(default))
        if fits and isinstance(value, tuple):
            for item in value:
                _check_type(key, item, default[0])
        kind = "a list of numbers" if any_length else f"{len(default)} numbers"
    elif isinstance(default, float):
        fits, kind = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    elif isinstance(default, int):
        fits, kind = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    else:
        fits, kind = isinstance(value, str), "a word in quotes"
    if not fits:
        raise _recipe_error(f"{key} = {value!r}", kind)


def _check_values(r: Recipe) -> None:
    """Raise `EngineError` naming the first field whose value is out of range or contradicts another field."""
    sides = r.patch[1:] if r.mode == "stream" else r.patch
    rules = [
        ("mode", r.mode in get_args(TrainingMode), f"one of {', '.join(get_args(TrainingMode))}"),
        ("decay", r.decay in get_args(Decay), f"one of {', '.join(get_args(Decay))}"),
        ("balance", r.balance in get_args(Balance), f"one of {', '.join(get_args(Balance))}"),
        ("views", r.views in get_args(ViewInput), f"one of {', '.join(get_args(ViewInput))}"),
        ("network", r.network in get_args(NetworkName), f"one of {', '.join(get_args(NetworkName))}"),
        ("levels", r.levels in (1, 2, 3), "1, 2 or 3"),
        ("stream_look_ahead", r.stream_look_ahead in (0, 1, 2), "0, 1 or 2"),
        ("rcan", min(r.rcan) >= 1, "at least 1 group of 1 block"),
        ("augment", r.augment in get_args(Augment), f"one of {', '.join(get_args(Augment))}"),
        ("patch", r.mode != "stream" or r.patch[0] == 1, "1 frame for mode stream"),
        ("patch", all(n >= GRID and n % GRID == 0 for n in sides), f"positive multiples of {GRID}"),
        ("memories", all(0 < gain < 1 for gain in r.memories), "numbers between 0 and 1"),
        ("memories", all(a > b for a, b in itertools.pairwise(r.memories)), "falling numbers, the slowest memory last"),
        ("betas", all(0 <= b < 1 for b in r.betas), "two numbers from 0 to below 1"),
        ("learning_rate", 0 < r.learning_rate < 1, "more than 0 and less than 1"),
        ("held_out", 0 < r.held_out <= 0.5, "more than 0 and at most 0.5"),
        ("ema_decay", 0 <= r.ema_decay < 1, "from 0 to below 1"),
        ("clip_norm", r.clip_norm >= 0, "0 or more"),
        ("minutes", 0 <= r.minutes < math.inf, "0 or more"),
        ("patience", r.patience >= 0, "0 or more"),
        ("gap_weight", 0 <= r.gap_weight < math.inf, "0 or more"),
        (
            "gap_weight",
            not r.gap_weight or r.mode in ("mp", "mp-rows", "mp-rows-stacked", "sis"),
            f"0 for mode {r.mode}, whose views have no gap between their lines or slices",
        ),
        (
            "augment",
            not r.gap_weight or r.augment != "turns",
            "flips or none together with gap_weight, because its lines must stay lines",
        ),
        ("accumulate", r.accumulate >= 1 and r.batch % r.accumulate == 0, f"a divisor of the batch of {r.batch}"),
        ("seed", r.seed >= 0, "0 or more"),
        ("l1", r.l1 >= 0, "0 or more"),
        ("mse", r.mse >= 0 and r.l1 + r.mse > 0, "0 or more, and not 0 together with l1"),
        ("warm_up_steps", 0 <= r.warm_up_steps <= r.steps, f"from 0 to the {r.steps} steps"),
        ("window", r.window >= GRID and r.window % GRID == 0, f"a positive multiple of {GRID}"),
        ("hop", r.hop >= GRID and r.hop % GRID == 0, f"a positive multiple of {GRID}"),
        (
            "look_ahead",
            GRID <= r.look_ahead <= r.window - r.hop,
            f"from {GRID} to window - hop = {r.window - r.hop}",
        ),
        *((key, getattr(r, key) >= 1, "at least 1") for key in _AT_LEAST_1),
        ("calibration_frames", r.calibration_frames >= 2, "at least 2"),
    ]
    for key, valid, expected in rules:
        if not valid:
            raise _recipe_error(f"{key} = {getattr(r, key)!r}", expected)


RecipeName = Literal["fast", "window", "paper"]
_PRESETS: dict[RecipeName, dict[str, Any]] = {
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


def preset(name: RecipeName, **changes: Any) -> Recipe:
    """Return a named recipe.

    Parameters
    ----------
    name : {"fast", "window", "paper"}
        ``fast``: a stream engine like the shipped ``default``, in minutes on two cores. ``window``: the papers' network
        with one warm-up and one cosine decay at a high learning rate, in an hour. ``paper``: DeepBID's recipe (Adam
        5e-5, 100,000 steps, patches of 100 x 150 x 150 rounded up to multiples of 8, no clipping, no decay), in days.
    **changes
        Fields to change.

    Raises
    ------
    EngineError
        When a changed field is unknown or has a wrong value.
    """
    return Recipe.from_dict(_PRESETS[name] | changes)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from a TOML file with fields of `Recipe`; absent fields have their defaults.

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
