"""How sharply a two-photon microscope sees at a depth: the width of its focus, and what lies above and below it.

Numbers only. Knows nothing of tissue, pictures or random numbers.

The width of the focus is Zipfel, Williams & Webb's (Nature Biotechnology 21, 1369, 2003). How it grows with depth, and
how much light comes from out of focus, depends on the tissue; the two lines here are plain stand-ins for it: aberration
widens the focus by `_SIDEWAYS` and `_AXIALLY` of itself for each millimetre, and the haze approaches 1 with the length
`_HAZE_UM`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

WAVELENGTH_UM = 0.92
"""Of the laser, as for GCaMP."""
APERTURE = 0.5
"""Numerical aperture in use: objectives are underfilled in practice."""
_WATER = 1.33
_SIDEWAYS, _AXIALLY = 0.8, 2.0
_HAZE_UM = 800.0
_SAMPLING_PX = 0.6
"""Standard deviation of what a pixel itself takes in; nothing finer is on the canvas."""
_PLANES = 9


@dataclass(frozen=True, slots=True)
class Optics:
    """The focus at a depth."""

    depth_um: float
    """Of the focal plane below the surface of the tissue."""
    pixel_um: float
    """Side of a pixel in the tissue."""

    @property
    def lateral_px(self) -> float:
        """Standard deviation of the focus in the focal plane, pixels."""
        width_um = 0.32 * WAVELENGTH_UM / (math.sqrt(2) * APERTURE)  # 1/e radius of the squared intensity
        sigma_um = width_um / math.sqrt(2) * (1 + _SIDEWAYS * self.depth_um / 1000)
        return math.hypot(sigma_um / self.pixel_um, _SAMPLING_PX)

    @property
    def axial_px(self) -> float:
        """Standard deviation of the focus along the beam, pixels."""
        width_um = 0.532 * WAVELENGTH_UM / math.sqrt(2) / (_WATER - math.sqrt(_WATER**2 - APERTURE**2))
        return width_um / math.sqrt(2) * (1 + _AXIALLY * self.depth_um / 1000) / self.pixel_um

    @property
    def haze(self) -> float:
        """Share of the light that comes from far above and below the focal plane, 0 to 1."""
        return -math.expm1(-self.depth_um / _HAZE_UM)

    def response(self, distance_px: float) -> float:
        """Light from something thin this far above or below the focal plane, against what it gives in it."""
        return math.exp(-((distance_px / self.axial_px) ** 2) / 2)

    def planes(self, radius_px: float, distance_px: float) -> tuple[tuple[float, float], ...]:
        """Return what the microscope sees of a ball as sections through it.

        Parameters
        ----------
        radius_px : float
            Of the ball.
        distance_px : float
            From the focal plane to the ball's middle.

        Returns
        -------
        tuple of (float, float)
            Distance of the section from the middle, in radii, and its share of the light that endless tissue gives.
        """
        edges = np.linspace(-1, 1, _PLANES + 1)
        middles = (edges[1:] + edges[:-1]) / 2
        below = [math.erf(edge / math.sqrt(2) / self.axial_px) / 2 for edge in edges * radius_px - distance_px]
        return tuple(zip(middles.tolist(), np.diff(below).tolist(), strict=True))
