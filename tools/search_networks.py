"""Compares networks for the stream engine: all are trained on the same movies for the same number of steps.

    OMP_NUM_THREADS=1 python tools/search_networks.py --out runs/search --data ../shared/data [--trials three-32 two-48]
        [--trainings 1 2 3] [--steps 2500]
    python tools/search_networks.py --out runs/search --timed 512

Each training of each trial writes a file into the folder. Existing files are not computed again, so several processes
can share the work, and a stopped search can be continued. Scores are computed on movies that no network was trained on,
without their first 20 frames: the correlation with the truth over x, y, t, and the same after subtracting the mean over
time; and, on real recordings if --data has them, the mean squared error on hidden lines, in counts squared. With
--timed, the time per frame with this number of lines and pixels is measured for all existing trials, temporal averages
and network separately. Writes table.md. The last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from network_search.learning import learn
from network_search.movies import (
    KINDS,
    evaluation_movie,
    prepare_collinear_movies,
    prepare_movie,
    read_recordings,
    training_movies,
)
from network_search.scoring import correlations, hidden_line_error, measure_history, milliseconds
from network_search.table import table
from network_search.trials import TRIALS
from torch import nn

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.directions import split_scan

FIRST = 60
"""First frames of a recording that only fill the temporal averages."""


def search(names: Sequence[str], options: argparse.Namespace) -> None:
    """Train and score the networks whose result files do not exist."""
    missing = [
        (training, name, file)
        for training in options.trainings
        for name in names
        if not (file := options.out / f"{name}-{training}.json").exists()
    ]
    if not missing:
        return
    movies = training_movies(options.movies, options.size, options.frames, options.out / "movies")
    truths = {
        (kind, seed): evaluation_movie(kind, seed, options.size, options.frames)
        for kind in KINDS
        for seed in options.seeds
    }
    real = read_recordings(options.data, options.frames + FIRST)
    for training, name, file in missing:
        if file.exists():  # written by another process in the meantime
            continue
        trial = TRIALS[name]
        weights = options.out / f"{trial.weights_of or name}-{training}.pt"
        if trial.weights_of:
            net: nn.Module = trial.make(trial.inputs).eval()
            if not weights.exists():
                print(f"{name}: no {weights} yet", file=sys.stderr)
                continue
            net.load_state_dict(torch.load(weights, weights_only=True))
        else:
            prepared = prepare_collinear_movies(movies, trial.inputs)
            net = learn(trial, prepared, training, options.steps, options.patch)
            torch.save(net.state_dict(), weights)
        result: dict[str, Any] = {"steps": options.steps, "parameters": sum(p.numel() for p in net.parameters())}
        for kind in KINDS:
            simulated = [truths[kind, seed] for seed in options.seeds]
            scores = [
                correlations(net, trial, prepare_movie(counts, ScanGeometry("collinear"), trial.inputs), truth)
                for counts, truth in simulated
            ]
            result[kind] = np.mean(scores, 0).tolist()
        for recording, counts in real.items():
            if not trial.separate_views and trial.length == 1:  # a network with a state needs every frame
                movie = prepare_movie(counts, ScanGeometry("ordinary"), trial.inputs)
                result[recording] = hidden_line_error(net, trial, movie, np.arange(FIRST, len(counts), 4))
        file.write_text(json.dumps(result), encoding="utf-8")
        print(f"{name}, training {training}: {result}", file=sys.stderr, flush=True)


def measure(names: Sequence[str], side: int, runs: int) -> dict[str, dict[str, float]]:
    """Return the times of all trials at `side` lines and pixels: medians over rounds in which they take turns."""
    counts, _ = evaluation_movie("1 px", 1, side, 12)
    views = np.stack(split_scan(counts[:, 0].astype(np.float32), ScanGeometry("collinear")), axis=1)
    views = (views - views.mean()) / views.std()
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    history_mb = {}
    for _ in range(3):
        for name in names:
            trial = TRIALS[name]
            history_ms, history_mb[name] = measure_history(trial, views, runs) if trial.inputs.history else (0.0, 0.0)
            rounds[name].append((history_ms, milliseconds(trial.make(trial.inputs).eval(), trial, side, runs)))
    medians = {name: np.median(times, axis=0) for name, times in rounds.items()}
    return {
        name: {"past_ms": round(history_ms, 2), "network_ms": round(network, 2), "past_mb": round(history_mb[name], 2)}
        for name, (history_ms, network) in medians.items()
    }


def main() -> None:
    """Parse the command line, train and score, measure times, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for all results")
    parser.add_argument("--trials", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--trainings", type=int, nargs="+", default=[1, 2, 3], help="random seeds, one training each")
    parser.add_argument("--steps", type=int, default=2500, help="steps of each training, with 8 pairs each")
    parser.add_argument("--movies", type=int, default=24, help="number of training movies")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=160, help="lines and pixels")
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="random seeds of the movies for scoring")
    parser.add_argument("--data", type=Path, help="folder of the real recordings")
    parser.add_argument("--timed", type=int, default=0, help="measure times with this number of lines and pixels")
    parser.add_argument("--runs", type=int, default=10, help="measured frames in each of three rounds")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    search(options.trials, options)
    times = options.out / "times.json"
    if options.timed:
        times.write_text(json.dumps(measure(options.trials, options.timed, options.runs)), encoding="utf-8")
    timed = json.loads(times.read_text(encoding="utf-8")) if times.exists() else {}
    done: dict[str, list[dict[str, Any]]] = {}
    for name in TRIALS:
        if files := sorted(file for file in options.out.glob("*.json") if file.stem.rpartition("-")[0] == name):
            done[name] = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    (options.out / "table.md").write_text(table(done, timed), encoding="utf-8")
    print(json.dumps({"trainings": {name: len(found) for name, found in done.items()}, "times": timed}))


if __name__ == "__main__":
    main()
