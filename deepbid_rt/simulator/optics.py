"""Resolution of a two-photon microscope at a depth: the width of its focus, and light from above and below it.

The width of the focus is that of Zipfel, Williams & Webb (Nature Biotechnology 21, 1369, 2003). How it grows with
depth, and how much light comes from out of focus, depends on the tissue. Two simple formulas approximate this:
aberration widens the focus by the shares `_LATERAL_GROWTH` and `_AXIAL_GROWTH` per millimetre, and the haze approaches
1 with the length `_HAZE_UM`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

WAVELENGTH_UM = 0.92
"""Wavelength of the laser, as used for GCaMP."""
APERTURE = 0.5
"""Numerical aperture in use; it is below the objective's, as objectives are underfilled in practice."""
_WATER = 1.33  # refractive index
_LATERAL_GROWTH, _AXIAL_GROWTH = 0.8, 2.0
_HAZE_UM = 800.0
_SAMPLING_PX = 0.6
"""Standard deviation of the area that a pixel averages; nothing on the canvas is finer."""
_SECTIONS = 9


@dataclass(frozen=True, slots=True)
class Optics:
    """The focus at a depth."""

    depth_um: float
    """Depth of the focal plane below the surface of the tissue."""
    pixel_um: float
    """Side of a pixel in the tissue."""

    @property
    def lateral_px(self) -> float:
        """Standard deviation of the focus in the focal plane, pixels."""
        width_um = 0.32 * WAVELENGTH_UM / (math.sqrt(2) * APERTURE)  # 1/e radius of the squared intensity
        sigma_um = width_um / math.sqrt(2) * (1 + _LATERAL_GROWTH * self.depth_um / 1000)
        return math.hypot(sigma_um / self.pixel_um, _SAMPLING_PX)

    @property
    def axial_px(self) -> float:
        """Standard deviation of the focus along the beam, pixels."""
        width_um = 0.532 * WAVELENGTH_UM / math.sqrt(2) / (_WATER - math.sqrt(_WATER**2 - APERTURE**2))
        return width_um / math.sqrt(2) * (1 + _AXIAL_GROWTH * self.depth_um / 1000) / self.pixel_um

    @property
    def haze(self) -> float:
        """Share of the light that comes from far above and below the focal plane, 0 to 1."""
        return -math.expm1(-self.depth_um / _HAZE_UM)

    def response(self, distance_px: float) -> float:
        """Return the light from a thin object at this distance from the focal plane, relative to that in the plane."""
        return math.exp(-((distance_px / self.axial_px) ** 2) / 2)

    def sections(self, radius_px: float, distance_px: float) -> tuple[tuple[float, float], ...]:
        """Return the sections of a ball that the microscope sees, and their weights.

        Parameters
        ----------
        radius_px : float
            Radius of the ball.
        distance_px : float
            Distance of the ball's middle from the focal plane.

        Returns
        -------
        tuple of (float, float)
            Distance of the section from the middle, in radii, and its light relative to that of infinite tissue.
        """
        edges = np.linspace(-1, 1, _SECTIONS + 1)
        middles = (edges[1:] + edges[:-1]) / 2
        below = [math.erf(edge / math.sqrt(2) / self.axial_px) / 2 for edge in edges * radius_px - distance_px]
        return tuple(zip(middles.tolist(), np.diff(below).tolist(), strict=True))
