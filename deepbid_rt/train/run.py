"""A run in memory: steps, held-out checks, checkpoints, and the reasons to end.

Knows nothing of how recordings were opened, of networks or of a screen.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from deepbid_rt.errors import FileError, StageError
from deepbid_rt.train.budget import Budget
from deepbid_rt.train.checkpoint import BEST, LAST, Checkpoint, save_checkpoint
from deepbid_rt.train.collapse import collapse, has_collapsed
from deepbid_rt.train.learner import Learner, Validation
from deepbid_rt.train.objective import learning_rate
from deepbid_rt.train.process_group import ProcessGroup
from deepbid_rt.train.progress import Ended, TrainProgress, TrainSummary
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import Recording
from deepbid_rt.train.run_log import RunLog
from deepbid_rt.train.stop import StopSignal
from deepbid_rt.train.stream_pairs import StreamPairs
from deepbid_rt.train.window_pairs import WindowPairs

log = logging.getLogger(__name__)


class Run:
    """A run, new or taken up again.

    Parameters
    ----------
    recordings : list of Recording
    recipe : Recipe
    run_dir : Path
        An existing folder.
    learner : Learner
        As it was after the checkpoint's last step.
    log : RunLog or None
        None for processes that do not write. They decide nothing that the others do not.
    found : Checkpoint or None
        Where to go on.
    world : ProcessGroup
    """

    def __init__(
        self,
        recordings: list[Recording],
        recipe: Recipe,
        run_dir: Path,
        learner: Learner,
        log: RunLog | None,
        found: Checkpoint | None,
        world: ProcessGroup,
    ) -> None:
        self._recordings, self._recipe, self._run_dir = recordings, recipe, run_dir
        self._learner, self._log, self._world = learner, log, world
        self._pairs = StreamPairs(recordings, recipe) if recipe.mode == "stream" else WindowPairs(recordings, recipe)
        self._held_out_batches = self._pairs.held_out()
        self._step = found.step if found else 0  # finished steps
        self._held_out = found.held_out if found else math.inf
        self._response = found.response if found else math.inf
        self._best = found.best_held_out if found else math.inf
        self._best_step = found.best_step if found else 0
        self._ended: Ended = found.ended if found else ""
        self._budget = Budget(recipe.minutes, found.elapsed_s if found else 0.0)
        self._spent = self._budget.spent  # what all processes agree on
        self._check_s = 0.0  # longest time of a held-out check so far

    def go(self, progress: Callable[[TrainProgress], None] | None) -> TrainSummary:
        """Run to the end or to Ctrl-C.

        Raises
        ------
        StageError
            When the loss is not finite, or a checkpoint cannot be written.
        """
        recipe, began, first = self._recipe, time.perf_counter(), self._step
        if self._step >= recipe.steps:
            self._ended = "steps"
        if self._budget.limited and not self._ended:
            self._judge()  # to know how long the last one will take
        with StopSignal() as stop:
            while not self._ended and not self._world.any(stop.seen):
                loss, late = self._one_step()
                self._ended = "steps" if self._step == recipe.steps else "minutes" if late else ""
                if self._step % recipe.validate_every == 0 or self._ended:
                    self._validate()
                if self._step % recipe.checkpoint_every == 0 or self._ended:
                    self._save(LAST)
                if progress:
                    elapsed = time.perf_counter() - began
                    left = min(elapsed / (self._step - first) * (recipe.steps - self._step), self._budget.left_s)
                    progress(TrainProgress(self._step, recipe.steps, loss, self._held_out, self._best, elapsed, left))
        if not self._ended:
            self._save(LAST)
        return TrainSummary(
            step=self._step,
            steps=recipe.steps,
            interrupted=not self._ended,
            ended=self._ended,
            held_out=self._held_out,
            best_held_out=self._best,
            best_step=self._best_step,
            response=self._response,
            elapsed_s=time.perf_counter() - began,
            compute=self._learner.compute.description,
            digest=recipe.digest,
            run_dir=self._run_dir,
        )

    def _one_step(self) -> tuple[float, bool]:
        """Do one step. Return its loss and whether the time is over, as all processes agree on it."""
        began = time.perf_counter()
        pairs = self._pairs.draw(self._step, self._world.share(self._recipe.batch))
        share = self._learner.learn(pairs, self._step, self._spent)
        rate = learning_rate(self._recipe, self._step, self._spent)
        took = time.perf_counter() - began
        loss, spent, needed = self._world.total(
            (share, self._budget.spent, self._budget.spent_after(took + self._check_s))
        )
        self._require_finite(loss, "training")
        self._step += 1
        self._spent = spent / self._world.size
        if self._log:
            self._log.write(self._step, loss=loss, learning_rate=rate)
        return loss, needed / self._world.size >= 1

    def _judge(self) -> Validation:
        began = time.perf_counter()
        judged = self._learner.judge(self._held_out_batches)
        self._check_s = max(self._check_s, time.perf_counter() - began)
        return judged

    def _validate(self) -> None:
        judged = self._judge()
        self._held_out, self._response = judged.held_out, judged.response
        self._require_finite(self._held_out, "held-out")
        if self._log:
            self._log.write(self._step, held_out=self._held_out, response=self._response)
        silent = has_collapsed(self._response)
        if silent and self._log:
            log.warning("step %d: %s; unless it comes back the run fails", self._step, collapse(self._response))
        if self._held_out < self._best and not silent:  # in the dark one and the same answer can have the lowest error
            self._best, self._best_step = self._held_out, self._step
            self._save(BEST)
        elif 0 < self._recipe.patience <= (self._step - self._best_step) // self._recipe.validate_every:
            self._ended = self._ended or "patience"

    def _require_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise StageError(
                f"the {what} loss became {value} after {self._step} steps",
                expected="a finite number",
                todo="look for NaN in the recordings or lower the recipe's learning_rate; the last checkpoint is kept",
            )

    def _save(self, name: str) -> None:
        if not self._log:
            return
        checkpoint = Checkpoint(
            recipe=self._recipe,
            recordings=tuple(r.description for r in self._recordings),
            step=self._step,
            held_out=self._held_out,
            best_held_out=self._best,
            best_step=self._best_step,
            elapsed_s=self._budget.elapsed_s,
            ended=self._ended,
            response=self._response,
            **self._learner.state,
        )
        try:
            save_checkpoint(self._run_dir / name, checkpoint)
        except FileError as error:
            raise StageError(
                f"after {self._step} steps {error.came}", expected=error.expected, todo=f"{error.todo}, and go on"
            ) from error
