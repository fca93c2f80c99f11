"""One denoised frame of one plane, on its way from the engine to the `Denoiser`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from deepbid_rt.frame import Motion


@dataclass(frozen=True, slots=True)
class Answer:
    """A denoised frame."""

    plane_frame: int
    """Number of the frame within its plane."""
    pixels: NDArray[Any]
    """From a `ViewDenoiser`: views (C, V, Y, X), float32 counts. From a `PlaneDenoiser`: the frame (C, Y', X) in the
    data type of the stream."""
    motion: Motion | None = None
    """Where the frame lay; None from engines that do not estimate motion."""
