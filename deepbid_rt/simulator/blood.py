"""Blood that flows through the vessels of a scene: the brightness of each vessel pixel at any time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Image
from deepbid_rt.simulator import shapes
from deepbid_rt.simulator.anatomy import Vessel

_PATTERN_PX = 4096
"""Length after which the pattern of blood cells repeats."""
_FAST_PATTERN_PX = 2**17
"""The same for fast flow, which would repeat a short pattern too soon."""
_SPEED_RANGE = 50.0
"""Fast flow: speed of the fastest vessel divided by the smallest speed of the slowest one."""
_WALL = 0.7
"""Fast flow: by this share the speed at the wall is below the speed in the middle (the profile is parabolic)."""


class Blood:
    """The blood of one scene.

    Parameters
    ----------
    vessels : sequence of Vessel
        The vessels it flows through.
    rng : numpy.random.Generator
        Draws blood cells, speeds and pulse.
    fastest_px_s : float or None
        Speed in the fastest vessel, pixels per second; the others are up to 50 times slower. None: speeds of a few
        hundred pixels per second are drawn.
    pulse_hz : float or None
        Heart rate; None: drawn from 5 to 10.
    """

    def __init__(
        self,
        vessels: Sequence[Vessel],
        rng: np.random.Generator,
        fastest_px_s: float | None = None,
        pulse_hz: float | None = None,
    ) -> None:
        self._vessels = vessels
        fast = fastest_px_s is not None
        length = _FAST_PATTERN_PX if fast else _PATTERN_PX
        drawn = vessels[:1] if fast else vessels  # all vessels share one long pattern
        chains = [np.tanh(2 * (shapes.random_field(rng, (vessel.streamlines, length), 1.5) + 0.3)) for vessel in drawn]
        cells = [0.6 + 0.4 * chain for chain in chains]
        self._cells = cells * len(vessels) if fast else cells
        self.speed_px_s = rng.lognormal(5.0, 0.8, len(vessels)) * rng.choice((-1, 1), len(vessels))
        """(vessels,) mean speed in the middle of each vessel; negative for flow towards its start."""
        self._pulse_hz = float(rng.uniform(5.0, 10.0))
        self._start_px = np.zeros(len(vessels))
        self._profiles = [np.ones(1) for _ in vessels]
        self._streamline_step = 0
        if fastest_px_s is not None and vessels:
            width = np.array([vessel.lumen.sum() / (np.ptp(vessel.along_px) + 1) for vessel in vessels])
            # Wide vessels are fast.
            share = np.sort(_SPEED_RANGE ** -rng.random(len(vessels)))[width.argsort().argsort()]
            self.speed_px_s = np.sign(self.speed_px_s) * fastest_px_s * share / share.max()
            self._start_px = rng.uniform(0, _FAST_PATTERN_PX, len(vessels))
            self._profiles = [_profile(vessel) for vessel in vessels]
            self._streamline_step = 5  # odd: each time the pattern repeats, a streamline shows another one's part
        if pulse_hz is not None:
            self._pulse_hz = pulse_hz

    def mean_brightness(self, number: int) -> float:
        """Return the mean over time of `brightness`."""
        return float(self._cells[number].mean())

    def brightness(self, number: int, t_s: NDArray[np.float64]) -> Image:
        """Return the brightness (pixels,) of each pixel of a vessel at its time `t_s`: 1 for plasma, less for cells."""
        vessel, cells = self._vessels[number], self._cells[number]
        beat = np.sin(2 * math.pi * self._pulse_hz * t_s) / (2 * math.pi * self._pulse_hz)
        moved_px = self.speed_px_s[number] * self._profiles[number] * (t_s + 0.4 * beat)
        place = vessel.along_px - moved_px + self._start_px[number]
        below = np.floor(place)
        rounds, here = np.divmod(below.astype(np.int64), cells.shape[1])
        streamline = (
            (vessel.streamline + self._streamline_step * rounds) % vessel.streamlines
            if self._streamline_step
            else vessel.streamline
        )
        first, second = cells[streamline, here], cells[streamline, (here + 1) % cells.shape[1]]
        return np.asarray(first + (place - below) * (second - first), np.float32)


def _profile(vessel: Vessel) -> NDArray[np.float64]:
    """Return the speed of each pixel's streamline relative to that of the middle, (pixels,)."""
    side = vessel.streamline - vessel.streamlines // 2
    return np.asarray(1 - _WALL * np.square(side / (np.abs(side).max() + 1)))
