"""What a stream engine's network is given: the view, its mask, temporal averages, later frames; padded to its grid."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Rows = Literal["all", "even", "odd", "none"]
"""Lines of a view that the network may see."""


def network_inputs(view: Image, averages: Image, rows: Rows = "all", later_frames: Image | None = None) -> Image:
    """Stack the inputs of a stream engine.

    Parameters
    ----------
    view : ndarray
        (Y, X) the current view.
    averages : ndarray
        (M + 1, Y, X) from `deepbid_rt.motion.history.MotionCompensatedHistory.push`.
    rows : {"all", "even", "odd", "none"}
        Lines of the view that the engine may see; the others are 0.
    later_frames : ndarray, optional
        (A, Y, X) the frames that came after this one, aligned to it by `deepbid_rt.motion.frame_context.align_to`.

    Returns
    -------
    ndarray
        (M + 3 + A, Y, X) float32: view, mask (1 where the view may be seen), weight of the slowest average, averages,
        later frames. Where no past frame showed a pixel, all averages hold the view there and the weight is 0; where a
        later frame does not show it, the slowest average stands in.
    """
    depth = len(averages) + 2
    inputs = np.empty((depth + (0 if later_frames is None else len(later_frames)), *view.shape), np.float32)
    inputs[0], inputs[1] = view, 1
    if rows == "none":
        inputs[:2] = 0
    elif rows != "all":
        inputs[:2, rows == "even" :: 2] = 0
    inputs[2], inputs[3:depth] = averages[-1], averages[:-1]
    if inputs[2].min() == 0:
        unknown = inputs[2] == 0
        inputs[3:depth][:, unknown] = inputs[0][unknown]
    if later_frames is not None:
        inputs[depth:] = np.where(np.isnan(later_frames), inputs[depth - 1], later_frames)
    return inputs


def padded_size(size: tuple[int, int], grid: int) -> tuple[int, int]:
    """Round (Y, X) up to multiples of `grid`."""
    rows, columns = size
    return -(-rows // grid) * grid, -(-columns // grid) * grid


def pad(images: Image, grid: int) -> Image:
    """Mirror (..., Y, X) at its last line and pixel up to multiples of `grid`; the same array where it fits."""
    size = images.shape[-2], images.shape[-1]
    extra = [(0, padded - n) for padded, n in zip(padded_size(size, grid), size, strict=True)]
    if not any(n for _, n in extra):
        return images
    return np.pad(images, [(0, 0)] * (images.ndim - 2) + extra, mode="symmetric")
