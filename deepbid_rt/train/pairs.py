"""Pure functions that split a block of frames into an input and a target: same scene, independent noise.

The last three axes are always (T, Y, X), with the lines in image order. Sources of the splits: DeepBID (PhotoniX 2023;
multi-path self-supervised learning) for lines, DeepCAD-RT for frames, rDL (Nat Biotechnol 2023) for volumes; see each
function.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["mp-collinear", "mp-rows", "mp-rows-stacked", "tp", "tis", "sis"]
TrainingPair = tuple[NDArray[Any], NDArray[Any]]
"""Input and target, of equal shape and dtype."""
PatchSize = tuple[int, int, int]
"""(T, Y, X)."""


def block_size(split: Split, patch: PatchSize) -> PatchSize:
    """Return the (T, Y, X) of raw pixels that `split_block` turns into a pair of patches of size ``patch``."""
    t, y, x = patch
    return (t, 2 * y, x) if split in ("mp-collinear", "mp-rows") else (2 * t, y, x)


def split_block(block: NDArray[Any], split: Split) -> TrainingPair:
    """Split a block (..., T, Y, X) into input and target, both of the patch's size.

    Even lines, frames, slices or volumes of the block become the input, odd ones the target. T and Y must be even if
    the split halves them. For ``tis`` the block holds some slices of one volume, then the same slices of the next.
    """
    if split in ("mp-collinear", "mp-rows"):
        return split_lines(block)
    if split == "tis":
        slices = block.shape[-3] // 2
        first, second = split_volumes(block.reshape(*block.shape[:-3], 2, slices, *block.shape[-2:]))
        return first[..., 0, :, :, :], second[..., 0, :, :, :]
    return split_lines_stacked(block) if split == "mp-rows-stacked" else split_frames(block)


def split_lines(block: NDArray[Any]) -> TrainingPair:
    """Return the even and the odd lines of all frames: (T, Y, X) becomes two views (T, Y/2, X).

    On a collinear scan both views show the same places, scanned in opposite directions (``mp-collinear``, the
    papers' bidirectional set). On an ordinary scan they are one line apart (``mp-rows``). The papers stack two frames
    in this case (`split_lines_stacked`). Not stacking avoids the seam at half height, and training then has the same
    frame rate as use. As in the papers, the network is used on whole frames but trained on views of half their height.
    """
    return block[..., 0::2, :], block[..., 1::2, :]


def split_lines_stacked(block: NDArray[Any]) -> TrainingPair:
    """Return the even and the odd lines of frames 2k and 2k+1, stacked: (T, Y, X) becomes two of (T/2, Y, X).

    The papers' set for ordinary scans: the upper half of frame k of the pair is from frame 2k, the lower from 2k+1.
    """
    halves = (np.concatenate([v[..., 0::2, :, :], v[..., 1::2, :, :]], axis=-2) for v in split_lines(block))
    first, second = halves
    return first, second


def split_frames(block: NDArray[Any]) -> TrainingPair:
    """Return the even and the odd frames: (T, Y, X) becomes two of (T/2, Y, X), as in DeepCAD-RT.

    If the frames are the slices of one volume, this is ``sis``, rDL's slice-interleaved split.
    """
    return block[..., 0::2, :, :], block[..., 1::2, :, :]


def split_volumes(block: NDArray[Any]) -> TrainingPair:
    """Return the even and the odd volumes: (V, Z, Y, X) becomes two of (V/2, Z, Y, X), rDL's time-interleaved split.

    rDL's network takes four volumes at a time as channels. The networks here take one volume, with its slices on the
    axis of the frames.
    """
    return block[..., 0::2, :, :, :], block[..., 1::2, :, :, :]


def orientation_count(patch: PatchSize) -> int:
    """Return how many of the 8 flips and quarter turns keep the shape of a patch: 8 if it is square, else 4."""
    return 8 if patch[1] == patch[2] else 4


def orient(patch: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Flip and turn lines and pixels; returns a view.

    Parameters
    ----------
    patch : ndarray
        (..., Y, X).
    orientation : int
        0 changes nothing; bit 0 reverses pixels, bit 1 reverses lines, bit 2 swaps lines and pixels (after the flips).
    """
    if orientation & 1:
        patch = patch[..., ::-1]
    if orientation & 2:
        patch = patch[..., ::-1, :]
    return patch.swapaxes(-1, -2) if orientation & 4 else patch
