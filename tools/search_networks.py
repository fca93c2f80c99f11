"""Search for the stream engine's network: all learn from the same movies for as many steps, and are judged alike.

    OMP_NUM_THREADS=1 python tools/search_networks.py --out runs/search --data ../shared/data [--trials three-32 two-48]
        [--trainings 1 2 3] [--steps 2500]
    python tools/search_networks.py --out runs/search --timed 512

Each training of each trial leaves a file in the folder; what is there already is not done again, so several processes
may share the work, and a stopped one goes on. Validation are movies that nothing was trained on, after their first 20
frames: the correlation with the truth over x, y, t, and that after the mean over time is taken away; and, of real
recordings where --data has them, lines that were not shown: mean squared error in counts. With --timed: milliseconds
per frame at so many lines and pixels, past and network, all trials taking turns; runs once more over all that is there.
Writes table.md. The last line on stdout is one JSON object.
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
from network_search.judging import held_lines, milliseconds, past_of, simulated
from network_search.learning import learn
from network_search.movies import KINDS, recordings, see, to_judge_by, to_learn_from, walked
from network_search.table import table
from network_search.trials import TRIALS
from torch import nn

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.directions import split_scan

FIRST = 60
"""Frames of a recording that only fill the memories."""


def search(names: Sequence[str], options: argparse.Namespace) -> None:
    """Do what is not done yet."""
    left = [
        (training, name, file)
        for training in options.trainings
        for name in names
        if not (file := options.out / f"{name}-{training}.json").exists()
    ]
    if not left:
        return
    drawn = to_learn_from(options.movies, options.size, options.frames, options.out / "movies")
    truths = {
        (kind, seed): to_judge_by(kind, seed, options.size, options.frames) for kind in KINDS for seed in options.seeds
    }
    real = recordings(options.data, options.frames + FIRST)
    for training, name, file in left:
        if file.exists():  # by another process, meanwhile
            continue
        trial = TRIALS[name]
        weights = options.out / f"{trial.of or name}-{training}.pt"
        if trial.of:
            net: nn.Module = trial.make(trial.diet).eval()
            if not weights.exists():
                print(f"{name}: no {weights} yet", file=sys.stderr)
                continue
            net.load_state_dict(torch.load(weights, weights_only=True))
        else:
            seen = walked(drawn, trial.diet)
            net = learn(trial, seen, training, options.steps, options.patch)
            torch.save(net.state_dict(), weights)
        found: dict[str, Any] = {"steps": options.steps, "parameters": sum(p.numel() for p in net.parameters())}
        for kind in KINDS:
            judged = [truths[kind, seed] for seed in options.seeds]
            scores = [
                simulated(net, trial, see(counts, ScanGeometry("collinear"), trial.diet), truth)
                for counts, truth in judged
            ]
            found[kind] = np.mean(scores, 0).tolist()
        for recording, counts in real.items():
            if not trial.apart and trial.length == 1:  # a state would have to see every frame
                walk = see(counts, ScanGeometry("ordinary"), trial.diet)
                found[recording] = held_lines(net, trial, walk, np.arange(FIRST, len(counts), 4))
        file.write_text(json.dumps(found), encoding="utf-8")
        print(f"{name}, training {training}: {found}", file=sys.stderr, flush=True)


def measure(names: Sequence[str], side: int, runs: int) -> dict[str, dict[str, float]]:
    """Time all trials at `side` lines and pixels, medians over rounds in which they take turns."""
    counts, _ = to_judge_by("1 px", 1, side, 12)
    views = np.stack(split_scan(counts[:, 0].astype(np.float32), ScanGeometry("collinear")), axis=1)
    views = (views - views.mean()) / views.std()
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    kept = {}
    for _ in range(3):
        for name in names:
            trial = TRIALS[name]
            past, kept[name] = past_of(trial, views, runs) if trial.diet.history else (0.0, 0.0)
            rounds[name].append((past, milliseconds(trial.make(trial.diet).eval(), trial, side, runs)))
    medians = {name: np.median(found, axis=0) for name, found in rounds.items()}
    return {
        name: {"past_ms": round(past, 2), "network_ms": round(network, 2), "past_mb": round(kept[name], 2)}
        for name, (past, network) in medians.items()
    }


def main() -> None:
    """Search, time, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of all results")
    parser.add_argument("--trials", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--trainings", type=int, nargs="+", default=[1, 2, 3], help="seeds, one training each")
    parser.add_argument("--steps", type=int, default=2500, help="of each training, 8 pairs each")
    parser.add_argument("--movies", type=int, default=24, help="to learn from")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=160, help="lines and pixels")
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="of each kind of movie to judge by")
    parser.add_argument("--data", type=Path, help="folder of the real recordings")
    parser.add_argument("--timed", type=int, default=0, help="lines and pixels of the frames that are timed")
    parser.add_argument("--runs", type=int, default=10, help="frames timed in each of three rounds")
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
