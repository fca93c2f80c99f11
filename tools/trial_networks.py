"""Try networks for the stream engine: all learn for the same processor time from the same movies and are judged alike.

    OMP_NUM_THREADS=1 python tools/trial_networks.py [--networks unet separable gru gru-alone alone] [--minutes 4]

``unet`` is the shipped network. ``separable`` has depthwise and pointwise convolutions in place of full ones.
``gru`` adds a learned state, a gated recurrent unit at its lowest resolution; ``gru-alone`` has such a state at half
resolution and no memories. ``alone`` sees the current frame only. The figures are means of the correlation over x, y,
t, and of that after the mean over time is taken away, on movies that none was trained on, after the first 20 frames;
milliseconds are of one inference at ``--timed`` pixels. The last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from train_engine import draw_movie
from trial_nets import Stateful, separable

from deepbid_rt.evaluation.dynamics import dynamics
from deepbid_rt.evaluation.paper import agreement
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.nets.unet2d import UNet2D
from deepbid_rt.openvino_core import core
from deepbid_rt.past import Past, inputs_of, mean_of
from deepbid_rt.scan import split_scan
from deepbid_rt.simulator.presets import NAMES, Name, preset
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.objective import loss
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import open_recording

GAINS = (0.4, 0.15, 0.03)
DEPTH = 3 + len(GAINS)
RECIPE = Recipe.from_dict(
    {"mode": "stream", "patch": [1, 32, 32], "memories": list(GAINS), "l1": 0.0, "mse": 1.0, "balance": "signal"}
)
PAIRS, LEARNING_RATE, WARM_UP, EMA = 8, 8e-4, 0.02, 0.995
SETTLED = 20
Image = NDArray[np.float32]


@dataclass(frozen=True)
class Trial:
    """A network, whether it sees the memories, and how many frames in a row it learns from."""

    make: Callable[[], nn.Module]
    remembers: bool = True
    length: int = 1


TRIALS = {
    "unet": Trial(lambda: UNet2D(32, DEPTH)),
    "separable": Trial(lambda: separable(48, DEPTH)),
    "gru": Trial(lambda: Stateful(32, DEPTH, 2), length=8),
    "gru-alone": Trial(lambda: Stateful(32, DEPTH, 0), remembers=False, length=8),
    "alone": Trial(lambda: UNet2D(32, DEPTH), remembers=False),
}


@dataclass(frozen=True)
class Seen:
    """A collinear movie with its past, in units of noise."""

    views: Image
    """(T, 2, Y, X)"""
    remembered: NDArray[np.float16]
    """(T, M + 1, Y, X)"""

    def inputs(self, t: int, view: Image, remembers: bool, place: Any = np.s_[:, :]) -> Image:
        """Return what a network is given for a frame."""
        past = self.remembered[t][:, *place].astype(np.float32)
        return inputs_of(view[place], past if remembers else np.zeros_like(past))


def see(counts: NDArray[Any]) -> Seen:
    """Walk through a movie (T, 1, 2N, X) as live use does."""
    [normalizer] = open_recording(ArrayMovie(counts), ScanGeometry("collinear"), RECIPE).normalizers
    views = np.stack(split_scan(normalizer.apply(counts[:, 0]), ScanGeometry("collinear")), axis=1)
    past = Past(GAINS, 1, views.shape[2:])
    return Seen(views, np.stack([past.see(frame[None])[1][0] for frame in views]).astype(np.float16))


def answers(net: nn.Module, inputs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Run a network with or without a state."""
    if isinstance(net, Stateful):
        out: tuple[Tensor, Tensor] = net(inputs, net.begin(len(inputs), *inputs.shape[2:]) if state is None else state)
        return out
    return net(inputs), None


def learn(trial: Trial, movies: Sequence[Seen], minutes: float, patch: int) -> tuple[nn.Module, int]:
    """Train for a processor time; return the averaged network and the steps."""
    torch.manual_seed(0)
    net, average = trial.make(), trial.make()
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    rng = np.random.default_rng(0)
    begun, step = time.process_time(), 0
    while (spent := (time.process_time() - begun) / (60 * minutes)) < 1:
        rate = LEARNING_RATE * min(1, spent / WARM_UP) * (1 + math.cos(math.pi * spent)) / 2
        optimizer.param_groups[0]["lr"] = rate
        drawn = [
            _sequence(movies[int(rng.integers(len(movies)))], trial, patch, rng) for _ in range(PAIRS // trial.length)
        ]
        inputs, targets = (torch.from_numpy(np.stack(arrays, 1)) for arrays in zip(*drawn, strict=True))
        state, total = None, torch.zeros(())
        for given, target in zip(inputs, targets, strict=True):
            with torch.autocast("cpu", torch.bfloat16):
                out, state = answers(net, given, state)
            total = total + loss(out.float(), target[:, None], torch.ones(len(out)), RECIPE) / len(inputs)
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for mean, new in zip(average.parameters(), net.parameters(), strict=True):
                mean.lerp_(new, 1 - min(EMA, (step + 1) / (step + 10)))
        step += 1
    return average.eval(), step


def _sequence(movie: Seen, trial: Trial, patch: int, rng: np.random.Generator) -> tuple[Image, Image]:
    """Draw frames in a row: inputs (T, K, Y, X) of one view each, targets (T, Y, X) of the other."""
    frames, _, rows, columns = movie.views.shape
    first = int(rng.integers(frames - trial.length + 1))
    y, x = (int(rng.integers(side - patch + 1)) for side in (rows, columns))
    place = np.s_[y : y + patch, x : x + patch]
    inputs, targets = [], []
    for t in range(first, first + trial.length):
        view, target = movie.views[t][:: 1 if rng.random() < 0.5 else -1]
        inputs.append(movie.inputs(t, view, trial.remembers, place))
        targets.append(target[place])
    return np.stack(inputs), np.stack(targets)


@torch.no_grad()
def judge(net: nn.Module, trial: Trial, movie: Seen, truth: Image) -> tuple[float, float]:
    """Return the correlations with the truth, (T, Y, X)."""
    out, state = [], None
    for t, views in enumerate(movie.views):
        given = movie.inputs(t, mean_of(views[None])[0], trial.remembers)
        answer, state = answers(net, torch.from_numpy(given[None]), state)
        out.append(answer[0].numpy())
    denoised, clean = np.stack(out)[SETTLED:], truth[SETTLED:, None]
    return agreement(denoised, clean)["correlation_xyt"], dynamics(denoised, clean)["correlation_dynamic"]


def milliseconds(net: nn.Module, side: int, runs: int = 10) -> float:
    """Time one inference in OpenVINO, median."""
    import openvino  # after deepbid_rt, which keeps it from reporting its import to its maker

    given: tuple[Tensor, ...] = (torch.zeros(1, DEPTH, side, side),)
    if isinstance(net, Stateful):
        given += (net.begin(1, side, side),)
    model = openvino.convert_model(net, example_input=given)
    request = core().compile_model(model, "CPU").create_infer_request()
    arrays, times = [array.numpy() for array in given], []
    for _ in range(runs):
        begun = time.perf_counter()
        request.infer(arrays)
        times.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times)


def unseen(size: int, frames: int, seeds: Sequence[int]) -> dict[str, list[tuple[Seen, Image]]]:
    """Simulate the movies to judge by."""
    found: dict[str, list[tuple[Seen, Image]]] = {}
    for kind in ("1 px", "3 px", "vessels-flow", "heart-beating"):
        for seed in seeds:
            if kind in NAMES:
                scene, scan = preset(cast("Name", kind), (size, size), seed)
            else:
                scan = ScanSettings(size=(size, size), photons=0.4, seed=seed)
                scene = SceneSettings(seed=seed, motion_px=float(kind[0]))
            source = SyntheticSource(scene, scan, frames)
            counts, truth = zip(*(source.render(t) for t in range(frames)), strict=True)
            found.setdefault(kind, []).append((see(np.stack(counts)), np.stack(truth)[:, 0].astype(np.float32)))
    return found


def main() -> None:
    """Train, judge, time, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--minutes", type=float, default=4.0, help="processor time of each training")
    parser.add_argument("--movies", type=int, default=24, help="to learn from")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=160, help="lines and pixels")
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of each kind of movie to judge by")
    parser.add_argument("--timed", type=int, default=512, help="lines and pixels of the inference that is timed")
    options = parser.parse_args()
    numbers = [n for n in range(2 * options.movies) if n % 4][: options.movies]  # the others are ordinary scans
    drawn = (draw_movie(n, options.size, options.frames)[0] for n in numbers)
    movies = [see(movie.read(0, options.frames, 0, 0, 2 * options.size, 0, options.size)[:, None]) for movie in drawn]
    judged = unseen(options.size, options.frames, options.seeds)
    result: dict[str, Any] = {}
    for name in options.networks:
        trial = TRIALS[name]
        net, steps = learn(trial, movies, options.minutes, options.patch)
        scores = {
            kind: np.mean([judge(net, trial, *one) for one in some], 0).round(4).tolist()
            for kind, some in judged.items()
        }
        result[name] = {"steps": steps, "ms": round(milliseconds(net, options.timed), 2), **scores}
        print(f"{name}: {result[name]}", file=sys.stderr, flush=True)
    print(json.dumps({"minutes": options.minutes, "networks": result}))


if __name__ == "__main__":
    main()
