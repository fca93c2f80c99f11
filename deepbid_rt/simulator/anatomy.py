"""What a piece of brain looks like under a two-photon microscope, drawn from a seed: the parts that do not change.

Somata with dark nuclei, dendrites, neuropil and blood vessels, on a canvas in arbitrary units of brightness.
Knows nothing of time, scanning or noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.simulator import shapes as brush
from deepbid_rt.simulator.heart import chamber
from deepbid_rt.simulator.optics import Optics
from deepbid_rt.simulator.resolution_target import chart
from deepbid_rt.simulator.shapes import Image

Kind = Literal["dense", "sparse", "vessels", "flow", "heart", "chart"]
KINDS: tuple[Kind, ...] = ("dense", "sparse", "vessels")
"""The kinds of brain, one of which a seed takes by itself."""
LANES = 16
"""Most stream lines side by side in a vessel of the brain, each with blood cells of its own."""
_LANE_PX = 2.5
_SPACING = {"dense": (2.3, 3.2), "sparse": (5.0, 8.0), "vessels": (4.0, 7.0)}
"""Smallest distance of two cells, in radii: the least and the most that a seed may draw."""
_UNLABELLED = {"flow": 0.35, "heart": 0.06}
"""Brightness of tissue that was not the aim of the labelling: around bright vessels, and around a heart."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Where one cell, or a process of it, shines when it is active."""

    unit: int
    """Number of the cell."""
    y: int
    x: int
    image: Image
    """(h, w) brightness for an activity of 1; its corner lies at (y, x) on the canvas."""
    is_soma: bool
    """Whether it is the cell's body and not a process."""


@dataclass(frozen=True, slots=True)
class Vessel:
    """The pixels of one blood vessel, and where in the stream each of them lies."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    along_px: Image
    """(pixels,) distance from the start of the vessel."""
    lane: NDArray[np.intp]
    """(pixels,) number of the stream line, 0 to `lanes` - 1."""
    lumen: Image
    """(pixels,) share of the light that comes from inside the vessel."""
    lanes: int = LANES
    """Number of stream lines."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A drawn scene."""

    kind: Kind
    rest: Image
    """(H, W) brightness when nothing is active; 0 inside vessels."""
    footprints: tuple[Footprint, ...]
    units: int
    """Number of cells, each with an activity of its own."""
    neuropil: Image
    """(K, H, W) patterns in which the background brightens together."""
    vessels: tuple[Vessel, ...]
    plasma: float
    """Brightness of blood plasma: small when it is unlabelled."""


def still(picture: Image) -> Anatomy:
    """Return a scene in which nothing lives."""
    return Anatomy("chart", picture, (), 0, np.zeros((1, *picture.shape), np.float32), (), 0.0)


def draw(
    kind: Kind | None, shape: tuple[int, int], radius_px: float | None, seed: int, optics: Optics | None = None
) -> Anatomy:
    """Draw a scene.

    Parameters
    ----------
    kind : {"dense", "sparse", "vessels", "flow", "heart", "chart"} or None
        Many somata; few somata with long dendrites; many vessels; more of them, their plasma bright in dim tissue; a
        chamber of a heart; no tissue but a test chart. None takes one of the first three by the seed.
    shape : (int, int)
        Lines and pixels of the canvas.
    radius_px : float or None
        Typical radius of a soma, pixels; None takes 2.5 to 11 by the seed.
    seed : int
        Equal arguments give equal scenes.
    optics : Optics, optional
        The focus at the depth of the focal plane; cells then lie above and below it as well. None: all lie in it.
    """
    rng = np.random.default_rng([seed, 11])
    if kind == "chart":
        return still(chart(rng, shape))
    by_seed, radius_by_seed = KINDS[rng.integers(len(KINDS))], float(np.exp(rng.uniform(0.9, 2.4)))
    kind = kind or by_seed
    radius = radius_px or radius_by_seed
    in_focus_px = float(rng.uniform(0.7, 1.1))
    psf_px = optics.lateral_px if optics else in_focus_px
    through, vessels, plasma, tissue = (_heart if kind == "heart" else _vessels)(rng, kind, shape, radius)
    neuropil = _neuropil(rng, shape, radius, psf_px)
    if optics:
        neuropil = _hazy(neuropil, optics, radius)
    neuropil *= tissue
    rest = np.zeros(shape, np.float32)
    footprints: list[Footprint] = []
    spacings = {brain: rng.uniform(*limits) for brain, limits in _SPACING.items()}
    spacing = spacings[{"flow": "vessels", "heart": "dense"}.get(kind, kind)]
    contrast = rng.uniform(0.8, 2.5)
    processes = {"sparse": 4.0, "heart": 0.0}.get(kind, 0.3)
    centres = _scatter(rng, shape, spacing * radius)
    centres = centres[tissue[tuple(np.minimum(centres, np.array(shape) - 1).T)] > 0.1]
    depths = np.random.default_rng([seed, 13])
    for unit, (cy, cx) in enumerate(centres):
        size, strength = radius * rng.uniform(0.75, 1.25), contrast * rng.lognormal(0.0, 0.6)
        planes, dim = brush.MIDDLE, 1.0
        if optics:
            away = depths.uniform(-1, 1) * (0.5 * size + optics.axial_px)
            planes, dim = optics.planes(size, away), optics.response(depths.uniform(-1, 1) * away)
        light, body = brush.soma(rng, size, psf_px, planes)
        half = light.shape[0] // 2
        _stamp(through, neuropil, body, cy - half, cx - half)
        strokes = [(light, cy - half, cx - half, strength, True)]
        for _ in range(int(rng.poisson(processes))):
            image, top, left = brush.dendrite(rng, size, psf_px)
            strokes.append((image, cy + top, cx + left, strength * dim * rng.uniform(0.3, 0.9), False))
        for image, top, left, brightness, is_soma in strokes:
            where, part = _overlap(shape, image.shape, top, left)
            if image[part].size:
                lit = (brightness * image[part] * through[where]).astype(np.float32)
                rest[where] += lit
                footprints.append(Footprint(unit, where[0].start, where[1].start, lit, is_soma))
    neuropil *= through
    rest += neuropil
    patterns = [0.5 * neuropil * (1 + brush.field(rng, shape, 8 * radius)).clip(0) for _ in range(3)]
    return Anatomy(kind, rest, tuple(footprints), len(centres), np.stack(patterns), vessels, plasma)


def _neuropil(rng: np.random.Generator, shape: tuple[int, int], radius: float, psf_px: float) -> Image:
    """Unresolved background: uneven, mottled, with fine fibres and bright specks."""
    uneven = rng.uniform(0.1, 0.35) * brush.field(rng, shape, 10 * radius)
    uneven += rng.uniform(0.1, 0.3) * brush.field(rng, shape, 1.2 * radius, stretch=rng.uniform(1.0, 2.0))
    uneven += rng.uniform(0.15, 0.4) * brush.field(rng, shape, 1.4 * psf_px)
    fibres = np.zeros(shape, np.float32)
    for _ in range(3):
        # The zero lines of a smooth field are long, smooth, never-ending curves: a cheap likeness of fibres.
        level = brush.field(rng, shape, rng.uniform(0.4, 1.2) * radius, stretch=rng.uniform(1.5, 4.0))
        fibres += np.exp(-np.square(level / 0.15)) * np.clip(brush.field(rng, shape, 3 * radius), 0, None)
    specks = (rng.random(shape) < 0.15 / radius**2) * rng.lognormal(0.0, 0.7, shape)
    fine = brush.blur((0.5 * fibres + 6 * psf_px**2 * specks).astype(np.float32), psf_px)
    return np.asarray(np.exp(uneven) + rng.uniform(0.3, 1.0) * fine, np.float32)


def _vessels(
    rng: np.random.Generator, kind: Kind, shape: tuple[int, int], radius: float
) -> tuple[Image, tuple[Vessel, ...], float, Image]:
    """Draw vessels.

    Returns the light they let through (H, W), the vessels, the brightness of plasma, and where other tissue is (H, W).
    """
    through = np.ones(shape, np.float32)
    many = {"vessels": (3, 8), "flow": (6, 13)}.get(kind)
    count = int(rng.integers(*many)) if many else int(rng.poisson(0.8))
    labelled = kind == "flow" or (kind == "vessels" and rng.random() < 0.6)
    plasma = float(rng.uniform(1.5, 4.0) if labelled else rng.uniform(0, 0.15))
    vessels = []
    for _ in range(count):
        width = float(np.clip(radius * rng.lognormal(-0.5, 0.6), 1.5, min(shape) / 12))
        # A vessel that crosses the focal plane is blurred less than one that runs above it.
        softness = float(rng.uniform(1.5, 1.5 + width))
        heading = rng.uniform(0, 2 * math.pi)
        middle = np.array(shape) * rng.uniform(0.1, 0.9, 2)
        # Grown both ways from a place inside, so that it crosses the field of view and ends beyond it.
        ways = [brush.path(rng, tuple(middle), heading + half, int(1.5 * max(shape)), 0.015) for half in (math.pi, 0)]
        course = np.concatenate([ways[0][:, ::-1], ways[1]], axis=1)
        distance, along, side = brush.tube(course, 2.5 * width + softness, shape)
        lumen = np.clip((width - distance) / softness + 0.5, 0, 1)
        shadow = rng.uniform(0.1, 0.5) * np.exp(-np.square(np.minimum(distance, 9 * width) / (1.2 * width)))
        rows, columns = np.nonzero(lumen)
        here = (rows, columns)
        lane = np.clip(np.rint(side[here] / _LANE_PX) + LANES // 2, 0, LANES - 1).astype(np.intp)
        profile = lumen[here] * np.sqrt(np.clip(1.05 - np.square(distance[here] / (width + softness)), 0.05, 1))
        vessels.append(Vessel(rows, columns, along[here], lane, profile.astype(np.float32)))
        through *= ((1 - lumen) * (1 - shadow)).astype(np.float32)
    return through, tuple(vessels), plasma, np.full(shape, _UNLABELLED.get(kind, 1.0), np.float32)


def _heart(
    rng: np.random.Generator, kind: Kind, shape: tuple[int, int], radius: float
) -> tuple[Image, tuple[Vessel, ...], float, Image]:
    """Draw a chamber of a heart; see `_vessels` for what is returned."""
    parts = chamber(rng, shape, 2.0)
    rows, columns = np.nonzero(parts.lumen)
    here = (rows, columns)
    lane = np.rint(parts.side_px[here] / _LANE_PX).astype(np.intp)
    lane -= lane.min()
    vessel = Vessel(rows, columns, parts.along_px[here], lane, parts.lumen[here], int(lane.max()) + 1)
    return (
        1 - parts.lumen,
        (vessel,),
        float(rng.uniform(0.5, 1.2)),
        np.maximum(parts.wall, np.float32(_UNLABELLED[kind])),
    )


def _hazy(neuropil: Image, optics: Optics, radius: float) -> Image:
    """Mix background from far out of focus into what is in focus."""
    far = brush.blur(neuropil, 4 * radius)
    return np.asarray((1 - optics.haze) * neuropil + optics.haze * far, np.float32)


def _scatter(rng: np.random.Generator, shape: tuple[int, int], spacing_px: float) -> NDArray[np.intp]:
    """Places (n, 2) on the canvas, no two closer than `spacing_px`: about as many as fit at random."""
    tries = int(3 * shape[0] * shape[1] / spacing_px**2) + 1
    candidates = rng.uniform((0, 0), shape, (tries, 2))
    kept = np.empty((0, 2))
    for place in candidates:
        if not kept.size or np.square(kept - place).sum(axis=1).min() >= spacing_px**2:
            kept = np.vstack([kept, place])
    return np.rint(kept).astype(np.intp)


def _stamp(through: Image, neuropil: Image, body: Image, top: int, left: int) -> None:
    """Take the background away where a cell body stands."""
    where, part = _overlap(through.shape, body.shape, top, left)
    neuropil[where] *= 1 - 0.7 * body[part]


def _overlap(
    shape: tuple[int, ...], size: tuple[int, ...], top: int, left: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a stroke of `size` at (top, left) lies on a canvas of `shape`, and which part of it that is."""
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = max(y0, min(shape[0], top + size[0])), max(x0, min(shape[1], left + size[1]))
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
