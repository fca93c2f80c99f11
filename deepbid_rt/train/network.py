"""Makes the network of a recipe."""

from __future__ import annotations

from torch import nn

from deepbid_rt.nets import rcan3d, unet2d, unet3d
from deepbid_rt.train.recipe import Recipe


def make_net(recipe: Recipe) -> nn.Module:
    """Return the untrained network of a recipe."""
    if recipe.mode == "stream":
        return unet2d.UNet2D(recipe.width, recipe.memories, recipe.stream_look_ahead, recipe.levels)
    return rcan3d.RCAN3D(recipe.width, *recipe.rcan) if recipe.network == "rcan3d" else unet3d.UNet3D(recipe.width)


def deepest_frames(recipe: Recipe) -> int | None:
    """Return the number of frames of a patch at the network's deepest level; None for a 2D network."""
    if recipe.mode == "stream":
        return None
    return recipe.patch[0] if recipe.network == "rcan3d" else recipe.patch[0] // unet3d.GRID
