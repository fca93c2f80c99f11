"""How a block of frames becomes an input and a target with the same scene and independent noise.

Pure functions of arrays; the last three axes are always (T, Y, X). Lines are taken to stand in image order. It knows
nothing of recordings, random numbers or torch. Source of the splits: DeepBID (PhotoniX 2023), multi-path
self-supervised learning, DeepCAD-RT for the temporal one and rDL (Nat Biotechnol 2023) for those of volumes; see each
function.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["mp-collinear", "mp-rows", "mp-rows-stacked", "tp", "tis", "sis"]
Pair = tuple[NDArray[Any], NDArray[Any]]
"""Input and target, of equal shape and dtype."""
Size = tuple[int, int, int]


def block_size(split: Split, patch: Size) -> Size:
    """Return the (T, Y, X) of raw pixels that `split_block` turns into a pair of patches of size ``patch``."""
    t, y, x = patch
    return (t, 2 * y, x) if split in ("mp-collinear", "mp-rows") else (2 * t, y, x)


def split_block(block: NDArray[Any], split: Split) -> Pair:
    """Split a block (..., T, Y, X) into input and target, both of the patch's size.

    Even lines, frames, slices or volumes of the block become the input. T and Y must be even where the split halves
    them. For ``tis`` the block holds some slices of one volume and then the same slices of the next.
    """
    if split in ("mp-collinear", "mp-rows"):
        return split_lines(block)
    if split == "tis":
        slices = block.shape[-3] // 2
        first, second = split_volumes(block.reshape(*block.shape[:-3], 2, slices, *block.shape[-2:]))
        return first[..., 0, :, :, :], second[..., 0, :, :, :]
    return split_lines_stacked(block) if split == "mp-rows-stacked" else split_frames(block)


def split_lines(block: NDArray[Any]) -> Pair:
    """Even lines in, odd lines out, all frames: (T, Y, X) becomes two views (T, Y/2, X).

    On a collinear scan both views show the same places, scanned in opposite directions (``mp-collinear``, the
    papers' bidirectional set). On an ordinary scan they lie one line apart (``mp-rows``). The papers stack two
    frames there (`split_lines_stacked`); keeping one frame per frame avoids their seam at half height and keeps
    the frame rate of training that of use. As in the papers, the network is used on whole frames but trained on
    views of half their height.
    """
    return block[..., 0::2, :], block[..., 1::2, :]


def split_lines_stacked(block: NDArray[Any]) -> Pair:
    """Even lines of frames 2k and 2k+1 stacked in, odd lines out: (T, Y, X) becomes two of (T/2, Y, X).

    The papers' set for ordinary scans: the upper half of pair frame k comes from frame 2k, the lower from 2k+1.
    """
    halves = (np.concatenate([v[..., 0::2, :, :], v[..., 1::2, :, :]], axis=-2) for v in split_lines(block))
    first, second = halves
    return first, second


def split_frames(block: NDArray[Any]) -> Pair:
    """Even frames in, odd frames out: (T, Y, X) becomes two of (T/2, Y, X), as DeepCAD-RT trains.

    Where the frames are the slices of one volume, this is ``sis``, rDL's slice-interleaved split.
    """
    return block[..., 0::2, :, :], block[..., 1::2, :, :]


def split_volumes(block: NDArray[Any]) -> Pair:
    """Even volumes in, odd volumes out: (V, Z, Y, X) becomes two of (V/2, Z, Y, X), rDL's time-interleaved split.

    rDL's network sees four volumes at a time as channels; ours sees each by itself, its slices where others see
    frames.
    """
    return block[..., 0::2, :, :, :], block[..., 1::2, :, :, :]


def orientation_count(patch: Size) -> int:
    """Return how many of the 8 flips and quarter turns keep the patch's shape: 8 for square ones, else 4."""
    return 8 if patch[1] == patch[2] else 4


def orient(patch: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Flip and turn lines and pixels; a view.

    Parameters
    ----------
    patch : ndarray
        (..., Y, X).
    orientation : int
        0 keeps it; bit 0 reverses pixels, bit 1 reverses lines, bit 2 swaps lines and pixels (after the flips).
    """
    if orientation & 1:
        patch = patch[..., ::-1]
    if orientation & 2:
        patch = patch[..., ::-1, :]
    return patch.swapaxes(-1, -2) if orientation & 4 else patch
