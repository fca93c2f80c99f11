"""What a recording says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEFAULT_RATE_HZ = 30.0
"""Frames per second of a recording that does not say."""


@dataclass(frozen=True, slots=True, eq=False)
class MovieFacts:
    """What a recording says about itself. None, or an empty value, where it says nothing."""

    format: str
    """Name of the format as its users know it, such as ``ScanImage``, ``Bruker`` or ``ImageJ``."""
    pages: str
    """How the stored pages become frames, and where that is known from, in words for the user."""
    planes: int = 1
    """Planes that were scanned in turn: frame i shows plane i % planes. Fly-back frames are left out."""
    rate_hz: float | None = None
    """Frames per second, counted over all planes and without fly-back frames: volumes per second times planes."""
    pixel_um: tuple[float, float] | None = None
    """Distance of two lines and of two pixels in a line (y, x), micrometres."""
    channel_names: tuple[str, ...] = ()
    """Names of the stored channels."""
    bidirectional: bool | None = None
    """Whether lines were scanned in both directions."""
    mirrored: bool = True
    """True when the pixels of backward lines are stored in image order, as nearly all programs do."""
    times_s: NDArray[np.float64] | None = None
    """(N,) time of each frame, seconds after the first one or after the start, as the recording says."""
    numbers: NDArray[np.int64] | None = None
    """(N,) number of each frame, as the recording counts them, over all planes; gaps are frames that it lacks."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further facts under their wire names (``f_res_hz``, ``phase_s``, ``ff_t`` …)."""
    warnings: tuple[str, ...] = ()
    """What a user has to know: frames that are left out, contradictions that were decided, values that are odd."""

    def assumed_rate_hz(self, given_hz: float | None) -> float:
        """Return frames per second over all planes: as given, else as the recording says, else `DEFAULT_RATE_HZ`."""
        known_hz = self.rate_hz if given_hz is None else given_hz
        return DEFAULT_RATE_HZ if known_hz is None else known_hz
