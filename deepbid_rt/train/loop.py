"""Starting a training run, or going on with one.

Knows nothing of file formats of recordings, of networks, of ONNX or of a screen; progress goes out by callback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy
from deepbid_rt.train.checkpoint import load_for_resume, replace_text, require_room
from deepbid_rt.train.collapse import ended_by_collapse, has_collapsed
from deepbid_rt.train.learner import Learner
from deepbid_rt.train.movie import BlockReader
from deepbid_rt.train.process_group import join_process_group
from deepbid_rt.train.progress import TrainProgress, TrainSummary
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import open_recordings
from deepbid_rt.train.run import Run
from deepbid_rt.train.run_log import RunLog
from deepbid_rt.train.starting_point import load_starting_point


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
    """Train an engine's network, or go on with a run that was stopped.

    Started by torchrun, several processes share each batch; one of them writes.

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
        Start from another run, checkpoint or engine (warm start), see `load_starting_point`; ignored when continuing a
        run.
    progress : callable, optional
        Called after every step, by the process that writes.
    planes : int
        Planes that were scanned in turn, see `open_recordings`.
    line_phase : float, "auto" or "off"
        What is done about backward lines that lie beside their forward lines, see `LinePhaseCorrector`; measured once for each
        recording.
    tensorboard : bool
        Log for TensorBoard too.
    report : bool
        Draw ``report.png`` once the run has ended.

    Returns
    -------
    TrainSummary
        After the end, or after Ctrl-C, which finishes the step and writes a checkpoint (main thread only).

    Raises
    ------
    StreamError
        When there is no recording, or one does not fit the recipe or cannot be learned from.
    EngineError
        When the folder holds a run of another recipe or other recordings, the starting point another network, or the
        batch cannot be shared by the processes.
    FileError
        When the folder cannot be written or has no room, or a checkpoint or recording cannot be read.
    StageError
        When the loss is not finite, a checkpoint could not be written, or the network answers one and the same to all
        at the run's end (`deepbid_rt.train.collapse`). The last checkpoint stays.
    """
    if not movies:
        raise StreamError("no recording to train on", expected="at least one", todo="name a recording")
    with join_process_group() as world:
        world.share(recipe.batch)
        pairs = zip(movies, scans, strict=True)
        opened = (open_recordings(movie, scan, recipe, planes, line_phase) for movie, scan in pairs)
        recordings = [recording for group in opened for recording in group]
        found = load_for_resume(run_dir, recipe, tuple(r.description for r in recordings))
        learner = Learner(recipe, world)
        if found:
            learner.restore(found)
        elif from_checkpoint:
            scales = [n.scale for r in recordings for n in r.normalizers]
            learner.warm_start(load_starting_point(from_checkpoint, sum(scales) / len(scales)))
        log = _prepare(run_dir, recipe, learner, found.step if found else 0, tensorboard) if not world.rank else None
        run = Run(recordings, recipe, run_dir, learner, log, found, world)
        with log or nullcontext():
            summary = run.go(progress if log else None)
    if report and log and not summary.interrupted:
        from deepbid_rt.train.training_report import draw_report  # loads matplotlib

        summary = replace(summary, report=draw_report(run_dir, recordings[0]))
    if not summary.interrupted and has_collapsed(summary.response):
        raise ended_by_collapse(summary.response, summary.step, summary.best_step)
    return summary


def _prepare(run_dir: Path, recipe: Recipe, learner: Learner, step: int, tensorboard: bool) -> RunLog:
    """Make the run's folder ready and open its log."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        require_room(run_dir, learner.state["weights"])
        replace_text(run_dir / "recipe.toml", recipe.to_toml())
        return RunLog(run_dir, step, tensorboard)
    except OSError as error:
        raise FileError(
            f"the run folder {run_dir} cannot be written ({error})",
            expected="a folder to write into",
            todo="choose another folder",
        ) from error
