"""Living tissue: a drawn anatomy with firing cells, flowing blood, motion and a beating heart.

Everything is a function of the frame number and the seed, so any frame can be rendered without those before it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Image
from deepbid_rt.simulator.anatomy import SceneKind, draw_anatomy, fit_picture, static_anatomy
from deepbid_rt.simulator.blood import Blood
from deepbid_rt.simulator.heartbeat import Heartbeat
from deepbid_rt.simulator.motion import TissueMotion
from deepbid_rt.simulator.optics import Optics

_BLOCK_S = 16.0
"""Duration of the blocks in which events are drawn; a transient has decayed after one block."""
_BURST = 1.5
"""Mean number of spikes in an event beyond the first."""

Clock = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float64]]
"""Returns when places (rows, columns) of the canvas are scanned, as fractions of the frame period."""


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """The tissue under the objective."""

    kind: SceneKind | None = None
    """``dense``: many somata; ``sparse``: few somata with dendrites; ``vessels``: many vessels; ``flow``: more vessels,
    with bright plasma; ``heart``: one chamber of a heart; ``chart``: a resolution target instead of tissue; None: the
    seed selects one of the first three."""
    seed: int = 0
    """Draws anatomy, activity, blood and motion."""
    soma_radius_px: float | None = None
    """Typical radius of a soma, pixels; None: the seed draws 2.5 to 11."""
    motion_px: float = 1.0
    """Root mean square displacement along each axis, pixels; 0 for still tissue."""
    activity: float = 1.0
    """Factor on the firing rates; 0 for silent tissue."""
    blood: bool = True
    """Whether the vessels contain moving blood cells."""
    pixel_um: float = 1.0
    """Side of a pixel in the tissue; converts depth and flow to pixels."""
    depth_um: float | None = None
    """Depth of the focal plane: it widens the focus, and cells lie above and below it; None: all cells in focus."""
    flow_mm_s: float | None = None
    """Speed of blood in the fastest vessel; others are up to 50 times slower. None: some hundred pixels per second."""
    beat_px: float = 0.0
    """Largest displacement by a beating heart, pixels; 0 for none."""
    picture: Image | None = field(default=None, compare=False, repr=False)
    """(H, W) brightness, none negative: an image used instead of drawn tissue; it moves, but has no activity and no
    blood. It is mirrored at its edges where it is smaller than the canvas. None: drawn tissue."""

    def __post_init__(self) -> None:
        if self.picture is not None and not (self.picture.ndim == 2 and self.picture.min() >= 0 < self.picture.max()):
            raise StreamError(
                f"a picture of shape {self.picture.shape} from {self.picture.min()} to {self.picture.max()}",
                expected="two axes, no negative pixel, no NaN, and at least one pixel above 0",
                todo="take one page of it, and subtract its offset",
            )
        radius_px = 1.0 if self.soma_radius_px is None else self.soma_radius_px
        amounts = (self.depth_um or 0.0, self.flow_mm_s or 0.0, self.beat_px)
        if not (self.pixel_um > 0 and min(amounts) >= 0):
            raise StreamError(
                f"a pixel of {self.pixel_um} um, a depth of {self.depth_um} um, a flow of {self.flow_mm_s} mm/s and a "
                f"beat of {self.beat_px} px",
                expected="none of them negative and a pixel larger than 0",
                todo="check the scene settings",
            )
        if not (self.motion_px >= 0 and self.activity >= 0 and radius_px >= 1 and self.seed >= 0):
            raise StreamError(
                f"a scene of seed {self.seed}, motion {self.motion_px} px, activity {self.activity} and "
                f"soma radius {self.soma_radius_px}",
                expected="none of them negative and a radius of at least 1 px",
                todo="check the scene settings",
            )


@dataclass(frozen=True, slots=True)
class _Events:
    """Bursts of spikes in one block of time; one entry per burst."""

    unit: NDArray[np.intp]
    t_s: NDArray[np.float64]
    spikes: NDArray[np.int64]


class Tissue:
    """Renders a scene at any frame.

    Parameters
    ----------
    settings : SceneSettings
        The tissue.
    shape : (int, int)
        Lines and pixels of the field of view.
    rate_hz : float
        Frames per second.
    reach_px : float
        Distance that a scan reaches beyond the field of view without motion (the line phase).
    """

    def __init__(self, settings: SceneSettings, shape: tuple[int, int], rate_hz: float, reach_px: float = 0.0) -> None:
        self.motion = TissueMotion(settings.motion_px, rate_hz, settings.seed)
        self.margin = math.ceil(self.motion.limit_px + settings.beat_px + reach_px) + 1
        """Lines and pixels of the canvas beyond each edge of the field of view."""
        canvas = (shape[0] + 2 * self.margin, shape[1] + 2 * self.margin)
        optics = None if settings.depth_um is None else Optics(settings.depth_um, settings.pixel_um)
        if settings.picture is None:
            self.anatomy = draw_anatomy(settings.kind, canvas, settings.soma_radius_px, settings.seed, optics)
        else:
            self.anatomy = static_anatomy(fit_picture(settings.picture, canvas))
        self.beat = None
        """Displacement by a beating heart, if there is one."""
        if settings.beat_px:
            self.beat = Heartbeat(settings.beat_px, rate_hz, shape, settings.seed)
        self._seed, self._rate_hz, self._flows = settings.seed, rate_hz, settings.blood
        rng = np.random.default_rng([settings.seed, 23])
        units, modes = self.anatomy.units, len(self.anatomy.neuropil)
        firing = settings.activity * np.minimum(0.12 * rng.lognormal(0.0, 1.0, units), 1.0)
        firing *= rng.random(units) < 0.7
        self._events_hz = np.concatenate([firing, np.full(modes, 1.5 * settings.activity)])
        self._gain = np.concatenate([rng.uniform(0.3, 1.2, units), rng.uniform(0.05, 0.15, modes)])
        self._rise_s = rng.uniform(0.03, 0.12, units + modes)
        self._decay_s = rng.uniform(0.25, 1.2, units + modes)
        # The response of GCaMP to a spike has a fast rise and an exponential decay; its peak is scaled to 1.
        self._gain /= self._transient(self._rise_s * np.log1p(self._decay_s / self._rise_s), np.arange(units + modes))
        self._events = functools.lru_cache(maxsize=4)(self._draw_events)
        fastest_px_s = None if settings.flow_mm_s is None else settings.flow_mm_s * 1e3 / settings.pixel_um
        self.blood = Blood(self.anatomy.vessels, rng, fastest_px_s, self.beat.beats_hz if self.beat else None)
        """Blood in the vessels."""
        self._unit_brightness = 1.0 / self._mean_brightness()

    def activity(self, index: int) -> NDArray[np.float32]:
        """Return the activity (units + K,) of all cells, then of all background patterns, during frame `index`.

        Activity is the light above that at rest, relative to that at rest.
        """
        t_s = index / self._rate_hz
        block = int(t_s // _BLOCK_S)
        before, now = self._events(block - 1), self._events(block)
        unit = np.concatenate([before.unit, now.unit])
        age_s = t_s - np.concatenate([before.t_s, now.t_s])
        light = np.concatenate([before.spikes, now.spikes]) * self._gain[unit] * self._transient(age_s, unit)
        return np.bincount(unit, light, self._gain.size).astype(np.float32)

    def render(self, index: int, clock: Clock | None = None) -> Image:
        """Return the canvas (H, W) during frame `index`, float32; its mean over space and time is 1.

        Blood flows while the frame is scanned: each pixel shows its vessel at the time that `clock` returns, by default
        a time that increases evenly from row to row.
        """
        parts, active = self.anatomy, self.activity(index)
        rest = parts.rest
        modes = parts.neuropil.reshape(len(parts.neuropil), -1)
        canvas = (active[parts.units :] @ modes).reshape(rest.shape)
        canvas += rest
        for footprint in parts.footprints:
            level = active[footprint.unit]
            if level > 0.01:
                height, width = footprint.image.shape
                canvas[footprint.y : footprint.y + height, footprint.x : footprint.x + width] += level * footprint.image
        for number, vessel in enumerate(parts.vessels):
            blood: Image | np.float32 = np.float32(1)
            if self._flows:
                phase = clock(vessel.rows, vessel.columns) if clock else vessel.rows / rest.shape[0]
                blood = self.blood.brightness(number, (index + phase) / self._rate_hz)
            canvas[vessel.rows, vessel.columns] += parts.plasma * vessel.lumen * blood
        canvas *= np.float32(self._unit_brightness)
        return canvas

    def _transient(self, age_s: NDArray[np.float64], unit: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the response of `unit` at `age_s` after a spike; 0 before it."""
        age_s = np.maximum(age_s, 0.0)
        return np.asarray(-np.expm1(-age_s / self._rise_s[unit]) * np.exp(-age_s / self._decay_s[unit]))

    def _draw_events(self, block: int) -> _Events:
        rng = np.random.default_rng([self._seed, 29, block + 1])
        unit = np.repeat(np.arange(self._events_hz.size), rng.poisson(self._events_hz * _BLOCK_S))
        t_s = (block + rng.random(unit.size)) * _BLOCK_S
        return _Events(unit, t_s, 1 + rng.poisson(_BURST, unit.size))

    def _mean_brightness(self) -> float:
        """Return the mean of the canvas over space and time, before it is scaled to 1."""
        parts = self.anatomy
        area_s = self._decay_s**2 / (self._rise_s + self._decay_s)
        mean_active = self._events_hz * (1 + _BURST) * area_s * self._gain
        total = float(parts.rest.sum()) + float(mean_active[parts.units :] @ parts.neuropil.sum(axis=(1, 2)))
        total += sum(float(mean_active[f.unit] * f.image.sum()) for f in parts.footprints)
        total += sum(
            float(parts.plasma * v.lumen.sum() * self.blood.mean_brightness(n)) for n, v in enumerate(parts.vessels)
        )
        return total / parts.rest.size
