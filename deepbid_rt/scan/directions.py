"""Scan geometry: which lines of a frame were scanned forward and which backward, and how to put them together.

The one place that knows the order of lines. Pure functions on arrays; knows nothing of time, streams or networks.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import RefusedError
from deepbid_rt.frame import ScanGeometry

Merge = Literal["mean", "forward", "backward", "interleave"]
MERGES: tuple[Merge, ...] = get_args(Merge)


def split_scan(frame: NDArray[Any], scan: ScanGeometry) -> tuple[NDArray[Any], NDArray[Any]]:
    """Separate the lines of the two scan directions, both in image order.

    Parameters
    ----------
    frame : ndarray
        (..., Y, X) lines in the order of their scanning.
    scan : ScanGeometry
        For a unidirectional scan the two results are lines 0, 2, … and 1, 3, …, named by `ScanGeometry.first`
        all the same, and nothing is mirrored.

    Returns
    -------
    forward, backward : ndarray
        (..., Y/2, X) views of `frame`; with an odd number of lines the direction of line 0 has one line more.

    Notes
    -----
    Source: MP-SSL of DeepBID, whose code takes rows 2k and 2k+1; un-mirroring is ours (theirs expects it done).
    """
    first, second = frame[..., 0::2, :], frame[..., 1::2, :]
    forward, backward = (first, second) if scan.first == "forward" else (second, first)
    return forward, _mirror(backward, scan)


def merge_scan(forward: NDArray[Any], backward: NDArray[Any], scan: ScanGeometry) -> NDArray[Any]:
    """Put both directions back into one frame; the exact inverse of `split_scan`.

    Parameters
    ----------
    forward, backward : ndarray
        (..., Yf, X) and (..., Yb, X) in image order, where the direction of line 0 has as many lines or one more.

    Returns
    -------
    ndarray
        (..., Yf + Yb, X), newly allocated, backward lines mirrored where `scan` says so.
    """
    backward = _mirror(backward, scan)
    first, second = (forward, backward) if scan.first == "forward" else (backward, forward)
    lines = first.shape[-2] + second.shape[-2]
    frame = np.empty((*first.shape[:-2], lines, first.shape[-1]), np.result_type(first, second))
    frame[..., 0::2, :] = first
    frame[..., 1::2, :] = second
    return frame


def to_image_order(frame: NDArray[Any], scan: ScanGeometry) -> NDArray[Any]:
    """Return `frame` (..., Y, X) with backward lines in image order; the same array when they are already."""
    if scan.mirrored or not scan.bidirectional:
        return frame
    backward = np.s_[..., backward_start(scan) :: 2, :]
    image = frame.copy()
    image[backward] = frame[backward][..., ::-1]
    return image


def backward_start(scan: ScanGeometry) -> int:
    """Return the number of the first backward line; every second one from there is backward."""
    return 1 if scan.first == "forward" else 0


def merged_geometry(scan: ScanGeometry, merge: Merge) -> ScanGeometry:
    """Describe the lines of a denoised frame.

    Raises
    ------
    RefusedError
        When `merge` is unknown, or picks directions out of a scan that is not collinear.
    """
    if merge not in MERGES:
        raise RefusedError(f"merge {merge!r}", expected=f"one of {', '.join(MERGES)}", todo="choose one of these")
    if scan.layout == "ordinary" and merge in ("forward", "backward"):
        raise RefusedError(
            f"merge {merge!r} of an ordinary scan, which has each place once",
            expected="a collinear scan, or merge mean",
            todo="leave --merge out, or correct the layout with --scan",
        )
    if scan.layout == "collinear" and merge != "interleave":
        return ScanGeometry(layout="ordinary", bidirectional=False, extra=scan.extra)
    return ScanGeometry(scan.layout, scan.bidirectional, scan.first, mirrored=True, extra=scan.extra)


def lines_of_views(lines: int, scan: ScanGeometry) -> tuple[int, int]:
    """Count the forward and the backward lines of a frame of `lines` lines, as `split_scan` gives them."""
    first, second = -(-lines // 2), lines // 2
    return (first, second) if scan.first == "forward" else (second, first)


def merged_lines(lines: int, scan: ScanGeometry, merge: Merge) -> int:
    """Count the lines of a denoised frame made from a frame of `lines` lines."""
    if scan.layout == "ordinary" or merge == "interleave":
        return lines
    forward, backward = lines_of_views(lines, scan)
    return {"mean": max(forward, backward), "forward": forward, "backward": backward}[merge]


def merge_views(views: list[NDArray[np.float32]], scan: ScanGeometry, merge: Merge) -> NDArray[np.float32]:
    """Make one image of what the engine answered for each view of a frame.

    Parameters
    ----------
    views : list of ndarray
        Ordinary scan: one array (..., Y, X). Collinear: forward and backward (..., Y, X), which differ by at most
        one line.
    merge : {"mean", "forward", "backward", "interleave"}
        ``mean`` averages both views; a last line that only one direction has is taken from it. Ordinary scans have
        one view, which is returned as it is.

    Returns
    -------
    ndarray
        (..., Y, X), in image order.
    """
    if len(views) == 1:
        return views[0]
    forward, backward = views
    if merge == "forward":
        return forward
    if merge == "backward":
        return backward
    if merge == "interleave":
        return merge_scan(forward, backward, merged_geometry(scan, merge))
    longer, shorter = (forward, backward) if forward.shape[-2] >= backward.shape[-2] else (backward, forward)
    image = longer.copy()
    paired = image[..., : shorter.shape[-2], :]
    paired += shorter
    paired *= np.float32(0.5)
    return image


def _mirror(backward: NDArray[Any], scan: ScanGeometry) -> NDArray[Any]:
    return backward if scan.mirrored or not scan.bidirectional else backward[..., ::-1]
