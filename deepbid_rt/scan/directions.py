"""Pure functions that split a frame into its two scan directions and merge them again.

A resonant or galvanometric scanner sweeps forth and back, so every second line of a bidirectional scan is scanned in
the opposite direction. The lines of one direction are a *view* of the frame. All knowledge of the order of lines is in
this module.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import RefusedError
from deepbid_rt.frame import ScanGeometry

MergeMode = Literal["mean", "forward", "backward", "interleave"]
"""How the two denoised views of a frame become one image, see `merge_views`."""
MERGE_MODES: tuple[MergeMode, ...] = get_args(MergeMode)


def split_scan(frame: NDArray[Any], scan: ScanGeometry) -> tuple[NDArray[Any], NDArray[Any]]:
    """Separate the lines of the two scan directions; both views come out in image order.

    Parameters
    ----------
    frame : ndarray
        (..., Y, X) of any type, lines in the order in which they were scanned.
    scan : ScanGeometry
        Of a unidirectional scan the two views are lines 0, 2, … and 1, 3, …; `ScanGeometry.first` names the first of
        them, and nothing is mirrored.

    Returns
    -------
    forward, backward : ndarray
        (..., Y/2, X) without copying; with an odd number of lines the direction of line 0 has one more line.

    Notes
    -----
    Source: the MP-SSL training of DeepBID pairs rows 2k and 2k+1. Its code expects backward lines in image order; here
    they are mirrored where necessary.
    """
    first, second = frame[..., 0::2, :], frame[..., 1::2, :]
    forward, backward = (first, second) if scan.first == "forward" else (second, first)
    return forward, _mirror(backward, scan)


def merge_scan(forward: NDArray[Any], backward: NDArray[Any], scan: ScanGeometry) -> NDArray[Any]:
    """Interleave the views of both directions to one frame; the exact inverse of `split_scan`.

    Parameters
    ----------
    forward, backward : ndarray
        (..., Yf, X) and (..., Yb, X) in image order. The direction of line 0 has as many lines as the other or one
        more.
    scan : ScanGeometry
        Order of the lines in the result.

    Returns
    -------
    ndarray
        (..., Yf + Yb, X), newly allocated; backward lines are mirrored unless `ScanGeometry.mirrored` is set.
    """
    backward = _mirror(backward, scan)
    first, second = (forward, backward) if scan.first == "forward" else (backward, forward)
    lines = first.shape[-2] + second.shape[-2]
    frame = np.empty((*first.shape[:-2], lines, first.shape[-1]), np.result_type(first, second))
    frame[..., 0::2, :] = first
    frame[..., 1::2, :] = second
    return frame


def to_image_order(frame: NDArray[Any], scan: ScanGeometry) -> NDArray[Any]:
    """Return `frame` (..., Y, X) with backward lines in image order; the same array if they already are."""
    if scan.mirrored or not scan.bidirectional:
        return frame
    backward = np.s_[..., first_backward_line(scan) :: 2, :]
    image = frame.copy()
    image[backward] = frame[backward][..., ::-1]
    return image


def first_backward_line(scan: ScanGeometry) -> int:
    """Return the index of the first backward line (0 or 1); every second line from there on is backward."""
    return 1 if scan.first == "forward" else 0


def merged_geometry(scan: ScanGeometry, merge: MergeMode) -> ScanGeometry:
    """Return the scan geometry of a denoised frame.

    Parameters
    ----------
    scan : ScanGeometry
        Geometry of the raw frame.
    merge : {"mean", "forward", "backward", "interleave"}
        See `merge_views`.

    Raises
    ------
    RefusedError
        When `merge` is unknown, or selects one direction of a scan that is not collinear.
    """
    if merge not in MERGE_MODES:
        raise RefusedError(f"merge {merge!r}", expected=f"one of {', '.join(MERGE_MODES)}", todo="choose one of these")
    if scan.layout == "ordinary" and merge in ("forward", "backward"):
        raise RefusedError(
            f"merge {merge!r} of an ordinary scan, which scans each line once",
            expected="a collinear scan, or merge mean",
            todo="leave --merge out, or correct the layout with --scan",
        )
    if scan.layout == "collinear" and merge != "interleave":
        return ScanGeometry(layout="ordinary", bidirectional=False, extra=scan.extra)
    return ScanGeometry(scan.layout, scan.bidirectional, scan.first, mirrored=True, extra=scan.extra)


def view_line_counts(lines: int, scan: ScanGeometry) -> tuple[int, int]:
    """Return the numbers of forward and of backward lines in a frame of `lines` lines."""
    first, second = -(-lines // 2), lines // 2
    return (first, second) if scan.first == "forward" else (second, first)


def merged_line_count(lines: int, scan: ScanGeometry, merge: MergeMode) -> int:
    """Return the number of lines of the denoised frame that is made from a raw frame of `lines` lines."""
    if scan.layout == "ordinary" or merge == "interleave":
        return lines
    forward, backward = view_line_counts(lines, scan)
    return {"mean": max(forward, backward), "forward": forward, "backward": backward}[merge]


def merge_views(views: list[NDArray[np.float32]], scan: ScanGeometry, merge: MergeMode) -> NDArray[np.float32]:
    """Merge the denoised views of one frame into an image.

    Parameters
    ----------
    views : list of ndarray
        Ordinary scan: one array (..., Y, X). Collinear scan: forward and backward (..., Y, X), which differ by at most
        one line.
    scan : ScanGeometry
        Geometry of the raw frame.
    merge : {"mean", "forward", "backward", "interleave"}
        For collinear scans. ``mean`` averages the views; where only one of them has a last line, that line is used.
        ``forward`` and ``backward`` select a view. ``interleave`` puts all lines into one image. The single view of an
        ordinary scan is returned unchanged.

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
