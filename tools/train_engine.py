"""Trains a shipped engine on simulated movies only.

    OMP_NUM_THREADS=1 python tools/train_engine.py --engine default
    python tools/train_engine.py --engine window --movies 32 --frames 120

simulates movies with random tissue, brightness, motion and detector, trains on them with the recipe in the engine's
folder, and writes ``model.onnx`` and ``card.toml`` into it. A run that was stopped is continued. The last line on
stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Literal

import numpy as np

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.simulator.presets import PresetName, movie_preset
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings
from deepbid_rt.train.export import card_toml, export
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.progress import TrainProgress
from deepbid_rt.train.recipe import Recipe, load_recipe
from deepbid_rt.train.trainer import train

ENGINES = Path(__file__).parents[1] / "engines"
Scene = PresetName | Literal["chart"] | None
SCENES: tuple[Scene, ...] = (
    *(None, "calcium-vibrating", "vessels-flow", "chart", "vessels-flow", None),
    *("heart-beating", "vessels-flow", None, "vessels-flow", None),
)
"""Used in turn; None is brain tissue with random motion and activity."""
FIRST_SEED = 10_000
"""Smallest seed of a training scene. Demo, tests and benchmarks use smaller ones: scenes not trained on."""


def simulate_movie(number: int, size: int, frames: int) -> tuple[ArrayMovie, ScanGeometry]:
    """Simulate one movie with random settings; its number is their seed."""
    rng = np.random.default_rng([FIRST_SEED, number])
    scan = ScanGeometry("collinear") if number % 4 else ScanGeometry("ordinary")
    settings = ScanSettings(
        size=(size, size),
        scan=scan,
        photons=float(np.exp(rng.uniform(np.log(0.04), np.log(12.0)))),
        gain=float(np.exp(rng.uniform(np.log(10.0), np.log(200.0)))),
        excess=float(rng.uniform(0.0, 0.5)),
        read_noise=float(rng.uniform(0.0, 20.0)),
        offset=float(rng.uniform(-100.0, 300.0)),
        x_correlation=float(rng.choice([0.0, rng.uniform(0.0, 0.4)])),
        vignette=float(rng.uniform(0.0, 0.6)),
        seed=FIRST_SEED + number,
    )
    motion_px, activity = float(rng.choice([0.0, rng.uniform(0.2, 3.5)])), float(rng.uniform(0.3, 2.0))
    name = SCENES[number % len(SCENES)]
    if name is None or name == "chart":
        scene = SceneSettings(name, FIRST_SEED + number, motion_px=motion_px, activity=activity)
    else:
        scene, _ = movie_preset(name, (size, size), FIRST_SEED + number, photons=settings.photons)
    source = SyntheticSource(scene, settings, frames)
    return ArrayMovie(np.stack([source.render(index)[0] for index in range(frames)])), scan


def main() -> None:
    """Parse the command line, train, export, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="default", help="folder in engines/ that has the recipe")
    parser.add_argument("--recipe", type=Path, help="recipe file; the default is the engine's")
    parser.add_argument("--run", type=Path, help="folder of the run; the default is runs/ENGINE")
    parser.add_argument("--out", type=Path, help="folder for model.onnx and card.toml; the default is the engine's")
    parser.add_argument("--movies", type=int, default=10 * len(SCENES), help="number of movies")
    parser.add_argument("--frames", type=int, default=100, help="frames of each movie")
    parser.add_argument("--size", type=int, default=192, help="lines and pixels of each movie")
    parser.add_argument("--steps", type=int, help="overrides the recipe")
    parser.add_argument("--width", type=int, help="overrides the recipe")
    options = parser.parse_args()

    out = options.out or ENGINES / options.engine
    recipe = load_recipe(options.recipe or ENGINES / options.engine / "recipe.toml")
    changes = {key: value for key in ("steps", "width") if (value := getattr(options, key)) is not None}
    if options.steps is not None:
        changes["warm_up_steps"] = min(recipe.warm_up_steps, options.steps)
    run = options.run or Path("runs") / options.engine
    recipe = Recipe.from_dict(recipe.to_dict() | changes)
    began = time.perf_counter()
    movies, scans = zip(*(simulate_movie(n, options.size, options.frames) for n in range(options.movies)), strict=True)
    print(f"simulated {len(movies)} movies in {time.perf_counter() - began:.0f} s", file=sys.stderr)

    began = time.perf_counter()

    def report(progress: TrainProgress) -> None:
        if progress.step % 100 == 0 or progress.step == progress.steps:
            print(f"{time.perf_counter() - began:7.0f} s  {progress}", file=sys.stderr, flush=True)

    summary = train(movies, scans, recipe, run, progress=report)
    out.mkdir(parents=True, exist_ok=True)
    card = export(run, out / "model.onnx", out.name)
    (out / "card.toml").write_text(card_toml(card), encoding="utf-8")
    print(
        json.dumps(
            {
                "engine": str(out / "model.onnx"),
                "steps": summary.step,
                "held_out": card.training["held_out"],
                "seconds": round(time.perf_counter() - began, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
