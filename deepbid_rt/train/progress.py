"""What a run tells while it goes on, and what it came to. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Ended = Literal["", "steps", "minutes", "patience"]


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """Where a run stands, after every step."""

    step: int
    steps: int
    loss: float
    """Training loss of this step, see `deepbid_rt.train.objective.loss`."""
    held_out: float
    """Latest held-out loss, see `Learner.judge`: 2 is the raw view, 1 is perfect. Infinite before the first."""
    best_held_out: float
    elapsed_s: float
    """Seconds since this call began."""
    left_s: float
    """Seconds that the remaining steps will take at the speed so far, or that are left of the recipe's minutes."""


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """What a run came to."""

    step: int
    steps: int
    interrupted: bool
    """True when it was stopped before its end; the same call goes on with it."""
    ended: Ended
    """What ended it: all steps done, the recipe's minutes over, or its patience; empty when it was interrupted."""
    held_out: float
    """Last held-out loss, see `TrainProgress.held_out`."""
    best_held_out: float
    best_step: int
    """0 when no check found a network that answers, see `deepbid_rt.train.collapse`."""
    response: float
    """How much the answers varied at the last check, see `deepbid_rt.train.learner.Validation`."""
    elapsed_s: float
    """Time of this call."""
    compute: str
    """Device and precision."""
    digest: str
    """Of the recipe."""
    run_dir: Path
    report: Path | None = None
    """The picture of what was learned, where one was asked for."""
