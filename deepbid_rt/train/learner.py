"""The network while it learns: weights, their running mean and the optimiser; one batch at a time.

Knows nothing of recordings, files or of how long a run lasts.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from deepbid_rt.train.batch import Batch, Gap
from deepbid_rt.train.checkpoint import Checkpoint
from deepbid_rt.train.compute import choose_compute
from deepbid_rt.train.network import deepest_frames, make_net
from deepbid_rt.train.objective import gap_loss, learning_rate, loss
from deepbid_rt.train.pairs import split_block
from deepbid_rt.train.process_group import ProcessGroup
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.starting_point import StartingPoint


@dataclass(frozen=True, slots=True)
class Validation:
    """What the averaged network does to held-out pairs, both in units of the noise of their targets."""

    held_out: float
    """Mean squared error in variances; 2 is the raw view, 1 is perfect."""
    response: float
    """Root mean square in standard deviations by which answers vary within a patch, for what was shown there.

    What the network answers to nothing (zeros) is taken away first: at its borders even that has a pattern.
    """


class Learner:
    """A network, initialised from the recipe's seed.

    Parameters
    ----------
    recipe : Recipe
        Network, seed, optimiser and loss.
    world : ProcessGroup
        The processes that learn together; all hold the same weights at every step.
    """

    def __init__(self, recipe: Recipe, world: ProcessGroup | None = None) -> None:
        self._recipe, self._world = recipe, world or ProcessGroup()
        self.compute = choose_compute(deepest_frames(recipe), self._world.device)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            self._net = make_net(recipe)
        self._average = make_net(recipe)
        self._average.load_state_dict(self._net.state_dict())
        self.compute.place(self._net)
        self.compute.place(self._average)
        self._shared = DistributedDataParallel(self._net) if self._world.size > 1 else None
        self._optimizer = torch.optim.Adam(self._net.parameters(), recipe.learning_rate, betas=recipe.betas)

    @property
    def state(self) -> dict[str, Mapping[str, Any]]:
        """The parts of a `Checkpoint` that this class owns."""
        return {
            "weights": self._net.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, found: Checkpoint) -> None:
        """Go on where ``found`` stopped."""
        self._net.load_state_dict(found.weights)
        self._average.load_state_dict(found.average)
        self._optimizer.load_state_dict(dict(found.optimizer))

    def warm_start(self, start: StartingPoint) -> None:
        """Take over what another network has learned. Raises `EngineError` when it is of another kind or size."""
        start.require_fit(self._recipe)
        self._net.load_state_dict(start.weights)
        self._average.load_state_dict(start.weights)
        if start.optimizer is None:
            return
        self._optimizer.load_state_dict(dict(start.optimizer))
        for group in self._optimizer.param_groups:
            group["betas"] = self._recipe.betas

    def learn(self, batch: Batch, step: int, spent: float = 0.0) -> float:
        """Do training step ``step`` (0 is the first) and return the loss of this process's share of it.

        The losses of all processes add up to that of the step. Where the gradient is not finite, as with a loss that is
        not, nothing is learned and its length is returned.

        Parameters
        ----------
        batch : Batch
            This process's pairs.
        step : int
        spent : float
            Share of the recipe's minutes that is gone.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._recipe, step, spent)
        self._optimizer.zero_grad(set_to_none=True)
        parts = batch.parts(self._recipe.accumulate)
        value = 0.0
        for number, (part, share) in enumerate(zip(parts, self._shares(parts), strict=True)):
            with self._alone() if number < len(parts) - 1 else contextlib.nullcontext():
                error = self._error(part) * share
                value += error.item()
                (error * self._world.size).backward()  # type: ignore[no-untyped-call]  # processes average gradients
        longest = self._recipe.clip_norm or math.inf
        length = torch.nn.utils.clip_grad_norm_(self._net.parameters(), longest).item()
        if not math.isfinite(length):
            return length
        self._optimizer.step()
        self._follow(step)
        return value

    @torch.no_grad()
    def judge(self, batches: list[Batch]) -> Validation:
        """Return the mean squared error of the averaged network over all pairs, and how much its answers vary.

        Half the squared difference of two views is the variance of the noise in one of them. So the raw view
        scores 2, and a perfect network 1, the noise of the target itself; on ordinary scans a little less, because
        lines that lie one pitch apart differ in their scene as well. Processes share the work and get the same answer.
        """
        squared = varied = noise = 0.0
        to_nothing: dict[torch.Size, Tensor] = {}
        for batch in batches[self._world.rank :: self._world.size]:
            given = self.compute.tensor(batch.inputs)
            output = self._answer(given)
            if output.shape[1:] not in to_nothing:
                to_nothing[output.shape[1:]] = self._answer(torch.zeros_like(given[:1]))
            error = (output - self.compute.tensor(batch.targets)).square()
            weights = self._weights(batch)
            squared += (error.mean() if weights is None else (error * weights).sum() / weights.sum()).item()
            varied += (output - to_nothing[output.shape[1:]]).flatten(1).var(1, correction=0).mean().item()
            noise += batch.noise
        squared, varied, noise = self._world.total((squared, varied, noise))
        return Validation(squared / (noise or 1.0), math.sqrt(varied / (noise or 1.0)))

    def _answer(self, given: Tensor) -> Tensor:
        with self.compute.autocast():
            answer: Tensor = self._average(given)
        return answer.float()

    def _error(self, batch: Batch) -> Tensor:
        with self.compute.autocast():
            output = (self._shared or self._net)(self.compute.tensor(batch.inputs)).float()
        target, scale = self.compute.tensor(batch.targets), self.compute.tensor(batch.scales)
        error = loss(output, target, scale, self._recipe, self._weights(batch))
        if batch.gap:
            error = error + self._recipe.gap_weight * gap_loss(output, target, self._gap(batch.gap))
        return error

    @torch.no_grad()
    def _gap(self, gap: Gap) -> Tensor:
        """Return how the network's own views of whole blocks differ, target less input."""
        with self.compute.autocast():
            whole = self._net(self.compute.tensor(gap.wholes))
        first, second = split_block(whole.float().cpu().numpy(), gap.split)
        return self.compute.tensor((second - first) * gap.signs.reshape(-1, 1, 1, 1, 1))

    def _shares(self, parts: Sequence[Batch]) -> list[float]:
        """Return how much of the step's loss the mean over each part is."""
        counts = [float(len(p.inputs) if p.weights is None else p.weights.sum(dtype="f8")) for p in parts]
        (total,) = self._world.total([sum(counts)])
        return [count / total for count in counts]

    def _alone(self) -> AbstractContextManager[object]:
        return self._shared.no_sync() if self._shared else contextlib.nullcontext()

    def _weights(self, batch: Batch) -> Tensor | None:
        return None if batch.weights is None else self.compute.tensor(batch.weights)

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        # The first averages would remember the random start, so the memory grows with the run.
        decay = min(self._recipe.ema_decay, (1 + step) / (10 + step))
        for mean, weight in zip(self._average.parameters(), self._net.parameters(), strict=True):
            mean.lerp_(weight, 1 - decay)
