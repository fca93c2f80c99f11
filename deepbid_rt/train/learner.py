"""The state of a network in training: weights, their running mean and the optimiser. Takes one batch at a time."""

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

from deepbid_rt.train.batch import Batch, GapBlocks
from deepbid_rt.train.checkpoint import Checkpoint
from deepbid_rt.train.compute_device import choose_compute
from deepbid_rt.train.network import deepest_frames, make_net
from deepbid_rt.train.objective import gap_loss, learning_rate, loss
from deepbid_rt.train.pairs import split_block
from deepbid_rt.train.process_group import ProcessGroup
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.starting_point import StartingPoint


@dataclass(frozen=True, slots=True)
class Validation:
    """How well the averaged network does on held-out pairs, in units of the noise of their targets."""

    held_out: float
    """Mean squared error in noise variances: 2 for the raw view, 1 for a perfect network."""
    response: float
    """How much the outputs vary within a patch: root mean square in standard deviations of the noise.

    The output for an input of zeros is subtracted first, because even that has a pattern, at the borders.
    """


class Learner:
    """A network in training, initialised from the recipe's seed.

    Parameters
    ----------
    recipe : Recipe
        Network, seed, optimiser and loss.
    group : ProcessGroup, optional
        The processes that train together; all hold the same weights at every step.
    """

    def __init__(self, recipe: Recipe, group: ProcessGroup | None = None) -> None:
        self._recipe, self._group = recipe, group or ProcessGroup()
        self.compute = choose_compute(deepest_frames(recipe), self._group.device)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            self._net = make_net(recipe)
        self._average = make_net(recipe)
        self._average.load_state_dict(self._net.state_dict())
        self.compute.move(self._net)
        self.compute.move(self._average)
        self._distributed = DistributedDataParallel(self._net) if self._group.size > 1 else None
        self._optimizer = torch.optim.Adam(self._net.parameters(), recipe.learning_rate, betas=recipe.betas)

    @property
    def state(self) -> dict[str, Mapping[str, Any]]:
        """Weights, their running mean and optimiser, under the names of the fields of `Checkpoint`."""
        return {
            "weights": self._net.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint."""
        self._net.load_state_dict(checkpoint.weights)
        self._average.load_state_dict(checkpoint.average)
        self._optimizer.load_state_dict(dict(checkpoint.optimizer))

    def warm_start(self, start: StartingPoint) -> None:
        """Start from the weights of another network. Raises `EngineError` when its kind or size differs."""
        start.require_match(self._recipe)
        self._net.load_state_dict(start.weights)
        self._average.load_state_dict(start.weights)
        if start.optimizer is None:
            return
        self._optimizer.load_state_dict(dict(start.optimizer))
        for parameters in self._optimizer.param_groups:
            parameters["betas"] = self._recipe.betas

    def train_step(self, batch: Batch, step: int, time_used: float = 0.0) -> float:
        """Do one training step.

        Parameters
        ----------
        batch : Batch
            The pairs of this process.
        step : int
            Number of the step; 0 is the first.
        time_used : float
            Fraction of the recipe's minutes that is used up.

        Returns
        -------
        float
            This process's part of the loss; the parts of all processes add up to the loss of the step. If the gradient
            is not finite, for example because the loss is not, the weights stay as they are and the norm of the
            gradient is returned.
        """
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = learning_rate(self._recipe, step, time_used)
        self._optimizer.zero_grad(set_to_none=True)
        parts = batch.parts(self._recipe.accumulate)
        value = 0.0
        for number, (part, share) in enumerate(zip(parts, self._loss_shares(parts), strict=True)):
            with self._without_sync() if number < len(parts) - 1 else contextlib.nullcontext():
                error = self._error(part) * share
                value += error.item()
                (error * self._group.size).backward()  # type: ignore[no-untyped-call]  # processes average gradients
        max_norm = self._recipe.clip_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self._net.parameters(), max_norm).item()
        if not math.isfinite(norm):
            return norm
        self._optimizer.step()
        self._update_average(step)
        return value

    @torch.no_grad()
    def validate(self, batches: list[Batch]) -> Validation:
        """Return the mean squared error of the averaged network over all pairs, and how much its outputs vary.

        Half the squared difference of two views is the variance of the noise in one of them. So the raw view scores 2,
        and a perfect network 1, the noise of the target itself. On ordinary scans it is a little less, because
        neighbouring lines also show different places. The processes share the work and all return the same values.
        """
        squared = variance = noise = 0.0
        outputs_for_zeros: dict[torch.Size, Tensor] = {}
        for batch in batches[self._group.rank :: self._group.size]:
            inputs = self.compute.tensor(batch.inputs)
            output = self._average_output(inputs)
            if output.shape[1:] not in outputs_for_zeros:
                outputs_for_zeros[output.shape[1:]] = self._average_output(torch.zeros_like(inputs[:1]))
            error = (output - self.compute.tensor(batch.targets)).square()
            weights = self._weights(batch)
            squared += (error.mean() if weights is None else (error * weights).sum() / weights.sum()).item()
            variance += (output - outputs_for_zeros[output.shape[1:]]).flatten(1).var(1, correction=0).mean().item()
            noise += batch.noise
        squared, variance, noise = self._group.total((squared, variance, noise))
        return Validation(squared / (noise or 1.0), math.sqrt(variance / (noise or 1.0)))

    def _average_output(self, inputs: Tensor) -> Tensor:
        with self.compute.autocast():
            output: Tensor = self._average(inputs)
        return output.float()

    def _error(self, batch: Batch) -> Tensor:
        with self.compute.autocast():
            output = (self._distributed or self._net)(self.compute.tensor(batch.inputs)).float()
        target, scale = self.compute.tensor(batch.targets), self.compute.tensor(batch.scales)
        error = loss(output, target, scale, self._recipe, self._weights(batch))
        if batch.gap:
            error = error + self._recipe.gap_weight * gap_loss(output, target, self._view_difference(batch.gap))
        return error

    @torch.no_grad()
    def _view_difference(self, gap: GapBlocks) -> Tensor:
        """Return how the two views differ in the network's own output for whole blocks: target minus input."""
        with self.compute.autocast():
            output = self._net(self.compute.tensor(gap.blocks))
        first, second = split_block(output.float().cpu().numpy(), gap.split)
        return self.compute.tensor((second - first) * gap.signs.reshape(-1, 1, 1, 1, 1))

    def _loss_shares(self, parts: Sequence[Batch]) -> list[float]:
        """Return the factor with which the mean loss of each part enters the loss of the step."""
        counts = [float(len(p.inputs) if p.weights is None else p.weights.sum(dtype="f8")) for p in parts]
        (total,) = self._group.total([sum(counts)])
        return [count / total for count in counts]

    def _without_sync(self) -> AbstractContextManager[object]:
        return self._distributed.no_sync() if self._distributed else contextlib.nullcontext()

    def _weights(self, batch: Batch) -> Tensor | None:
        return None if batch.weights is None else self.compute.tensor(batch.weights)

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        # A mean over many steps would contain the random initial weights for long, so it starts with few steps.
        decay = min(self._recipe.ema_decay, (1 + step) / (10 + step))
        for mean, weight in zip(self._average.parameters(), self._net.parameters(), strict=True):
            mean.lerp_(weight, 1 - decay)
