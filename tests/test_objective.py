"""The papers' loss in its scaled form, and the learning rate over a run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deepbid_rt.train.objective import learning_rate, loss
from deepbid_rt.train.recipe import Recipe


def test_the_loss_is_the_papers_in_raw_counts_over_the_noise_variance() -> None:
    rng = np.random.default_rng(0)
    output, target = (torch.tensor(rng.normal(size=(2, 1, 3, 4, 5)), dtype=torch.float32) for _ in range(2))
    scale = torch.tensor([7.0, 30.0])
    counts = (output - target) * scale.view(-1, 1, 1, 1, 1)
    expected = sum((0.5 * e.abs().mean() + 0.5 * e.square().mean()) / s**2 for e, s in zip(counts, scale, strict=True))
    assert loss(output, target, scale, Recipe()).item() == pytest.approx(float(expected) / 2, rel=1e-5)


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    recipe = Recipe(steps=100, warm_up_steps=10, learning_rate=1e-3)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[10] == pytest.approx(1e-3)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[99] < 1e-6
    assert {learning_rate(replace(recipe, decay="none", warm_up_steps=0), s) for s in range(100)} == {1e-3}
