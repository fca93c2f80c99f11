"""Training steps: a batch in parts or whole, with and without the gap-amending term."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from deepbid_rt.train import learner as module
from deepbid_rt.train.batch import Batch, GapBlocks
from deepbid_rt.train.compute_device import Compute
from deepbid_rt.train.learner import Learner
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.objective import gap_loss, loss
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import open_recording
from deepbid_rt.train.stream_pairs import StreamPairs
from deepbid_rt.train.window_pairs import WindowPairs
from tests.training import COLLINEAR, ORDINARY, TINY, noisy_waves


@pytest.fixture(autouse=True)
def plain_arithmetic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(module, "choose_compute", lambda *_: Compute(torch.device("cpu"), bfloat16=False))
    yield
    torch.set_num_threads(threads)


def trained(recipe: Recipe, batches: list[Batch]) -> tuple[list[float], torch.Tensor]:
    learner = Learner(recipe)
    losses = [learner.train_step(batch, step) for step, batch in enumerate(batches)]
    return losses, torch.cat([w.flatten() for w in learner.state["weights"].values()])


def window_batches(recipe: Recipe) -> list[Batch]:
    recording = open_recording(ArrayMovie(noisy_waves(repeat=1)), ORDINARY, recipe)
    return [WindowPairs([recording], recipe).training_batch(step) for step in range(4)]


def stream_batches(recipe: Recipe) -> list[Batch]:
    pairs = StreamPairs([open_recording(ArrayMovie(noisy_waves(20)), COLLINEAR, recipe)], recipe)
    return [pairs.training_batch(step) for step in range(4)]


WINDOW = replace(TINY, mode="mp-rows", patch=(8, 8, 16), batch=4)
CASES: list[tuple[Recipe, Any]] = [
    (WINDOW, window_batches),
    (replace(WINDOW, gap_weight=1.0, augment="flips"), window_batches),
    (replace(TINY, mode="stream", patch=(1, 16, 16), batch=4), stream_batches),
]


@pytest.mark.parametrize(("recipe", "make"), CASES, ids=["window", "gap", "stream"])
def test_a_batch_in_parts_gives_the_same_weights_as_the_whole(recipe: Recipe, make: Any) -> None:
    batches = make(recipe)
    losses, weights = trained(recipe, batches)
    for parts in (2, 4):
        again, others = trained(replace(recipe, accumulate=parts), batches)
        assert again == pytest.approx(losses, rel=1e-5)
        assert torch.allclose(others, weights, atol=2e-5)


def test_parts_are_computed_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    recipe = replace(WINDOW, accumulate=4)
    learner = Learner(recipe)
    learner._net.register_forward_hook(lambda _net, given, _out: sizes.append(len(given[0])))
    learner.train_step(window_batches(recipe)[0], 0)
    assert sizes == [1, 1, 1, 1]


def test_the_gap_term_equals_rdl_s_formula() -> None:
    """The formula: MSE(target, f(input)) + gamma * MSE(target - f(input), odd(F) - even(F)), F without gradient."""
    recipe = replace(WINDOW, mode="sis", batch=2, gap_weight=0.7, augment="flips", l1=0.0, mse=1.0)
    rng = np.random.default_rng(0)
    blocks = rng.normal(size=(2, 1, 16, 8, 16)).astype(np.float32)
    first, second = blocks[:, :, 0::2].copy(), blocks[:, :, 1::2].copy()
    inputs, targets = np.stack([first[0], second[1]]), np.stack([second[0], first[1]])
    signs = np.array([1, -1], np.float32)
    learner = Learner(recipe)
    net = learner._net
    with torch.no_grad():
        inputs_tensor, targets_tensor = torch.from_numpy(inputs), torch.from_numpy(targets)
        output, whole = net(inputs_tensor), net(torch.from_numpy(blocks))
        difference = whole[:, :, 1::2] - whole[:, :, 0::2]
        difference[1] *= -1
        error = targets_tensor - output
        expected = error.square().mean() + 0.7 * (error - difference).square().mean()
    batch = Batch(inputs, targets, np.ones(2, np.float32), 1.0, gap=GapBlocks(blocks, signs, "sis"))
    assert learner.train_step(batch, 0) == pytest.approx(expected.item(), rel=1e-5)


def test_the_gap_carries_no_gradient() -> None:
    output = torch.ones(1, 1, 2, 2, 2, requires_grad=True)
    target, gap = torch.full_like(output, 3.0), torch.full_like(output, 0.5)
    term = gap_loss(output, target, gap)
    assert term.item() == pytest.approx(2.25)
    term.backward()
    assert torch.allclose(output.grad, torch.full_like(output, -3.0 / 8))
    assert loss(output, target, torch.ones(1), replace(TINY, l1=0.0, mse=1.0)).item() == pytest.approx(4)
