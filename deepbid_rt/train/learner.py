"""The network while it learns: weights, their running mean and the optimiser; one batch at a time.

Knows nothing of recordings, files or of how long a run lasts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deepbid_rt.errors import EngineError
from deepbid_rt.nets.unet2d import UNet2D
from deepbid_rt.nets.unet3d import GRID, UNet3D
from deepbid_rt.train.checkpoint import Checkpoint
from deepbid_rt.train.compute import choose_compute
from deepbid_rt.train.objective import learning_rate, loss
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import Batch


def make_net(recipe: Recipe) -> nn.Module:
    """Return the untrained network that a recipe asks for."""
    if recipe.mode == "stream":
        return UNet2D(recipe.width, 3 + len(recipe.memories))
    return UNet3D(recipe.width)


class Learner:
    """A network, initialised from the recipe's seed.

    Parameters
    ----------
    recipe : Recipe
        Width, seed, optimiser and loss.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self.compute = choose_compute(None if recipe.mode == "stream" else recipe.patch[0] // GRID)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            self._net = make_net(recipe)
        self._average = make_net(recipe)
        self._average.load_state_dict(self._net.state_dict())
        self.compute.place(self._net)
        self.compute.place(self._average)
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

    def warm_start(self, other: Checkpoint) -> None:
        """Take over what another run has learned.

        Raises
        ------
        EngineError
            When its network is of another kind or width.
        """
        if (other.recipe.mode == "stream") != (self._recipe.mode == "stream"):
            raise EngineError(
                f"a starting point of mode {other.recipe.mode} for a recipe of mode {self._recipe.mode}",
                expected="both or neither of mode stream, which has a network of its own",
                todo="change the recipe's mode or the starting point",
            )
        if other.recipe.width != self._recipe.width:
            raise EngineError(
                f"a starting point of width {other.recipe.width}",
                expected=f"the recipe's width {self._recipe.width}",
                todo="change the recipe's width or the starting point",
            )
        self._net.load_state_dict(other.average)
        self._average.load_state_dict(other.average)
        self._optimizer.load_state_dict(dict(other.optimizer))
        for group in self._optimizer.param_groups:
            group["betas"] = self._recipe.betas

    def learn(self, batch: Batch, step: int) -> float:
        """Do training step ``step`` (0 is the first) and return its loss.

        Where the gradient is not finite, as with a loss that is not, nothing is learned and its length is returned.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._recipe, step)
        with self.compute.autocast():
            output = self._net(self.compute.tensor(batch.inputs))
        target, scale = self.compute.tensor(batch.targets), self.compute.tensor(batch.scales)
        error = loss(output.float(), target, scale, self._recipe, self._weights(batch))
        value = error.item()
        self._optimizer.zero_grad(set_to_none=True)
        error.backward()  # type: ignore[no-untyped-call]
        longest = self._recipe.clip_norm or math.inf
        length = torch.nn.utils.clip_grad_norm_(self._net.parameters(), longest).item()
        if not math.isfinite(length):
            return length
        self._optimizer.step()
        self._follow(step)
        return value

    @torch.no_grad()
    def judge(self, batches: list[Batch]) -> float:
        """Return the mean squared error of the averaged network over all pairs, in noise variances of the target.

        Half the squared difference of two views is the variance of the noise in one of them. So the raw view
        scores 2, and a perfect network 1, the noise of the target itself; on ordinary scans a little less, because
        lines that lie one pitch apart differ in their scene as well.
        """
        squared = noise = 0.0
        for batch in batches:
            with self.compute.autocast():
                output = self._average(self.compute.tensor(batch.inputs))
            error = (output.float() - self.compute.tensor(batch.targets)).square()
            weights = self._weights(batch)
            squared += (error.mean() if weights is None else (error * weights).sum() / weights.sum()).item()
            noise += batch.noise
        return squared / noise if noise else squared

    def _weights(self, batch: Batch) -> Tensor | None:
        return None if batch.weights is None else self.compute.tensor(batch.weights)

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        # The first averages would remember the random start, so the memory grows with the run.
        decay = min(self._recipe.ema_decay, (1 + step) / (10 + step))
        for mean, weight in zip(self._average.parameters(), self._net.parameters(), strict=True):
            mean.lerp_(weight, 1 - decay)
