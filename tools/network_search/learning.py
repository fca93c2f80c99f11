"""A short training, the same for all: as many steps over mirrored pairs of collinear movies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from deepbid_rt.denoising.network_inputs import Rows
from deepbid_rt.train.objective import loss
from deepbid_rt.train.recipe import Recipe
from network_search.movies import Image, Seen
from network_search.nets import run
from network_search.trials import Trial

RECIPE = Recipe.from_dict({"mode": "stream", "patch": [1, 32, 32], "l1": 0.0, "mse": 1.0, "balance": "signal"})
PAIRS, WARM_UP, EMA = 8, 0.02, 0.995
SHOWN: tuple[Rows, ...] = ("all", "even", "odd", "none")
OFTEN = (0.7, 0.125, 0.125, 0.05)
"""How often a pair shows these lines of its view: so one network also takes ordinary scans."""


def learn(trial: Trial, movies: Sequence[Seen], seed: int, steps: int, patch: int) -> nn.Module:
    """Train; return the averaged network."""
    torch.manual_seed(seed)
    net, average = trial.make(trial.diet), trial.make(trial.diet)
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), trial.learning_rate)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        rate = trial.learning_rate * min(1, (step + 1) / (WARM_UP * steps)) * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.param_groups[0]["lr"] = rate
        drawn = [_pair(movies[int(rng.integers(len(movies)))], trial, patch, rng) for _ in range(PAIRS // trial.length)]
        inputs, targets = (torch.from_numpy(np.stack(arrays, 1)) for arrays in zip(*drawn, strict=True))
        state, total = None, torch.zeros(())
        for given, target in zip(inputs, targets, strict=True):
            with torch.autocast("cpu", torch.bfloat16):
                out, state = run(net, given, state)
            total = total + loss(out.float(), target[:, None], torch.ones(len(out)), RECIPE) / len(inputs)
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for mean, new in zip(average.parameters(), net.parameters(), strict=True):
                mean.lerp_(new, 1 - min(EMA, (step + 1) / (step + 10)))
    return average.eval()


def _pair(movie: Seen, trial: Trial, patch: int, rng: np.random.Generator) -> tuple[Image, Image]:
    """Draw frames in a row: inputs (T, K, Y, X) of one view each, targets (T, Y, X) of the other."""
    frames, _, rows, columns = movie.views.shape
    first = int(rng.integers(frames - trial.length + 1))
    y, x = (int(rng.integers(side - patch + 1)) for side in (rows, columns))
    place = np.s_[y : y + patch, x : x + patch]
    inputs, targets = [], []
    for t in range(first, first + trial.length):
        view, target = movie.views[t].astype(np.float32)[:: 1 if rng.random() < 0.5 else -1]
        shown = SHOWN[int(rng.choice(len(SHOWN), p=OFTEN))]
        inputs.append(movie.inputs(t, view, trial.diet, shown, place))
        targets.append(target[place])
    return np.stack(inputs), np.stack(targets)
