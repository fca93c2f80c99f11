"""Trains a network on recordings: starts a run or continues one, validates it, and saves checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy
from deepbid_rt.train.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    load_for_resume,
    replace_text,
    require_disk_space,
    save_checkpoint,
)
from deepbid_rt.train.collapse import collapse_error, describe_collapse, has_collapsed
from deepbid_rt.train.learner import Learner, Validation
from deepbid_rt.train.movie import BlockReader
from deepbid_rt.train.objective import learning_rate
from deepbid_rt.train.process_group import ProcessGroup, join_process_group
from deepbid_rt.train.progress import EndReason, TrainProgress, TrainSummary
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import Recording, open_recordings
from deepbid_rt.train.run_log import RunLog
from deepbid_rt.train.starting_point import load_starting_point
from deepbid_rt.train.stop import StopSignal
from deepbid_rt.train.stream_pairs import StreamPairs
from deepbid_rt.train.time_budget import TimeBudget
from deepbid_rt.train.window_pairs import WindowPairs

log = logging.getLogger(__name__)


def train(
    movies: Sequence[BlockReader],
    scans: Sequence[ScanGeometry],
    recipe: Recipe,
    run_dir: Path,
    from_checkpoint: Path | None = None,
    progress: Callable[[TrainProgress], None] | None = None,
    *,
    planes: int = 1,
    line_phase: LinePhasePolicy = "auto",
    tensorboard: bool = False,
    report: bool = False,
) -> TrainSummary:
    """Train the network of an engine, or continue a run that was stopped.

    If torchrun starts several processes, they share each batch, and process 0 writes the files.

    Parameters
    ----------
    movies : sequence of BlockReader
        Recordings in raw counts.
    scans : sequence of ScanGeometry
        Scan of each recording.
    recipe : Recipe
        Network, loss and schedule.
    run_dir : Path
        Folder for checkpoints and log; created if absent. A run found there is continued.
    from_checkpoint : Path, optional
        Start from the weights of another run, checkpoint or engine (warm start), see `load_starting_point`. Ignored
        when a run is continued.
    progress : callable, optional
        Called after every step, in process 0.
    planes : int
        Number of planes that were scanned in turn, see `open_recordings`.
    line_phase : float, "auto" or "off"
        Correction of the backward lines along x, see `LinePhaseCorrector`; measured once for each recording.
    tensorboard : bool
        Write a log for TensorBoard too.
    report : bool
        Draw ``report.png`` at the end of the run.

    Returns
    -------
    TrainSummary
        Returned at the end, or after Ctrl-C, which finishes the step and saves a checkpoint (main thread only).

    Raises
    ------
    StreamError
        When there is no recording, or a recording does not fit the recipe or cannot be trained on.
    EngineError
        When the folder holds a run with another recipe or other recordings, the starting point has another network, or
        the batch cannot be divided among the processes.
    FileError
        When the folder cannot be written or its disk is too full, or a checkpoint or recording cannot be read.
    StageError
        When the loss is not finite, a checkpoint cannot be written, or the network has collapsed at the end of the run
        (`deepbid_rt.train.collapse`). The last checkpoint is kept.
    """
    if not movies:
        raise StreamError("no recording to train on", expected="at least one", todo="name a recording")
    with join_process_group() as group:
        group.share(recipe.batch)  # raises now, not after the recordings have been read
        recordings = [
            recording
            for movie, scan in zip(movies, scans, strict=True)
            for recording in open_recordings(movie, scan, recipe, planes, line_phase)
        ]
        checkpoint = load_for_resume(run_dir, recipe, tuple(r.description for r in recordings))
        learner = Learner(recipe, group)
        if checkpoint:
            learner.restore(checkpoint)
        elif from_checkpoint:
            scales = [n.scale for r in recordings for n in r.normalizers]
            learner.warm_start(load_starting_point(from_checkpoint, sum(scales) / len(scales)))
        run_log = None
        if group.rank == 0:
            run_log = _open_run_dir(run_dir, recipe, learner, checkpoint.step if checkpoint else 0, tensorboard)
        run = TrainingRun(recordings, recipe, run_dir, learner, run_log, checkpoint, group)
        with run_log or nullcontext():
            summary = run.run(progress if run_log else None)
    if report and run_log and not summary.interrupted:
        from deepbid_rt.train.training_report import draw_report  # imports matplotlib

        summary = replace(summary, report=draw_report(run_dir, recordings[0]))
    if not summary.interrupted and has_collapsed(summary.response):
        raise collapse_error(summary.response, summary.step, summary.best_step)
    return summary


def _open_run_dir(run_dir: Path, recipe: Recipe, learner: Learner, step: int, tensorboard: bool) -> RunLog:
    """Create the folder of a run, write its recipe and open its log."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        require_disk_space(run_dir, learner.state["weights"])
        replace_text(run_dir / "recipe.toml", recipe.to_toml())
        return RunLog(run_dir, step, tensorboard)
    except OSError as error:
        raise FileError(
            f"the run folder {run_dir} cannot be written ({error})",
            expected="a folder to write into",
            todo="choose another folder",
        ) from error


class TrainingRun:
    """The training loop: steps, validation, checkpoints, and the conditions to end.

    Parameters
    ----------
    recordings : list of Recording
    recipe : Recipe
    run_dir : Path
        An existing folder.
    learner : Learner
        In the state of `checkpoint`.
    run_log : RunLog or None
        None in processes that write no files. They make the same decisions as process 0.
    checkpoint : Checkpoint or None
        Continue from here; None starts a new run.
    group : ProcessGroup
        The processes that train together.
    """

    def __init__(
        self,
        recordings: list[Recording],
        recipe: Recipe,
        run_dir: Path,
        learner: Learner,
        run_log: RunLog | None,
        checkpoint: Checkpoint | None,
        group: ProcessGroup,
    ) -> None:
        self._recordings, self._recipe, self._run_dir = recordings, recipe, run_dir
        self._learner, self._run_log, self._group = learner, run_log, group
        self._pairs = StreamPairs(recordings, recipe) if recipe.mode == "stream" else WindowPairs(recordings, recipe)
        self._held_out_batches = self._pairs.held_out_batches()
        self._step = checkpoint.step if checkpoint else 0  # finished steps
        self._held_out = checkpoint.held_out if checkpoint else math.inf
        self._response = checkpoint.response if checkpoint else math.inf
        self._best = checkpoint.best_held_out if checkpoint else math.inf
        self._best_step = checkpoint.best_step if checkpoint else 0
        self._ended: EndReason = checkpoint.ended if checkpoint else ""
        self._budget = TimeBudget(recipe.minutes, checkpoint.elapsed_s if checkpoint else 0.0)
        self._time_used = self._budget.used  # mean over all processes, so that it is the same in all
        self._validation_s = 0.0  # longest validation so far

    def run(self, progress: Callable[[TrainProgress], None] | None) -> TrainSummary:
        """Train to the end of the run or to Ctrl-C.

        Raises
        ------
        StageError
            When the loss is not finite, or a checkpoint cannot be written.
        """
        recipe, began, first_step = self._recipe, time.perf_counter(), self._step
        if self._step >= recipe.steps:
            self._ended = "steps"
        if self._budget.limited and not self._ended:
            self._timed_validation()  # its time is reserved for the last validation
        with StopSignal() as stop:
            while not self._ended and not self._group.any(stop.requested):
                loss, out_of_time = self._train_step()
                self._ended = "steps" if self._step == recipe.steps else "minutes" if out_of_time else ""
                if self._step % recipe.validate_every == 0 or self._ended:
                    self._validate()
                if self._step % recipe.checkpoint_every == 0 or self._ended:
                    self._save(LAST)
                if progress:
                    elapsed = time.perf_counter() - began
                    per_step = elapsed / (self._step - first_step)
                    left = min(per_step * (recipe.steps - self._step), self._budget.left_s)
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

    def _train_step(self) -> tuple[float, bool]:
        """Do one step. Return its loss, and whether there is no time for another one; the same in all processes."""
        began = time.perf_counter()
        batch = self._pairs.training_batch(self._step, self._group.share(self._recipe.batch))
        own_loss = self._learner.train_step(batch, self._step, self._time_used)
        rate = learning_rate(self._recipe, self._step, self._time_used)
        took = time.perf_counter() - began
        needed_s = took + self._validation_s  # for the next step and the last validation
        loss, used, used_after = self._group.total((own_loss, self._budget.used, self._budget.used_after(needed_s)))
        self._require_finite(loss, "training")
        self._step += 1
        self._time_used = used / self._group.size
        if self._run_log:
            self._run_log.write(self._step, loss=loss, learning_rate=rate)
        return loss, used_after / self._group.size >= 1

    def _timed_validation(self) -> Validation:
        began = time.perf_counter()
        validation = self._learner.validate(self._held_out_batches)
        self._validation_s = max(self._validation_s, time.perf_counter() - began)
        return validation

    def _validate(self) -> None:
        validation = self._timed_validation()
        self._held_out, self._response = validation.held_out, validation.response
        self._require_finite(self._held_out, "held-out")
        if self._run_log:
            self._run_log.write(self._step, held_out=self._held_out, response=self._response)
        collapsed = has_collapsed(self._response)
        if collapsed and self._run_log:
            log.warning("step %d: %s; unless it recovers, the run fails", self._step, describe_collapse(self._response))
        # On dark recordings a constant output can have the lowest error, so a collapsed network is never the best.
        if self._held_out < self._best and not collapsed:
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
        if not self._run_log:
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
                f"after {self._step} steps {error.came}",
                expected=error.expected,
                todo=f"{error.todo}, and continue the run",
            ) from error
