"""The description of a denoised series."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any

from deepbid_rt.frame import StreamInfo
from deepbid_rt.scan.directions import MergeMode, merged_geometry, merged_line_count


def denoised_stream(info: StreamInfo, merge: MergeMode, added: Mapping[str, Any]) -> StreamInfo:
    """Return the description of the denoised series of a raw series, with an identifier of its own.

    Parameters
    ----------
    info : StreamInfo
        The raw series.
    merge : {"mean", "forward", "backward", "interleave"}
        How the two views of a collinear frame become one image.
    added : mapping
        Further facts, for `StreamInfo.user`.
    """
    channels, lines, pixels = info.shape
    scan = merged_geometry(info.scan, merge)
    merged = merged_line_count(lines, info.scan, merge)
    return dataclasses.replace(
        info,
        shape=(channels, merged, pixels),
        scan=scan,
        series=uuid.uuid4().hex,
        parent=info.series,
        user={**info.user, **_same_field(info.user, lines / max(1, merged)), **added},
    )


def _same_field(user: Mapping[str, Any], raw_lines_per_line: float) -> dict[str, Any]:
    """Return the size of a pixel (y, x) when fewer lines show the same field of view; empty when it is not known."""
    size: Any = user.get("pixel_um")
    if not isinstance(size, (list, tuple)) or len(size) != 2 or type(size[0]) not in (int, float):
        return {}
    return {"pixel_um": [size[0] * raw_lines_per_line, size[1]]}
