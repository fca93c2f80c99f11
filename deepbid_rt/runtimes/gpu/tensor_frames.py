"""From raw counts to network inputs and from answers to pixels, in torch operations.

Pure functions of tensors with fixed shapes; nothing waits for the host, so all of them can be captured in a CUDA graph.
Reference implementation: the numpy functions of `deepbid_rt.scan` and `deepbid_rt.denoising.network_inputs`;
``tests/runtimes/gpu/test_tensor_frames.py`` compares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.directions import MergeMode, first_backward_line, merged_geometry, view_line_counts

CARRIERS = {"|u1": torch.uint8, "<u2": torch.int16, "<i2": torch.int16, "<f4": torch.float32}
"""Tensor type that pixels are copied in: torch supports little of uint16, so its bits are copied as int16."""


def to_float(raw: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """Return pixels of a carrier type (see `CARRIERS`) in float32."""
    if dtype.str == "<u2":
        return raw.to(torch.int32).bitwise_and(0xFFFF).to(torch.float32)
    return raw.to(torch.float32)


def split(frame: Tensor, scan: ScanGeometry, columns: Tensor, weights: Tensor) -> Tensor:
    """Return the views (C, V, Y', X) of a frame (C, Y, X) in image order, both of equal height.

    Backward lines are moved by a `LineOffset` with these columns and weights, (4, X).
    """
    first, second = frame[:, 0::2], frame[:, 1::2]
    turned = scan.bidirectional and not scan.mirrored
    if scan.layout == "ordinary":
        if not scan.bidirectional:
            return frame[:, None]
        image = frame.clone()
        late = np.s_[:, first_backward_line(scan) :: 2]
        image[late] = align(frame[late].flip(-1) if turned else frame[late], columns, weights)
        return image[:, None]
    forward, backward = (first, second) if scan.first == "forward" else (second, first)
    backward = align(backward.flip(-1) if turned else backward, columns, weights)
    rows = max(forward.shape[1], backward.shape[1])
    views = []
    for view, other in ((forward, backward), (backward, forward)):
        if view.shape[1] < rows:  # odd number of lines: the last one has no partner
            view = torch.cat([view, view[:, -1:] if view.shape[1] else other[:, -1:]], dim=1)
        views.append(view)
    return torch.stack(views, dim=1)


def align(lines: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    """Return lines (C, L, X) as weighted sums of their pixels `columns`, (4, X); a pixel of weight 0 may be NaN."""
    samples = lines.index_select(-1, columns.flatten()).reshape(*lines.shape[:-1], *columns.shape)
    return torch.where(weights == 0, 0.0, samples * weights).sum(dim=-2)


def to_units(views: Tensor, offset: Tensor, inverse_scale: Tensor) -> Tensor:
    """Map counts (C, V, Y, X) to network units; the others are (C, 1, 1, 1). NaN and infinity become 0."""
    return ((views - offset) * inverse_scale).nan_to_num_(0.0, 0.0, 0.0)


def network_inputs(units: Tensor, averages: Tensor, *, together: bool) -> Tensor:
    """Return the inputs of a stream engine for views (C, V, Y, X) and averages (C, M + 1, Y, X).

    Returns
    -------
    Tensor
        (C, N, M + 3, Y, X): N = 1 for the mean of all views if `together`; else N = 2, both views of a collinear
        frame, or the one view of an ordinary frame without its even and without its odd lines.
    """
    view = units.mean(dim=1, keepdim=True) if together else units
    mask = torch.ones_like(view)
    if not together and units.shape[1] == 1:
        mask = torch.zeros_like(view).repeat(1, 2, 1, 1)
        mask[:, 0, 0::2], mask[:, 1, 1::2] = 1, 1
        view = view * mask
    channels, passes, *size = view.shape
    weight = averages[:, None, -1:].expand(channels, passes, 1, *size)
    filled = torch.where(weight == 0, view[:, :, None], averages[:, None, :-1])
    return torch.cat([view[:, :, None], mask[:, :, None], weight, filled], dim=2)


def views_from(answers: Tensor, views: int) -> Tensor:
    """Return one answer for each view (C, V, Y, X) from the answers (C, N, Y, X) to `network_inputs`."""
    return answers if answers.shape[1] == views else answers.mean(dim=1, keepdim=True).expand(-1, views, -1, -1)


def padding(size: int, padded: int, device: torch.device) -> Tensor:
    """Return the source line of each of `padded` lines when `size` lines are mirrored at the last one."""
    return torch.from_numpy(np.pad(np.arange(size), (0, padded - size), mode="symmetric")).to(device)


def to_counts(answers: Tensor, offset: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Map network units (C, V, Y, X) to counts and take off the bias of the mean; the others are (C, 1, 1, 1)."""
    return answers * scale + offset - bias * scale


def merge(views: Tensor, lines: int, scan: ScanGeometry, how: MergeMode) -> Tensor:
    """Make one image (C, Y, X) of the answers (C, V, Y', X) for a frame of `lines` lines."""
    if scan.layout == "ordinary":
        return views[:, 0]
    rows = view_line_counts(lines, scan)
    forward, backward = views[:, 0, : rows[0]], views[:, 1, : rows[1]]
    if how == "forward":
        return forward
    if how == "backward":
        return backward
    if how == "interleave":
        merged = merged_geometry(scan, how)
        first, second = (forward, backward) if merged.first == "forward" else (backward, forward)
        image = torch.empty((views.shape[0], lines, views.shape[3]), dtype=views.dtype, device=views.device)
        image[:, 0::2], image[:, 1::2] = first, second
        return image
    longer, shorter = (forward, backward) if rows[0] >= rows[1] else (backward, forward)
    both = min(rows)
    return torch.cat([(longer[:, :both] + shorter) * 0.5, longer[:, both:]], dim=1)


def to_pixels(image: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """Round and clip counts to a pixel type; return its carrier type."""
    if dtype.kind == "f":
        return image
    limits = np.iinfo(dtype)
    rounded = torch.round(image).clamp(float(limits.min), float(limits.max))
    return rounded.to(torch.int32).to(CARRIERS[dtype.str])
