"""Progress and result of a training run, as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

EndReason = Literal["", "steps", "minutes", "patience"]


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """State of a run after a step."""

    step: int
    steps: int
    loss: float
    """Training loss of this step, see `deepbid_rt.train.objective.loss`."""
    held_out: float
    """Latest held-out loss, see `Learner.validate`: 2 for the raw view, 1 if perfect. Infinite before the first."""
    best_held_out: float
    elapsed_s: float
    """Seconds since this call of `train` started."""
    left_s: float
    """Estimated seconds to the end: for the remaining steps at the speed so far, or to the recipe's time limit."""


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """Result of a run."""

    step: int
    steps: int
    interrupted: bool
    """True when it was stopped before its end; the same call continues it."""
    ended: EndReason
    """What ended it: all steps done, the time limit, or the recipe's patience; empty when it was interrupted."""
    held_out: float
    """Last held-out loss, see `TrainProgress.held_out`."""
    best_held_out: float
    best_step: int
    """0 when the network was collapsed at every validation, see `deepbid_rt.train.collapse`."""
    response: float
    """How much the outputs varied at the last validation, see `deepbid_rt.train.learner.Validation`."""
    elapsed_s: float
    """Seconds that this call took."""
    compute: str
    """Device and number format."""
    digest: str
    """Digest of the recipe."""
    run_dir: Path
    report: Path | None = None
    """Path of ``report.png``, if a report was requested."""
