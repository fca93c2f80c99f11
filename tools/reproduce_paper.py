"""Reproduce the paper's table: train every self-supervised scheme for the same time and score it on unseen movies.

    OMP_NUM_THREADS=1 python tools/reproduce_paper.py --out runs/paper --minutes 4 --seeds 1 2 3 --correlations 0.44

For each noise level and seed, one movie of the preset is simulated. Every method is trained on this movie alone, for
the same processor time, and its engine denoises movies of other seeds. Each method, noise level and seed has a folder.
A complete folder is skipped, and an interrupted run continues where it stopped. ``table.md``, ``table.json`` and the
figures are made from all complete folders. A training that failed, for example because its network collapsed, is listed
and left out. The last line on stdout is one JSON object.

Trained methods: ``mp-ssl`` (forward and backward lines), ``tp-ssl`` (even and odd frames of the mean of both views,
with the same recipe), ``deepcad`` (the same pairs with DeepCAD-RT's optimiser: a constant learning rate of 5e-5, Adam,
no clipping, and patches twice as long), ``stream`` (this project's engine without delay). Methods that split by frames
get the mean of both views, so that all methods have the same light. Shipped engines, which were trained on many
simulated movies, can be added for comparison.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paper_table import write_figures, write_table

import deepbid_rt
from deepbid_rt.errors import StageError
from deepbid_rt.evaluation.baselines import gaussian, tune_gaussian
from deepbid_rt.evaluation.dynamics import dynamics
from deepbid_rt.evaluation.fourier import sharpness
from deepbid_rt.evaluation.movie import MovieReader, line_pair_means
from deepbid_rt.evaluation.paper import paper_metrics
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.simulator.presets import PRESET_NAMES, movie_preset
from deepbid_rt.simulator.synthetic import SyntheticSource
from deepbid_rt.train.export import export
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.progress import TrainProgress
from deepbid_rt.train.recipe import Recipe, load_recipe
from deepbid_rt.train.trainer import train

ROOT = Path(__file__).parents[1]
UNSEEN = 900
"""First seed of the test movies; training movies have smaller seeds."""
WINDOW: dict[str, Any] = {"window": 64, "hop": 32, "look_ahead": 16, "ema_decay": 0.98, "learning_rate": 1e-3}
DEEPCAD: dict[str, Any] = {"learning_rate": 5e-5, "decay": "none", "warm_up_steps": 0, "clip_norm": 0.0, "ema_decay": 0}
TRIAL_STEPS = 4
"""Steps that measure the time per step; the first is left out."""


def recipe_of(method: str, options: argparse.Namespace) -> Recipe:
    """Return the recipe of a method, without the number of steps."""
    if method == "stream":
        recipe = load_recipe(ROOT / "engines" / "default" / "recipe.toml")
        return dataclasses.replace(recipe, patch=(1, options.patch, options.patch), width=options.width * 2)
    changes: dict[str, Any] = {"mode": "mp-collinear" if method == "mp-ssl" else "tp", "width": options.width, **WINDOW}
    changes["patch"] = [options.patch_frames, options.patch, options.patch]
    if method == "deepcad":
        changes |= DEEPCAD | {"patch": [2 * options.patch_frames, options.patch, options.patch]}
    return Recipe.from_dict(changes)


METHODS = ("mp-ssl", "tp-ssl", "deepcad", "stream")
SHIPPED = ("default", "window", "average")


@dataclasses.dataclass(frozen=True)
class SimulatedMovie:
    """A simulated collinear movie."""

    pixels: NDArray[Any]
    """(T, 1, 2N, X) raw counts."""
    truth: NDArray[np.float32]
    """(T, 1, N, X) counts."""
    offset: float
    """Counts without light."""

    @property
    def raw(self) -> NDArray[np.float32]:
        """(T, 1, N, X) mean of both views."""
        return line_pair_means(self.pixels.astype(np.float32))

    def input_of(self, method: str) -> tuple[NDArray[Any], ScanGeometry]:
        """Return the movie as a method gets it, and its scan geometry."""
        if method not in ("tp-ssl", "deepcad"):
            return self.pixels, ScanGeometry("collinear")
        return self.raw, ScanGeometry("ordinary", bidirectional=False)


def simulate(options: argparse.Namespace, seed: int, correlation: float, frames: int) -> SimulatedMovie:
    """Simulate a movie."""
    size = (options.size, options.size)
    scene, microscope = movie_preset(options.preset, size, seed, correlation=correlation, motion_px=options.motion)
    source = SyntheticSource(scene, microscope, frames)
    dark = microscope.offset + microscope.gain * microscope.dark
    return SimulatedMovie(*source.render_movie(frames), dark)


def train_method(method: str, movie: SimulatedMovie, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train for the given time and export the engine; an interrupted run is finished with the planned steps."""
    pixels, geometry = movie.input_of(method)
    plan = folder / "plan.json"
    if not (resumed := plan.exists()):
        trial = recipe_of(method, options)
        trial = dataclasses.replace(trial, steps=TRIAL_STEPS, warm_up_steps=0)
        times_s: list[float] = []

        def record_time(_: TrainProgress) -> None:
            times_s.append(time.process_time())

        train([ArrayMovie(pixels)], [geometry], trial, folder / "trial", progress=record_time)
        shutil.rmtree(folder / "trial")
        # The last step also validates, so it is left out like the first.
        step_s = (times_s[-2] - times_s[0]) / (len(times_s) - 2)
        steps = max(2, round(options.minutes * 60 / step_s))
        plan.write_text(json.dumps({"steps": steps, "step_s": step_s}), encoding="utf-8")
    steps = json.loads(plan.read_text(encoding="utf-8"))["steps"]
    recipe = recipe_of(method, options)
    warm_up = min(recipe.warm_up_steps, steps // 10)
    recipe = dataclasses.replace(recipe, steps=steps, warm_up_steps=warm_up, validate_every=steps, checkpoint_every=50)
    started = time.process_time()
    summary = train([ArrayMovie(pixels)], [geometry], recipe, folder / "run")
    if summary.interrupted:
        raise KeyboardInterrupt
    spent_s = None if resumed else round(time.process_time() - started, 1)  # None when earlier time is unknown
    export(folder / "run", folder / "engine.onnx", method)
    return {"steps": steps, "cpu_s": spent_s, "held_out": summary.held_out}


def denoise(method: str, engine: str, movie: SimulatedMovie) -> NDArray[np.float32]:
    """Denoise a movie frame by frame, as in live use; returns (T, 1, N, X)."""
    pixels, geometry = movie.input_of(method)
    threads = 0 if engine == "average" else 1  # the engine average has no network, and so no threads
    return deepbid_rt.denoise(pixels, engine, geometry, threads=threads).astype(np.float32)


def score(movie: MovieReader | NDArray[Any], truth: NDArray[Any], offset: float) -> dict[str, float]:
    """Return the papers' metrics and the added ones, computed on counts above the detector's offset."""
    whole = (movie if isinstance(movie, np.ndarray) else movie.read(0, movie.shape[0])) - offset
    clean = truth - offset
    return {**paper_metrics(whole, clean), **dynamics(whole, clean), **sharpness(whole, clean)}


def views_of(movie: MovieReader | NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """Return one frame and one y-t image of a movie, for the figures."""
    whole = movie if isinstance(movie, np.ndarray) else movie.read(0, movie.shape[0])
    middle = whole[len(whole) // 2, 0], whole[:, 0, :, whole.shape[3] // 2].T
    return {"frame": middle[0].astype(np.float32), "yt": middle[1].astype(np.float32)}


def complete(folder: Path, scores: list[dict[str, Any]], views: dict[str, NDArray[np.float32]], **more: Any) -> None:
    """Write the results of a folder. ``scores.json``, which marks it as complete, is written last and atomically."""
    np.savez_compressed(folder / "views.npz", frame=views["frame"], yt=views["yt"])
    part = folder / "scores.json.part"
    part.write_text(json.dumps({"scores": scores, **more}), encoding="utf-8")
    part.replace(folder / "scores.json")


def run_references(options: argparse.Namespace, correlation: float, folder: Path) -> None:
    """Score the methods without training: the raw movies, and the best Gaussian, tuned with the truth of each."""
    tables: dict[str, list[dict[str, Any]]] = {"raw": [], "gaussian": []}
    views: dict[str, dict[str, NDArray[np.float32]]] = {}
    for number in range(options.unseen):
        movie = simulate(options, UNSEEN + number, correlation, options.judged_frames)
        tuned = tune_gaussian(movie.raw, movie.truth)
        movies: dict[str, MovieReader | NDArray[Any]] = {
            "raw": movie.raw,
            "gaussian": gaussian(movie.raw, tuned.sigma_xy, tuned.sigma_t),
        }
        for name, shown in movies.items():
            tables[name].append({"unseen": UNSEEN + number, **score(shown, movie.truth, movie.offset)})
        if number == 0:
            views = {name: views_of(shown) for name, shown in [*movies.items(), ("truth", movie.truth)]}
    for name, view in views.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        complete(folder / name, tables.get(name, []), view)


def run_method(options: argparse.Namespace, method: str, correlation: float, seed: int, folder: Path) -> None:
    """Train one engine and score it on the test movies."""
    folder.mkdir(parents=True, exist_ok=True)
    engine, trained = method, {}
    if method in METHODS:
        trained = train_method(method, simulate(options, seed, correlation, options.frames), options, folder)
        engine = str(folder / "engine.onnx")
    scores, views = [], {}
    for number in range(options.unseen):
        movie = simulate(options, UNSEEN + number, correlation, options.judged_frames)
        denoised = denoise(method, engine, movie)
        scores.append({"seed": seed, "unseen": UNSEEN + number, **score(denoised, movie.truth, movie.offset)})
        if number == 0:
            views = views_of(denoised)
    complete(folder, scores, views, **trained)
    print(f"{folder}: {trained} {scores[0]['correlation_xyt']:.3f}", file=sys.stderr, flush=True)


def main() -> None:
    """Run what is missing, then write table and figures of all complete folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/paper"))
    parser.add_argument("--methods", nargs="+", choices=METHODS + SHIPPED, default=list(METHODS))
    parser.add_argument("--preset", choices=PRESET_NAMES, default="calcium-vibrating")
    parser.add_argument("--motion", type=float, help="motion, pixels rms; default: that of the preset")
    parser.add_argument("--minutes", type=float, default=4.0, help="processor time of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help=f"training movies, below {UNSEEN}")
    parser.add_argument(
        "--correlations",
        type=float,
        nargs="+",
        default=[0.44],
        help="of raw movies with the truth",
    )
    parser.add_argument("--unseen", type=int, default=2, help="number of test movies")
    parser.add_argument("--size", type=int, default=128, help="lines and pixels")
    parser.add_argument("--frames", type=int, default=300, help="frames of a training movie")
    parser.add_argument("--judged-frames", type=int, default=160, help="frames of a test movie")
    parser.add_argument(
        "--width",
        type=int,
        default=16,
        help="of window networks; the stream network has twice this width",
    )
    parser.add_argument("--patch", type=int, default=96, help="lines and pixels of a patch")
    parser.add_argument("--patch-frames", type=int, default=32)
    options = parser.parse_args()
    failed: list[str] = []
    for correlation in options.correlations:
        level = options.out / f"r{correlation:g}"
        if not (level / "truth" / "scores.json").exists():
            run_references(options, correlation, level)
        for seed in options.seeds:
            for method in options.methods:
                folder = level / (f"{method}-{seed}" if method in METHODS else method)
                if not (folder / "scores.json").exists():
                    try:
                        run_method(options, method, correlation, seed, folder)
                    except StageError as error:
                        failed.append(str(folder))
                        print(f"{folder}: {error}", file=sys.stderr, flush=True)
                result = write_table(options.out, METHODS + SHIPPED)
    write_figures(options.out, METHODS + SHIPPED)
    print(json.dumps({"out": str(options.out), "levels": result, "failed": failed}))


if __name__ == "__main__":
    main()
