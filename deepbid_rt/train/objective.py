"""What training minimises, and how fast it steps. Knows nothing of recordings, files or devices."""

from __future__ import annotations

import math

from torch import Tensor

from deepbid_rt.train.recipe import Recipe


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
    """
    error = output - target
    s = scale.view(-1, *[1] * (error.ndim - 1))
    each = recipe.l1 * (error.abs() / s) + recipe.mse * error.square()
    return each.mean() if weight is None else (each * weight).sum() / weight.sum()


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of step ``step`` (0 is the first): linear warm-up, then the recipe's decay."""
    if step < recipe.warm_up_steps:
        return recipe.learning_rate * (step + 1) / recipe.warm_up_steps
    if recipe.decay == "none":
        return recipe.learning_rate
    done = (step - recipe.warm_up_steps) / max(recipe.steps - recipe.warm_up_steps, 1)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
