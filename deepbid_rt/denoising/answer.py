"""The result type of the plane denoisers: one denoised frame of one plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from deepbid_rt.frame import Motion


@dataclass(frozen=True, slots=True)
class Answer:
    """A denoised frame of one plane."""

    plane_frame: int
    """Number of the frame within its plane."""
    pixels: NDArray[Any]
    """From a `ViewDenoiser`: the views (C, V, Y, X) in counts, float32. From a `PlaneDenoiser`: the merged frame
    (C, Y', X) in the data type of the stream."""
    motion: Motion | None = None
    """Motion of the raw frame; None from engines that do not estimate motion."""
