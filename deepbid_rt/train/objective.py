"""The loss that training minimises, and the learning rate."""

from __future__ import annotations

import math

from torch import Tensor

from deepbid_rt.train.recipe import Recipe

MAX_WARM_UP = 0.05
"""Fraction of a time limit that the warm-up takes at most."""
_SIGNAL_FLOOR = 0.1
"""Signal variance, in noise variances, below which ``balance = "signal"`` weights all pairs about equally."""


def loss(output: Tensor, target: Tensor, scale: Tensor, recipe: Recipe, weight: Tensor | None = None) -> Tensor:
    """Return the papers' loss, ``l1 * mean|e| + mse * mean e^2`` in raw counts, divided by ``scale^2``.

    Parameters
    ----------
    output, target : Tensor
        (N, 1, T, Y, X) or (N, 1, Y, X) in normalised units, float32.
    scale : Tensor
        (N,) raw counts per normalised unit, float32.
    recipe : Recipe
        Its fields ``l1`` and ``mse`` (both 0.5 in the papers) and ``balance`` are used.
    weight : Tensor, optional
        Shape of the target: 1 where it counts, 0 where it does not.

    Returns
    -------
    Tensor
        Scalar, of order 1 for any detector, because the unit is the standard deviation of the noise.

    Notes
    -----
    The absolute error is minimal at the median. The median of photon noise, which is skewed, is below its mean, so the
    absolute error alone would darken the result. In raw counts, as in the papers, the squared error is larger by a
    factor of ``scale``: on 16-bit data with some ten counts of noise, the absolute error contributes a few percent or
    less. In normalised units with equal weights it would contribute much more, and change the mean intensity. Set
    ``l1 = 0`` for 8-bit data.

    With ``balance = "log"`` the loss is the mean over pairs of the logarithm of each pair's loss, the likelihood of a
    normal error of unknown size. Without it, bright recordings dominate: in units of the noise, their errors are many
    times those of dim ones.

    With ``balance = "signal"`` each pair's loss is divided by ``sqrt(1 + 10 v)``, where v is the variance of the output
    in noise variances; v carries no gradient. The logarithm still favours bright pairs, because most of a dim pair's
    error is the noise of its target. Division by v itself (the unexplained share of the picture) favours dim pairs.
    """
    error = output - target
    s = scale.view(-1, *[1] * (error.ndim - 1))
    each = recipe.l1 * (error.abs() / s) + recipe.mse * error.square()
    if recipe.balance == "mean":
        return each.mean() if weight is None else (each * weight).sum() / weight.sum()
    axes = tuple(range(1, each.ndim))
    pair = each.mean(axes) if weight is None else (each * weight).sum(axes) / weight.sum(axes)
    if recipe.balance == "log":
        return pair.log().mean()
    return (pair / (1 + output.detach().var(axes) / _SIGNAL_FLOOR).sqrt()).mean()


def gap_loss(output: Tensor, target: Tensor, gap: Tensor) -> Tensor:
    """Return rDL's gap-amending term, a scalar: ``mean (target - output - gap)^2``.

    Parameters
    ----------
    output, target : Tensor
        (N, 1, T, Y, X) in normalised units, float32.
    gap : Tensor
        Same shape: target minus input in the network's own output for the block that both were taken from. Neighbouring
        lines or slices show different places; this difference is subtracted from the error. Carries no gradient.

    Notes
    -----
    Source: rDL (Nat Biotechnol 2023) for slices, after Neighbor2Neighbor (CVPR 2021).
    """
    return (target - output - gap).square().mean()


def learning_rate(recipe: Recipe, step: int, time_used: float = 0.0) -> float:
    """Return the learning rate of a step: linear warm-up, then the recipe's decay.

    Parameters
    ----------
    recipe : Recipe
    step : int
        Number of the step; 0 is the first.
    time_used : float
        Fraction of the recipe's minutes that is used up. The decay follows the steps or the time, whichever is further
        along, and the warm-up ends after `MAX_WARM_UP` of the time at the latest.
    """
    if step < recipe.warm_up_steps and time_used < MAX_WARM_UP:
        return recipe.learning_rate * max((step + 1) / recipe.warm_up_steps, time_used / MAX_WARM_UP)
    if recipe.decay == "none":
        return recipe.learning_rate
    done = (step - recipe.warm_up_steps) / max(recipe.steps - recipe.warm_up_steps, 1)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(max(done, time_used), 1.0)))
