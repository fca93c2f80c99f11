"""``deepbid-rt train``: trains an engine on recordings, without clean data."""

from __future__ import annotations

import importlib.util
import os
from contextlib import ExitStack
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.config import ConfigOption
from deepbid_rt.cli.movie_facts import say_facts
from deepbid_rt.cli.output import number, print_json, progress_bar, say
from deepbid_rt.errors import EngineError, StreamError, require_effect
from deepbid_rt.movies.constant import check_not_constant
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.movie_source import scan_of
from deepbid_rt.movies.open_movie import open_movie_file
from deepbid_rt.runtimes import find_engine


class ModeChoice(StrEnum):
    """Where input and target come from."""

    MP = "mp"
    MP_COLLINEAR = "mp-collinear"
    MP_ROWS = "mp-rows"
    MP_ROWS_STACKED = "mp-rows-stacked"
    TP = "tp"
    TIS = "tis"
    SIS = "sis"
    STREAM = "stream"


class PresetChoice(StrEnum):
    """Preset recipe."""

    FAST = "fast"
    WINDOW = "window"
    PAPER = "paper"


def train_command(
    recordings: Annotated[
        list[Path], typer.Argument(metavar="RECORDING...", help="Raw recordings: files, folders, or patterns with *.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; a run found there is continued.")],
    mode: Annotated[ModeChoice | None, typer.Option(help="Where input and target come from.")] = None,
    preset_name: Annotated[
        PresetChoice | None,
        typer.Option("--preset", help="Preset recipe; the default is fast, or window if --mode is not stream."),
    ] = None,
    recipe_path: Annotated[
        Path | None, typer.Option("--recipe", help="Recipe file (TOML) instead of a preset.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps; overrides the recipe.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.0, help="Time limit in minutes; 0: no limit."),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option("--from", help="Fine-tune this run, checkpoint (.pt, .pth), engine file or shipped engine."),
    ] = None,
    scan: o.ScanOption = o.LayoutChoice.ORDINARY,
    first: o.FirstOption = o.DirectionChoice.FORWARD,
    unmirrored: o.UnmirroredOption = False,
    unidirectional: o.UnidirectionalOption = False,
    channels: o.MovieChannelsOption = None,
    planes: o.MoviePlanesOption = None,
    flyback: o.FlybackOption = None,
    dataset: o.DatasetOption = None,
    shape: o.RawShapeOption = None,
    dtype: o.RawTypeOption = None,
    line_phase: o.LinePhaseOption = "auto",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write a log for TensorBoard too.")] = False,
    config: ConfigOption = None,
    as_json: o.JsonOption = False,
) -> None:
    """Train on recordings. Ctrl-C saves a checkpoint; the same command continues from it."""
    require_effect(
        "--preset",
        preset_name,
        recipe_path is None,
        why="with --recipe",
        expected="a preset or a recipe file",
        todo="leave --recipe out",
    )
    policy = o.parse_line_phase(line_phase)
    geometry = o.scan_geometry(scan, first, unmirrored, unidirectional, policy)
    trainer, recipes, movies = _import_trainer()
    writes = int(os.environ.get("RANK", "0")) == 0  # only one of the processes that torchrun started reports
    changes: dict[str, Any] = {}
    if preset_name is None:
        preset_name = PresetChoice.WINDOW if mode not in (None, ModeChoice.STREAM) else PresetChoice.FAST
    recipe = recipes.load_recipe(recipe_path) if recipe_path else recipes.preset(preset_name.value)
    start = Path(start_from) if start_from else None
    if start and not start.exists() and not start.suffix:
        start = find_engine(start.name)
    if mode:
        changes["mode"] = mode.value
    if steps:
        changes |= {"steps": steps, "warm_up_steps": min(recipe.warm_up_steps, steps)}
    if minutes is not None:
        changes["minutes"] = minutes
    recipe = recipes.Recipe.from_dict(recipe.to_dict() | changes)
    if start and writes and (out / trainer.LAST).exists():
        # Accepted: a run is continued by the command that began it, which may have --from.
        say(f"the run in {out} is continued from its last checkpoint; --from had its effect when it began")
    with ExitStack() as stack:
        wanted = o.wanted(channels, planes, flyback, dataset, shape, dtype)
        files = [stack.enter_context(open_movie_file(path, wanted)) for path in recordings]
        for file in files:
            if writes:
                say_facts(file.path, file.facts)
            check_not_constant(file)
        bar = stack.enter_context(progress_bar(writes))
        task = bar.add_task("training", total=recipe.steps, note="")

        def report(progress: Any) -> None:
            left = f"{progress.left_s / 60:.0f} min left, " if recipe.minutes else ""
            note = f"{left}held-out loss {number(progress.held_out, 4)} (best {number(progress.best_held_out, 4)})"
            bar.update(task, completed=progress.step, note=note)

        file_movies = [movies.FileMovie(file) for file in files]
        scans = [scan_of(file.facts, geometry) for file in files]
        options = {"planes": _common_planes(files), "line_phase": policy, "tensorboard": tensorboard}
        summary = trainer.train(file_movies, scans, recipe, out, start, report, **options, report=True)
    if not writes:
        return
    if summary.interrupted:
        state = "interrupted; the same command continues it"
    else:
        state = f"done ({_END_REASONS[summary.ended]})"
    say(f"{state}: step {summary.step} of {summary.steps}, best held-out loss {summary.best_held_out:.4f} in {out}")
    if summary.report:
        say(f"losses and pictures: {summary.report}")
    if as_json:
        print_json({key: str(v) if isinstance(v, Path) else v for key, v in asdict(summary).items()})


def _common_planes(files: list[MovieFile]) -> int:
    """Return the number of planes of all recordings. Raises `StreamError` when they differ."""
    numbers = {file.facts.planes: file.path for file in files}
    if len(numbers) > 1:
        shown = ", ".join(f"{planes} in {path}" for planes, path in numbers.items())
        raise StreamError(
            f"recordings of different numbers of planes ({shown})",
            expected="the same number in all of them",
            todo="train on those of one kind, or say the number with --planes",
        )
    return files[0].facts.planes


_END_REASONS = {"steps": "all steps", "minutes": "time limit", "patience": "no improvement"}


def _import_trainer() -> tuple[Any, Any, Any]:
    """Import the trainer, which needs torch, and check that all packages needed later in a run are installed."""
    try:
        from deepbid_rt.train import movie, recipe, trainer

        for package in ("onnx", "onnxscript", "matplotlib"):
            if importlib.util.find_spec(package) is None:
                raise ModuleNotFoundError(name=package)
    except ImportError as error:
        raise EngineError(
            f"training without {error.name}",
            expected="the extra 'train' to be installed",
            todo='run pip install "deepbid-rt[train]"',
        ) from error
    return trainer, recipe, movie
