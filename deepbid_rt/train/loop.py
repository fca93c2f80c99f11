"""The training loop: steps, held-out checks, checkpoints, resume, and a clean stop.

Knows nothing of file formats of recordings, of networks, of ONNX or of a screen; progress goes out by callback.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.train.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    load_checkpoint,
    load_for_resume,
    replace_text,
    save_checkpoint,
)
from deepbid_rt.train.learner import Learner
from deepbid_rt.train.memory_pairs import MemoryPairs
from deepbid_rt.train.movie import BlockReader
from deepbid_rt.train.objective import learning_rate
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import Recording, WindowPairs, open_recording
from deepbid_rt.train.stop import StopSignal

LOG = "log.jsonl"


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
    """Seconds that the remaining steps will take at the speed so far."""


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """What a run came to."""

    step: int
    steps: int
    interrupted: bool
    """True when it was stopped before its last step; the same call goes on with it."""
    held_out: float
    """Last held-out loss, see `TrainProgress.held_out`."""
    best_held_out: float
    best_step: int
    elapsed_s: float
    """Time of this call."""
    compute: str
    """Device and precision."""
    digest: str
    """Of the recipe."""
    run_dir: Path


def train(
    movies: Sequence[BlockReader],
    scans: Sequence[ScanGeometry],
    recipe: Recipe,
    run_dir: Path,
    from_checkpoint: Path | None = None,
    progress: Callable[[TrainProgress], None] | None = None,
) -> TrainSummary:
    """Train an engine's network, or go on with a run that was stopped.

    Parameters
    ----------
    movies : sequence of BlockReader
        Recordings in raw counts.
    scans : sequence of ScanGeometry
        How the lines of each lie.
    recipe : Recipe
        What to do.
    run_dir : Path
        Folder for checkpoints and log; made when absent. A run found there is continued.
    from_checkpoint : Path, optional
        Start from the weights and optimiser state of another run (warm start); ignored when continuing a run.
    progress : callable, optional
        Called after every step.

    Returns
    -------
    TrainSummary
        After the last step, or after Ctrl-C, which finishes the step and writes a checkpoint (main thread only).

    Raises
    ------
    StreamError
        When there is no recording, or one does not fit the recipe.
    EngineError
        When the folder holds a run of another recipe or other recordings, or the starting point another width.
    FileError
        When the folder cannot be written or a checkpoint not read.
    StageError
        When the loss is not finite. The last checkpoint stays.
    """
    if not movies:
        raise StreamError("no recording to train on", expected="at least one", todo="name a recording")
    recordings = [open_recording(movie, scan, recipe) for movie, scan in zip(movies, scans, strict=True)]
    found = load_for_resume(run_dir, recipe, tuple(r.description for r in recordings))
    learner = Learner(recipe)
    if found:
        learner.restore(found)
    elif from_checkpoint:
        learner.warm_start(load_checkpoint(from_checkpoint))
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        replace_text(run_dir / "recipe.toml", recipe.to_toml())
        _cut_log(run_dir / LOG, found.step if found else 0)
        log = (run_dir / LOG).open("a", encoding="utf-8", newline="\n")
    except OSError as error:
        raise FileError(
            f"the run folder {run_dir} cannot be written ({error})",
            expected="a folder to write into",
            todo="choose another folder",
        ) from error
    with log, StopSignal() as stop:
        return _Run(recordings, recipe, run_dir, learner, log, found).go(stop, progress)


class _Run:
    """A run in memory."""

    def __init__(
        self,
        recordings: list[Recording],
        recipe: Recipe,
        run_dir: Path,
        learner: Learner,
        log: TextIO,
        found: Checkpoint | None,
    ) -> None:
        self._recordings, self._recipe, self._run_dir = recordings, recipe, run_dir
        self._learner, self._log = learner, log
        self._pairs = MemoryPairs(recordings, recipe) if recipe.mode == "stream" else WindowPairs(recordings, recipe)
        self._held_out_batches = self._pairs.held_out()
        self._step = found.step if found else 0  # finished steps
        self._held_out = found.held_out if found else math.inf
        self._best = found.best_held_out if found else math.inf
        self._best_step = found.best_step if found else 0

    def go(self, stop: StopSignal, progress: Callable[[TrainProgress], None] | None) -> TrainSummary:
        """Run to the last step or to the stop signal."""
        recipe, began, first = self._recipe, time.perf_counter(), self._step
        while self._step < recipe.steps and not stop.seen:
            loss = self._one_step()
            if self._due(recipe.validate_every):
                self._validate()
            if self._due(recipe.checkpoint_every):
                self._save(LAST)
            if progress:
                elapsed = time.perf_counter() - began
                left = elapsed / (self._step - first) * (recipe.steps - self._step)
                progress(TrainProgress(self._step, recipe.steps, loss, self._held_out, self._best, elapsed, left))
        if stop.seen:
            self._save(LAST)
        return TrainSummary(
            step=self._step,
            steps=recipe.steps,
            interrupted=self._step < recipe.steps,
            held_out=self._held_out,
            best_held_out=self._best,
            best_step=self._best_step,
            elapsed_s=time.perf_counter() - began,
            compute=self._learner.compute.description,
            digest=recipe.digest,
            run_dir=self._run_dir,
        )

    def _due(self, every: int) -> bool:
        return self._step % every == 0 or self._step == self._recipe.steps

    def _one_step(self) -> float:
        loss = self._learner.learn(self._pairs.draw(self._step), self._step)
        self._require_finite(loss, "training")
        rate = learning_rate(self._recipe, self._step)
        self._step += 1
        self._write({"step": self._step, "loss": loss, "learning_rate": rate})
        return loss

    def _validate(self) -> None:
        self._held_out = self._learner.judge(self._held_out_batches)
        self._require_finite(self._held_out, "held-out")
        self._write({"step": self._step, "held_out": self._held_out})
        if self._held_out < self._best:
            self._best, self._best_step = self._held_out, self._step
            self._save(BEST)

    def _require_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise StageError(
                f"the {what} loss became {value} after {self._step} steps",
                expected="a finite number",
                todo="look for NaN in the recordings or lower the recipe's learning_rate; the last checkpoint is kept",
            )

    def _save(self, name: str) -> None:
        checkpoint = Checkpoint(
            recipe=self._recipe,
            recordings=tuple(r.description for r in self._recordings),
            step=self._step,
            held_out=self._held_out,
            best_held_out=self._best,
            best_step=self._best_step,
            **self._learner.state,
        )
        save_checkpoint(self._run_dir / name, checkpoint)

    def _write(self, entry: dict[str, Any]) -> None:
        self._log.write(json.dumps(entry) + "\n")
        self._log.flush()


def _cut_log(path: Path, step: int) -> None:
    """Drop what a killed run logged after its last checkpoint: those steps will be done again."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        replace_text(path, "".join(line + "\n" for line in kept))
