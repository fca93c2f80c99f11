"""What the fields of a recipe may be: their types, their ranges, and how they bind each other.

Knows nothing of files or of what the fields do.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Literal, get_args

from deepbid_rt.card import Views
from deepbid_rt.errors import EngineError

if TYPE_CHECKING:
    from deepbid_rt.train.recipe import Recipe

Mode = Literal["mp", "mp-collinear", "mp-rows", "mp-rows-stacked", "tp", "tis", "sis", "stream"]
Network = Literal["unet3d", "rcan3d"]
Augment = Literal["turns", "flips", "none"]
Decay = Literal["cosine", "none"]
Balance = Literal["mean", "log", "signal"]

OF_ANY_LENGTH = ("memories",)
"""Fields that are lists; all others have as many numbers as their default."""
GRID = 8
"""Frames, lines and pixels of a patch are multiples of this, as are window and hop of the exported engine."""


def wrong(came: str, expected: str) -> EngineError:
    """Return the error for a recipe that has ``came``."""
    return EngineError(f"the recipe has {came}", expected=expected, todo="correct the recipe")


def check_type(key: str, value: object, default: object) -> None:
    """Raise `EngineError` when a field is not of the type of its default."""
    if isinstance(default, tuple):
        several = key in OF_ANY_LENGTH
        fits = isinstance(value, tuple) and (bool(value) if several else len(value) == len(default))
        if fits and isinstance(value, tuple):
            for item in value:
                check_type(key, item, default[0])
        kind = "a list of numbers" if several else f"{len(default)} numbers"
    elif isinstance(default, float):
        fits, kind = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    elif isinstance(default, int):
        fits, kind = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    else:
        fits, kind = isinstance(value, str), "a word in quotes"
    if not fits:
        raise wrong(f"{key} = {value!r}", kind)


def check_values(r: Recipe) -> None:
    """Raise `EngineError` naming the first field out of its range."""
    sides = r.patch[1:] if r.mode == "stream" else r.patch
    rules = [
        ("mode", r.mode in get_args(Mode), f"one of {', '.join(get_args(Mode))}"),
        ("decay", r.decay in get_args(Decay), f"one of {', '.join(get_args(Decay))}"),
        ("balance", r.balance in get_args(Balance), f"one of {', '.join(get_args(Balance))}"),
        ("views", r.views in get_args(Views), f"one of {', '.join(get_args(Views))}"),
        ("network", r.network in get_args(Network), f"one of {', '.join(get_args(Network))}"),
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
            "flips or none together with gap_weight, which has to know the lines",
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
    for key, right, expected in rules:
        if not right:
            raise wrong(f"{key} = {getattr(r, key)!r}", expected)


_AT_LEAST_1 = ("width", "batch", "steps", "held_out_pairs", "validate_every", "checkpoint_every")
