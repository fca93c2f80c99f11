"""Measures the speed of training, compared with a plain float32 loop of the same network on the same patches.

    OMP_NUM_THREADS=2 python tools/bench_training.py --size 96 --frames 32 --steps 20

Both do complete steps: forward, loss, backward and Adam. The plain loop is the usual first version: float32, channels
first. Steps of the two alternate, so that other load on the machine affects both; results are medians. The last line on
stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.train.learner import Learner
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.network import make_net
from deepbid_rt.train.objective import loss
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import open_recording
from deepbid_rt.train.window_pairs import WindowPairs


def plain_loop(recipe: Recipe, device: torch.device) -> Callable[[np.ndarray, np.ndarray], None]:
    """Return a training step without optimisations."""
    net = make_net(recipe).to(device)
    optimizer = torch.optim.Adam(net.parameters(), recipe.learning_rate, betas=recipe.betas)
    scale = torch.ones(recipe.batch, device=device)

    def step(inputs: np.ndarray, targets: np.ndarray) -> None:
        output = net(torch.from_numpy(inputs).to(device))
        error = loss(output, torch.from_numpy(targets).to(device), scale, recipe)
        optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        error.item()

    return step


def main() -> None:
    """Parse the command line, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["unet3d", "rcan3d"], default="unet3d")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--frames", type=int, default=32, help="frames of a patch")
    parser.add_argument("--size", type=int, default=96, help="lines and pixels of a patch")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20, help="measured steps of each, after two for warm-up")
    options = parser.parse_args()

    recipe = Recipe(
        network=options.network,
        width=options.width,
        patch=(options.frames, options.size, options.size),
        batch=options.batch,
        calibration_frames=8,
    )
    side = options.size + 16
    pixels = np.random.default_rng(0).normal(1000, 50, (3 * options.frames, 2 * side, side)).astype(np.int16)
    recording = open_recording(ArrayMovie(pixels), ScanGeometry("collinear"), recipe)
    pairs, learner = WindowPairs([recording], recipe), Learner(recipe)
    plain = plain_loop(recipe, learner.compute.device)
    times: dict[str, list[float]] = {"plain": [], "ours": [], "draw": []}
    for step in range(options.steps + 2):
        began = time.perf_counter()
        batch = pairs.training_batch(step)
        loaded = time.perf_counter()
        learner.train_step(batch, step)
        trained = time.perf_counter()
        plain(batch.inputs, batch.targets)
        times["draw"].append(loaded - began)
        times["ours"].append(trained - loaded)
        times["plain"].append(time.perf_counter() - trained)
    median = {name: statistics.median(values[2:]) for name, values in times.items()}
    voxels = options.batch * int(np.prod(recipe.patch)) / 1e6
    result = {
        "network": options.network,
        "patch": list(recipe.patch),
        "batch": options.batch,
        "compute": learner.compute.description,
        "threads": torch.get_num_threads(),
        "mvoxel_per_s": round(voxels / median["ours"], 3),
        "mvoxel_per_s_plain": round(voxels / median["plain"], 3),
        "times_faster": round(median["plain"] / median["ours"], 2),
        "ms_per_step": {name: round(1e3 * value, 1) for name, value in median.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
