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
    return dataclasses.replace(
        info,
        shape=(channels, merged_line_count(lines, info.scan, merge), pixels),
        scan=scan,
        series=uuid.uuid4().hex,
        parent=info.series,
        user={**info.user, **added},
    )
