from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepbid_rt.denoising.denoised_stream import denoised_stream
from deepbid_rt.frame import ScanGeometry, StreamInfo


def described(layout: Any, merge: Any, user: dict[str, Any]) -> StreamInfo:
    info = StreamInfo((2, 12, 8), np.dtype("<i2"), 30.0, ScanGeometry(layout), user=user)
    denoised = denoised_stream(info, merge, {"engine": "x"})
    assert denoised.parent == info.series
    return denoised


@pytest.mark.parametrize(
    ("layout", "merge", "lines", "size"),
    [("ordinary", "mean", 12, 0.5), ("collinear", "mean", 6, 1.0), ("collinear", "interleave", 12, 0.5)],
)
def test_the_field_of_view_stays(layout: str, merge: str, lines: int, size: float) -> None:
    info = described(layout, merge, {"pixel_um": [0.5, 0.25], "lens": "20x"})
    assert info.shape == (2, lines, 8)
    assert info.user == {"pixel_um": [size, 0.25], "lens": "20x", "engine": "x"}


@pytest.mark.parametrize("size", [None, 3, "ab", [1], ["a", "b"], {"y": 1}])
def test_what_is_no_size_stays_as_it_is(size: Any) -> None:
    assert described("collinear", "mean", {"pixel_um": size}).user == {"pixel_um": size, "engine": "x"}
