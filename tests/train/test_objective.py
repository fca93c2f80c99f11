"""The papers' loss in its scaled form, and the learning rate over a run."""

from dataclasses import replace
from typing import Literal

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


def two_pairs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A dim and a bright pair, of which every second line counts: outputs, targets, weights."""
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(2, 1, 8, 10, generator=generator) * torch.tensor([0.2, 4.0]).view(2, 1, 1, 1)
    target = output + torch.randn(2, 1, 8, 10, generator=generator)
    weight = torch.ones(2, 1, 8, 10)
    weight[:, :, ::2] = 0
    return output, target, weight


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("balance", ["log", "signal"])
def test_pairs_are_balanced(balance: Literal["log", "signal"], weighted: bool) -> None:
    output, target, weight = two_pairs()
    recipe = Recipe(l1=0.0, mse=1.0, balance=balance)
    got = loss(output, target, torch.ones(2), recipe, weight if weighted else None).item()
    lines = slice(1, None, 2) if weighted else slice(None)
    first, second = ((target - output)[:, 0, lines] ** 2).mean((1, 2)).tolist()
    if balance == "log":
        assert got == pytest.approx((np.log(first) + np.log(second)) / 2, rel=1e-5)
        return
    dim, bright = (1 + output.var((1, 2, 3)) / 0.1).rsqrt().tolist()
    assert dim > 8 * bright
    assert got == pytest.approx((dim * first + bright * second) / 2, rel=1e-5)


def test_the_balance_of_a_pair_carries_no_gradient() -> None:
    """So a larger output does not lower the loss; only a better one does."""
    output, target, _ = two_pairs()
    output.requires_grad_()
    recipe = Recipe(l1=0.0, mse=1.0, balance="signal")
    loss(output, target, torch.ones(2), recipe).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    share = (1 + output.detach().var((1, 2, 3)) / 0.1).rsqrt()
    expected = 2 * (output - target).detach() / output.numel() * share.view(2, 1, 1, 1)
    torch.testing.assert_close(output.grad, expected)


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    recipe = Recipe(steps=100, warm_up_steps=10, learning_rate=1e-3)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[10] == pytest.approx(1e-3)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[99] < 1e-6
    assert {learning_rate(replace(recipe, decay="none", warm_up_steps=0), s) for s in range(100)} == {1e-3}
