"""A short training, the same for all networks: pairs of the two views of collinear movies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from deepbid_rt.denoising.network_inputs import VisibleLines
from deepbid_rt.frame import Image
from deepbid_rt.train.objective import loss
from deepbid_rt.train.recipe import Recipe
from network_search.movies import PreparedMovie
from network_search.nets import run
from network_search.trials import Trial

RECIPE = Recipe.from_dict({"mode": "stream", "patch": [1, 32, 32], "l1": 0.0, "mse": 1.0, "balance": "signal"})
PAIRS, WARM_UP, EMA = 8, 0.02, 0.995
VISIBLE: tuple[VisibleLines, ...] = ("all", "even", "odd", "none")
PROBABILITIES = (0.7, 0.125, 0.125, 0.05)
"""Probability that these lines of the view are visible, so that the network also works on ordinary scans."""


def learn(trial: Trial, movies: Sequence[PreparedMovie], seed: int, steps: int, patch: int) -> nn.Module:
    """Train a network; return the running mean of its weights."""
    torch.manual_seed(seed)
    net, average = trial.make(trial.inputs), trial.make(trial.inputs)
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), trial.learning_rate)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        rate = trial.learning_rate * min(1, (step + 1) / (WARM_UP * steps)) * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.param_groups[0]["lr"] = rate
        pairs = [_pair(movies[int(rng.integers(len(movies)))], trial, patch, rng) for _ in range(PAIRS // trial.length)]
        inputs, targets = (torch.from_numpy(np.stack(arrays, 1)) for arrays in zip(*pairs, strict=True))
        state, total = None, torch.zeros(())
        for frame_inputs, target in zip(inputs, targets, strict=True):
            with torch.autocast("cpu", torch.bfloat16):
                out, state = run(net, frame_inputs, state)
            total = total + loss(out.float(), target[:, None], torch.ones(len(out)), RECIPE) / len(inputs)
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for mean, new in zip(average.parameters(), net.parameters(), strict=True):
                mean.lerp_(new, 1 - min(EMA, (step + 1) / (step + 10)))
    return average.eval()


def _pair(movie: PreparedMovie, trial: Trial, patch: int, rng: np.random.Generator) -> tuple[Image, Image]:
    """Return random consecutive frames: inputs (T, K, Y, X) of one view, targets (T, Y, X) of the other."""
    frames, _, rows, columns = movie.views.shape
    first = int(rng.integers(frames - trial.length + 1))
    y, x = (int(rng.integers(side - patch + 1)) for side in (rows, columns))
    place = np.s_[y : y + patch, x : x + patch]
    inputs, targets = [], []
    for t in range(first, first + trial.length):
        view, target = movie.views[t].astype(np.float32)[:: 1 if rng.random() < 0.5 else -1]
        visible = VISIBLE[int(rng.choice(len(VISIBLE), p=PROBABILITIES))]
        inputs.append(movie.inputs(t, view, trial.inputs, visible, place))
        targets.append(target[place])
    return np.stack(inputs), np.stack(targets)
