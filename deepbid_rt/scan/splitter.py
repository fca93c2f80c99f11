"""Frames to views and denoised views to frames: the geometry on either side of the lanes.

Knows nothing of engines, of time or of normalisation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import StreamInfo
from deepbid_rt.scan.directions import Merge, backward_start, lines_of_views, merge_views, split_scan, to_image_order
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import to_dtype


class ScanSplitter:
    """Splits the frames of a series into views in image order, and makes frames of denoised views.

    Parameters
    ----------
    info : StreamInfo
        The raw series.
    merge : {"mean", "forward", "backward", "interleave"}
        What becomes of the two denoised views of a collinear frame.
    """

    def __init__(self, info: StreamInfo, merge: Merge) -> None:
        self._info = info
        self._merge: Merge = merge
        self._collinear = info.scan.layout == "collinear"
        self.count = 2 if self._collinear else 1
        """V: the views of one frame."""
        self.apart = merge != "mean"
        """True when each view needs an answer of its own."""
        lines, pixels = info.shape[1:]
        self.size = (max(lines_of_views(lines, info.scan)) if self._collinear else lines, pixels)
        """(Y', X) of each view."""

    def split(self, pixels: NDArray[Any], line_offset: LineOffset | None = None) -> NDArray[Any]:
        """(C, Y, X) as scanned -> (C, V, Y', X) in image order, both views of equal height.

        In the type of the stream, or in float32 where backward lines were moved.
        """
        if not self._collinear:
            return self._aligned(to_image_order(pixels, self._info.scan), line_offset)[:, None]
        forward, backward = split_scan(pixels, self._info.scan)
        if line_offset:
            backward = line_offset.apply(backward)
        views = np.empty((pixels.shape[0], 2, *self.size), backward.dtype)
        for v, view in enumerate((forward, backward)):
            views[:, v, : view.shape[-2]] = view
            if view.shape[-2] < self.size[0]:  # odd number of lines: the last one has no partner
                views[:, v, -1] = view[..., -1, :] if view.shape[-2] else (backward, forward)[v][..., -1, :]
        return views

    def join(self, views: NDArray[np.float32]) -> NDArray[Any]:
        """(C, V, Y', X) in counts -> (C, Y, X) in the type of the stream."""
        return to_dtype(merge_views(self._parts(views), self._info.scan, self._merge), self._info.dtype)

    def _aligned(self, image: NDArray[Any], line_offset: LineOffset | None) -> NDArray[Any]:
        """Return an ordinary frame (C, Y, X) in image order with its backward lines in their place."""
        if not line_offset:
            return image
        backward = np.s_[:, backward_start(self._info.scan) :: 2]
        image = image.astype(np.float32)
        image[backward] = line_offset.apply(image[backward])
        return image

    def _parts(self, views: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """(C, V, Y', X) -> one array per view, without the partner line that `split` made up."""
        if not self._collinear:
            return [views[:, 0]]
        rows = lines_of_views(self._info.shape[1], self._info.scan)
        return [views[:, v, : rows[v]] for v in range(2)]
