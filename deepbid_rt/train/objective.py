"""What training minimises, and how fast it steps. Knows nothing of recordings, files or devices."""

from __future__ import annotations

import math

from torch import Tensor

from deepbid_rt.train.recipe import Recipe

WARM_UP = 0.05
"""Share of a limited time that the warm-up takes at most."""


_LEAST_SIGNAL = 0.1
"""Variances below this, in those of the noise, are not told apart by ``balance = "signal"``."""


def loss(output: Tensor, target: Tensor, scale: Tensor, recipe: Recipe, weight: Tensor | None = None) -> Tensor:
    """Return the papers' loss, ``l1 * mean|e| + mse * mean e^2`` in raw counts, divided by ``scale^2``.

    Parameters
    ----------
    output, target : Tensor
        (N, 1, T, Y, X) or (N, 1, Y, X) in normalised units, float32.
    scale : Tensor
        (N,) raw counts per normalised unit, float32.
    recipe : Recipe
        Gives the weights ``l1`` and ``mse`` (both 0.5 in the papers).
    weight : Tensor, optional
        Shape of the target: 1 where it counts, 0 where not.

    Returns
    -------
    Tensor
        Scalar. Of order 1 for any camera, because the unit is the noise's standard deviation.

    Notes
    -----
    The absolute error is minimised by the median. Photon noise is skewed, its median lies below its mean, so this
    term alone would darken the result. In raw counts, as the papers have it, the squared error outweighs it by the
    scale: on 16-bit data of some ten counts of noise its share is a few percent or less. Loss in normalised units
    with equal weights would be another loss, and would move the mean intensity. Set ``l1 = 0`` for 8-bit data.

    With ``balance = "log"`` it is the mean logarithm of each pair's loss: the likelihood of a normal error of unknown
    size. In units of its noise a bright recording's error is many times that of a dim one, which it would drown.

    With ``balance = "signal"`` each pair's is divided by ``sqrt(1 + 10 v)``, where v, the variance of its answer over
    that of the noise, carries no gradient. The logarithm still favours bright pairs, since most of a dim one's error is
    the noise of its target; division by v itself, the unexplained share of the picture, favours dim ones.
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
    return (pair / (1 + output.detach().var(axes) / _LEAST_SIGNAL).sqrt()).mean()


def gap_loss(output: Tensor, target: Tensor, gap: Tensor) -> Tensor:
    """Return rDL's gap-amending term, a scalar: ``mean (target - output - gap)^2``.

    Parameters
    ----------
    output, target : Tensor
        (N, 1, T, Y, X) in normalised units, float32.
    gap : Tensor
        Same shape: how target and input differ in the network's own answer to the block that both were taken from.
        Lines or slices that lie one pitch apart show different places; what the network itself sees between them is
        taken off the error. Carries no gradient.

    Notes
    -----
    Source: rDL (Nat Biotechnol 2023) for slices, after Neighbor2Neighbor (CVPR 2021).
    """
    return (target - output - gap).square().mean()


def learning_rate(recipe: Recipe, step: int, spent: float = 0.0) -> float:
    """Return the learning rate of step ``step`` (0 is the first): linear warm-up, then the recipe's decay.

    ``spent`` is the share of the recipe's minutes that is gone: the decay follows whichever of steps and time is
    further, and the warm-up is over after `WARM_UP` of the time at the latest.
    """
    if step < recipe.warm_up_steps and spent < WARM_UP:
        return recipe.learning_rate * max((step + 1) / recipe.warm_up_steps, spent / WARM_UP)
    if recipe.decay == "none":
        return recipe.learning_rate
    done = (step - recipe.warm_up_steps) / max(recipe.steps - recipe.warm_up_steps, 1)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(max(done, spent), 1.0)))
