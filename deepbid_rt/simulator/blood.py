"""Blood that streams through drawn vessels: what passes each of their pixels at any time.

Knows nothing of the tissue around them, of scanning or of noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.simulator import shapes as brush
from deepbid_rt.simulator.anatomy import Vessel
from deepbid_rt.simulator.shapes import Image

_FLOW_PX = 4096
"""Length after which the pattern of blood cells repeats."""
_LONG_PX = 2**17
"""The same for a fast stream, which runs through a pattern in less time."""
_SLOWEST = 50.0
"""A fast stream's fastest vessel is this many times as fast as its slowest one may be."""
_WALL = 0.7
"""How much slower than its middle a fast stream is at the wall; flow between still walls has a round profile."""


class Blood:
    """The blood of one scene.

    Parameters
    ----------
    vessels : sequence of Vessel
        Where it flows.
    rng : numpy.random.Generator
        Draws blood cells, speeds and pulse.
    fastest_px_s : float or None
        Speed of the fastest vessel, the others down to a fiftieth of it; None draws a few hundred pixels per second.
    pulse_hz : float or None
        Beats of the heart; None draws 5 to 10.
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
        length = _LONG_PX if fast else _FLOW_PX
        drawn = vessels[:1] if fast else vessels  # a long pattern serves all vessels
        chains = [np.tanh(2 * (brush.field(rng, (vessel.lanes, length), 1.5) + 0.3)) for vessel in drawn]
        cells = [0.6 + 0.4 * chain for chain in chains]
        self._cells = cells * len(vessels) if fast else cells
        self.speed_px_s = rng.lognormal(5.0, 0.8, len(vessels)) * rng.choice((-1, 1), len(vessels))
        """(vessels,) mean speed in the middle of each vessel; negative against its course."""
        self._pulse_hz = float(rng.uniform(5.0, 10.0))
        self._start_px = np.zeros(len(vessels))
        self._profiles = [np.ones(1) for _ in vessels]
        self._lane_step = 0
        if fastest_px_s is not None and vessels:
            width = np.array([vessel.lumen.sum() / (np.ptp(vessel.along_px) + 1) for vessel in vessels])
            share = np.sort(_SLOWEST ** -rng.random(len(vessels)))[width.argsort().argsort()]  # wide ones are fast
            self.speed_px_s = np.sign(self.speed_px_s) * fastest_px_s * share / share.max()
            self._start_px = rng.uniform(0, _LONG_PX, len(vessels))
            self._profiles = [_profile(vessel) for vessel in vessels]
            self._lane_step = 5  # odd: after each round through the pattern every stream line meets another part of it
        if pulse_hz is not None:
            self._pulse_hz = pulse_hz

    def mean_light(self, number: int) -> float:
        """Return the mean over time of what passes a pixel of a vessel."""
        return float(self._cells[number].mean())

    def passing(self, number: int, t_s: NDArray[np.float64]) -> Image:
        """Tell what passes each pixel of a vessel (pixels,) at its time `t_s`: 1 for plasma, less for a blood cell."""
        vessel, cells = self._vessels[number], self._cells[number]
        beat = np.sin(2 * math.pi * self._pulse_hz * t_s) / (2 * math.pi * self._pulse_hz)
        moved_px = self.speed_px_s[number] * self._profiles[number] * (t_s + 0.4 * beat)
        place = vessel.along_px - moved_px + self._start_px[number]
        below = np.floor(place)
        rounds, here = np.divmod(below.astype(np.int64), cells.shape[1])
        lane = (vessel.lane + self._lane_step * rounds) % vessel.lanes if self._lane_step else vessel.lane
        first, second = cells[lane, here], cells[lane, (here + 1) % cells.shape[1]]
        return np.asarray(first + (place - below) * (second - first), np.float32)


def _profile(vessel: Vessel) -> NDArray[np.float64]:
    """Return the share of the middle's speed that each pixel's stream line has."""
    side = vessel.lane - vessel.lanes // 2
    return np.asarray(1 - _WALL * np.square(side / (np.abs(side).max() + 1)))
