"""Builds the input of a stream engine: the view, its mask, temporal averages and later frames, padded to the grid."""

from __future__ import annotations

from typing import Literal

import numpy as np

from deepbid_rt.frame import Image

VisibleLines = Literal["all", "even", "odd", "none"]
"""Lines of a view that the network may see."""


def network_inputs(
    view: Image, averages: Image, visible: VisibleLines = "all", later_frames: Image | None = None
) -> Image:
    """Stack the images of one input of a stream engine.

    Parameters
    ----------
    view : ndarray
        (Y, X) float32, the view to denoise, network units.
    averages : ndarray
        (M + 1, Y, X): averages and their weight, from `deepbid_rt.motion.history.MotionCompensatedHistory.push`.
    visible : {"all", "even", "odd", "none"}
        Lines of the view that the network may see; the others are set to 0.
    later_frames : ndarray, optional
        (A, Y, X): the next frames, aligned by `deepbid_rt.motion.frame_context.align_to`.

    Returns
    -------
    ndarray
        (M + 3 + A, Y, X) float32: the view, its mask (1 on visible lines), the weight of the last average, the
        averages, the later frames. Where no earlier frame showed a pixel, the weight is 0 and the averages have the
        value of the view. Where a later frame does not show a pixel (NaN), it has the value of the last average.
    """
    depth = len(averages) + 2
    inputs = np.empty((depth + (0 if later_frames is None else len(later_frames)), *view.shape), np.float32)
    inputs[0], inputs[1] = view, 1
    if visible == "none":
        inputs[:2] = 0
    elif visible != "all":
        inputs[:2, visible == "even" :: 2] = 0
    inputs[2], inputs[3:depth] = averages[-1], averages[:-1]
    if inputs[2].min() == 0:
        never_shown = inputs[2] == 0
        inputs[3:depth][:, never_shown] = inputs[0][never_shown]
    if later_frames is not None:
        inputs[depth:] = np.where(np.isnan(later_frames), inputs[depth - 1], later_frames)
    return inputs


def padded_size(size: tuple[int, int], grid: int) -> tuple[int, int]:
    """Round (Y, X) up to multiples of `grid`."""
    rows, columns = size
    return -(-rows // grid) * grid, -(-columns // grid) * grid


def pad(images: Image, grid: int) -> Image:
    """Pad images (..., Y, X) to multiples of `grid`, mirrored at the last line and pixel; no copy if they fit."""
    size = images.shape[-2], images.shape[-1]
    extra = [(0, padded - n) for padded, n in zip(padded_size(size, grid), size, strict=True)]
    if not any(n for _, n in extra):
        return images
    return np.pad(images, [(0, 0)] * (images.ndim - 2) + extra, mode="symmetric")
