"""Splits raw frames into views before denoising and joins the denoised views to frames afterwards.

A collinear frame has two views (forward and backward lines of the same tissue), an ordinary frame has one (all lines).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from deepbid_rt.frame import StreamInfo
from deepbid_rt.scan.directions import (
    MergeMode,
    first_backward_line,
    merge_views,
    split_scan,
    to_image_order,
    view_line_counts,
)
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import to_dtype


class ScanSplitter:
    """Splits the frames of a series into views in image order, and joins denoised views to frames.

    Parameters
    ----------
    info : StreamInfo
        The raw series.
    merge : {"mean", "forward", "backward", "interleave"}
        How the two denoised views of a collinear frame become one image, see `merge_views`.
    """

    def __init__(self, info: StreamInfo, merge: MergeMode) -> None:
        self._info = info
        self._merge: MergeMode = merge
        self._collinear = info.scan.layout == "collinear"
        self.count = 2 if self._collinear else 1
        """V, the number of views in one frame."""
        self.separate_views = merge != "mean"
        """True when each view must be denoised separately; False when one image for both views is enough."""
        lines, pixels = info.shape[1:]
        self.size = (max(view_line_counts(lines, info.scan)) if self._collinear else lines, pixels)
        """(Y', X), the size of each view."""

    def split(self, pixels: NDArray[Any], line_offset: LineOffset | None = None) -> NDArray[Any]:
        """Split a frame into its views.

        Parameters
        ----------
        pixels : ndarray
            (C, Y, X) as scanned.
        line_offset : LineOffset, optional
            Correction of the line phase, applied to the backward lines.

        Returns
        -------
        ndarray
            (C, V, Y', X) in image order; float32 if a line offset was applied, else the type of `pixels`. If one view
            has a line less, its last line is repeated.
        """
        if not self._collinear:
            return self._with_line_offset(to_image_order(pixels, self._info.scan), line_offset)[:, None]
        forward, backward = split_scan(pixels, self._info.scan)
        if line_offset:
            backward = line_offset.apply(backward)
        views = np.empty((pixels.shape[0], 2, *self.size), backward.dtype)
        for v, view in enumerate((forward, backward)):
            views[:, v, : view.shape[-2]] = view
            if view.shape[-2] < self.size[0]:  # odd number of lines: this view has one line less
                views[:, v, -1] = view[..., -1, :] if view.shape[-2] else (backward, forward)[v][..., -1, :]
        return views

    def join(self, views: NDArray[np.float32], dtype: DTypeLike | None = None) -> NDArray[Any]:
        """Merge denoised views (C, V, Y', X) in counts to a frame (C, Y, X) of `dtype`, by default the stream's."""
        merged = merge_views(self._scanned_lines(views), self._info.scan, self._merge)
        return to_dtype(merged, self._info.dtype if dtype is None else dtype)

    def _with_line_offset(self, image: NDArray[Any], line_offset: LineOffset | None) -> NDArray[Any]:
        """Apply the line offset to the backward lines of an ordinary frame (C, Y, X) in image order."""
        if not line_offset:
            return image
        backward = np.s_[:, first_backward_line(self._info.scan) :: 2]
        image = image.astype(np.float32)
        image[backward] = line_offset.apply(image[backward])
        return image

    def _scanned_lines(self, views: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return one array per view of (C, V, Y', X), without the line that `split` repeated."""
        if not self._collinear:
            return [views[:, 0]]
        counts = view_line_counts(self._info.shape[1], self._info.scan)
        return [views[:, v, : counts[v]] for v in range(2)]
