"""The static parts of a simulated scene, drawn from a seed.

A scene of brain has somata with dark nuclei, dendrites, neuropil and blood vessels, on a canvas in arbitrary units of
brightness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Image
from deepbid_rt.simulator import shapes
from deepbid_rt.simulator.heart import draw_chamber
from deepbid_rt.simulator.optics import Optics
from deepbid_rt.simulator.resolution_target import draw_resolution_target

SceneKind = Literal["dense", "sparse", "vessels", "flow", "heart", "chart"]
BRAIN_KINDS: tuple[SceneKind, ...] = ("dense", "sparse", "vessels")
"""The kinds of brain that a seed selects from when no kind is given."""
STREAMLINES = 16
"""Streamlines side by side in a brain vessel, at most; each has its own blood cells."""
_STREAMLINE_PX = 2.5
"""Distance between streamlines."""
_SPACING = {"dense": (2.3, 3.2), "sparse": (5.0, 8.0), "vessels": (4.0, 7.0)}
"""Range from which a seed draws the smallest distance of two cells, in radii."""
_UNLABELLED = {"flow": 0.35, "heart": 0.06}
"""Brightness of tissue that is not labelled: around bright vessels, and around a heart."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Light of the soma or of one process of a cell when the cell is active."""

    unit: int
    """Number of the cell."""
    y: int
    x: int
    image: Image
    """(h, w) brightness for an activity of 1; its corner lies at (y, x) on the canvas."""
    is_soma: bool
    """True for the soma, False for a process."""


@dataclass(frozen=True, slots=True)
class Vessel:
    """The pixels of one blood vessel and their place in the blood stream."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    along_px: Image
    """(pixels,) distance from the start of the vessel."""
    streamline: NDArray[np.intp]
    """(pixels,) number of the streamline, 0 to `streamlines` - 1."""
    lumen: Image
    """(pixels,) share of the light that comes from inside the vessel."""
    streamlines: int = STREAMLINES
    """Number of streamlines."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A drawn scene; (H, W) are the lines and pixels of the canvas."""

    kind: SceneKind
    rest: Image
    """(H, W) brightness when nothing is active; 0 inside vessels."""
    footprints: tuple[Footprint, ...]
    units: int
    """Number of cells; each has its own activity."""
    neuropil: Image
    """(K, H, W) patterns of background; each has its own activity."""
    vessels: tuple[Vessel, ...]
    plasma: float
    """Brightness of blood plasma; small when it is not labelled."""


def static_anatomy(canvas: Image) -> Anatomy:
    """Return a scene of an image (H, W), without cells and vessels."""
    return Anatomy("chart", canvas, (), 0, np.zeros((1, *canvas.shape), np.float32), (), 0.0)


def fit_picture(picture: Image, shape: tuple[int, int]) -> Image:
    """Return the middle of a picture, float32 (H, W), mirrored at its edges where it is smaller than ``shape``."""
    short = [max(0, -(-(n - have) // 2)) for n, have in zip(shape, picture.shape, strict=True)]
    whole = np.pad(picture, [(n, n) for n in short], mode="symmetric")
    top, left = ((have - n) // 2 for n, have in zip(shape, whole.shape, strict=True))
    return np.asarray(whole[top : top + shape[0], left : left + shape[1]], np.float32)


def draw_anatomy(
    kind: SceneKind | None, shape: tuple[int, int], radius_px: float | None, seed: int, optics: Optics | None = None
) -> Anatomy:
    """Draw a scene.

    Parameters
    ----------
    kind : {"dense", "sparse", "vessels", "flow", "heart", "chart"} or None
        ``dense``: many somata. ``sparse``: few somata with long dendrites. ``vessels``: many vessels. ``flow``: more
        vessels, with bright plasma in dim tissue. ``heart``: one chamber of a heart. ``chart``: a resolution target
        instead of tissue. None: the seed selects one of the first three.
    shape : (int, int)
        Lines and pixels of the canvas.
    radius_px : float or None
        Typical radius of a soma, pixels; None: the seed draws 2.5 to 11.
    seed : int
        Equal arguments give equal scenes.
    optics : Optics, optional
        The focus at the depth of the focal plane; cells also lie above and below that plane. None: all cells lie in
        focus.
    """
    rng = np.random.default_rng([seed, 11])
    if kind == "chart":
        return static_anatomy(draw_resolution_target(rng, shape))
    by_seed, radius_by_seed = BRAIN_KINDS[rng.integers(len(BRAIN_KINDS))], float(np.exp(rng.uniform(0.9, 2.4)))
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
        sections, dim = shapes.MIDDLE_SECTION, 1.0
        if optics:
            away = depths.uniform(-1, 1) * (0.5 * size + optics.axial_px)
            sections, dim = optics.sections(size, away), optics.response(depths.uniform(-1, 1) * away)
        light, body = shapes.draw_soma(rng, size, psf_px, sections)
        half = light.shape[0] // 2
        _displace(neuropil, body, cy - half, cx - half)
        parts = [(light, cy - half, cx - half, strength, True)]
        for _ in range(int(rng.poisson(processes))):
            image, top, left = shapes.draw_dendrite(rng, size, psf_px)
            parts.append((image, cy + top, cx + left, strength * dim * rng.uniform(0.3, 0.9), False))
        for image, top, left, brightness, is_soma in parts:
            where, inside = _overlap(shape, image.shape, top, left)
            if image[inside].size:
                lit = (brightness * image[inside] * through[where]).astype(np.float32)
                rest[where] += lit
                footprints.append(Footprint(unit, where[0].start, where[1].start, lit, is_soma))
    neuropil *= through
    rest += neuropil
    patterns = [0.5 * neuropil * (1 + shapes.random_field(rng, shape, 8 * radius)).clip(0) for _ in range(3)]
    return Anatomy(kind, rest, tuple(footprints), len(centres), np.stack(patterns), vessels, plasma)


def _neuropil(rng: np.random.Generator, shape: tuple[int, int], radius: float, psf_px: float) -> Image:
    """Draw unresolved background (H, W): uneven, mottled, with fine fibres and bright specks."""
    uneven = rng.uniform(0.1, 0.35) * shapes.random_field(rng, shape, 10 * radius)
    uneven += rng.uniform(0.1, 0.3) * shapes.random_field(rng, shape, 1.2 * radius, stretch=rng.uniform(1.0, 2.0))
    uneven += rng.uniform(0.15, 0.4) * shapes.random_field(rng, shape, 1.4 * psf_px)
    fibres = np.zeros(shape, np.float32)
    for _ in range(3):
        # The zero lines of a smooth random field are long smooth curves, which look like fibres.
        level = shapes.random_field(rng, shape, rng.uniform(0.4, 1.2) * radius, stretch=rng.uniform(1.5, 4.0))
        fibres += np.exp(-np.square(level / 0.15)) * np.clip(shapes.random_field(rng, shape, 3 * radius), 0, None)
    specks = (rng.random(shape) < 0.15 / radius**2) * rng.lognormal(0.0, 0.7, shape)
    fine = shapes.blur((0.5 * fibres + 6 * psf_px**2 * specks).astype(np.float32), psf_px)
    return np.asarray(np.exp(uneven) + rng.uniform(0.3, 1.0) * fine, np.float32)


def _vessels(
    rng: np.random.Generator, kind: SceneKind, shape: tuple[int, int], radius: float
) -> tuple[Image, tuple[Vessel, ...], float, Image]:
    """Draw vessels.

    Returns
    -------
    through : ndarray, (H, W)
        Share of the light of other tissue that passes the vessels.
    vessels : tuple of Vessel
    plasma : float
        Brightness of plasma.
    tissue : ndarray, (H, W)
        Brightness of other tissue.
    """
    through = np.ones(shape, np.float32)
    many = {"vessels": (3, 8), "flow": (6, 13)}.get(kind)
    count = int(rng.integers(*many)) if many else int(rng.poisson(0.8))
    labelled = kind == "flow" or (kind == "vessels" and rng.random() < 0.6)
    plasma = float(rng.uniform(1.5, 4.0) if labelled else rng.uniform(0, 0.15))
    vessels = []
    for _ in range(count):
        width = float(np.clip(radius * rng.lognormal(-0.5, 0.6), 1.5, min(shape) / 12))
        # A vessel that crosses the focal plane is blurred less than one above it.
        softness = float(rng.uniform(1.5, 1.5 + width))
        heading = rng.uniform(0, 2 * math.pi)
        middle = np.array(shape) * rng.uniform(0.1, 0.9, 2)
        # It grows both ways from a point inside, so that it crosses the field of view and ends beyond it.
        ways = [
            shapes.random_path(rng, tuple(middle), heading + half, int(1.5 * max(shape)), 0.015)
            for half in (math.pi, 0)
        ]
        course = np.concatenate([ways[0][:, ::-1], ways[1]], axis=1)
        distance, along, side = shapes.tube_coordinates(course, 2.5 * width + softness, shape)
        lumen = np.clip((width - distance) / softness + 0.5, 0, 1)
        shadow = rng.uniform(0.1, 0.5) * np.exp(-np.square(np.minimum(distance, 9 * width) / (1.2 * width)))
        rows, columns = np.nonzero(lumen)
        here = (rows, columns)
        streamline = np.clip(np.rint(side[here] / _STREAMLINE_PX) + STREAMLINES // 2, 0, STREAMLINES - 1).astype(
            np.intp
        )
        profile = lumen[here] * np.sqrt(np.clip(1.05 - np.square(distance[here] / (width + softness)), 0.05, 1))
        vessels.append(Vessel(rows, columns, along[here], streamline, profile.astype(np.float32)))
        through *= ((1 - lumen) * (1 - shadow)).astype(np.float32)
    return through, tuple(vessels), plasma, np.full(shape, _UNLABELLED.get(kind, 1.0), np.float32)


def _heart(
    rng: np.random.Generator, kind: SceneKind, shape: tuple[int, int], radius: float
) -> tuple[Image, tuple[Vessel, ...], float, Image]:
    """Draw a chamber of a heart; returns the same as `_vessels`."""
    parts = draw_chamber(rng, shape, 2.0)
    rows, columns = np.nonzero(parts.lumen)
    here = (rows, columns)
    streamline = np.rint(parts.side_px[here] / _STREAMLINE_PX).astype(np.intp)
    streamline -= streamline.min()
    vessel = Vessel(rows, columns, parts.along_px[here], streamline, parts.lumen[here], int(streamline.max()) + 1)
    return (
        1 - parts.lumen,
        (vessel,),
        float(rng.uniform(0.5, 1.2)),
        np.maximum(parts.wall, np.float32(_UNLABELLED[kind])),
    )


def _hazy(neuropil: Image, optics: Optics, radius: float) -> Image:
    """Mix blurred background from far out of focus into the background in focus."""
    far = shapes.blur(neuropil, 4 * radius)
    return np.asarray((1 - optics.haze) * neuropil + optics.haze * far, np.float32)


def _scatter(rng: np.random.Generator, shape: tuple[int, int], spacing_px: float) -> NDArray[np.intp]:
    """Draw points (n, 2) on the canvas, no two closer than `spacing_px`, nearly as many as fit at random."""
    tries = int(3 * shape[0] * shape[1] / spacing_px**2) + 1
    candidates = rng.uniform((0, 0), shape, (tries, 2))
    kept = np.empty((0, 2))
    for place in candidates:
        if not kept.size or np.square(kept - place).sum(axis=1).min() >= spacing_px**2:
            kept = np.vstack([kept, place])
    return np.rint(kept).astype(np.intp)


def _displace(neuropil: Image, body: Image, top: int, left: int) -> None:
    """Remove background where a soma displaces it."""
    where, inside = _overlap(neuropil.shape, body.shape, top, left)
    neuropil[where] *= 1 - 0.7 * body[inside]


def _overlap(
    shape: tuple[int, ...], size: tuple[int, ...], top: int, left: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where an image of `size` at (top, left) lies on a canvas of `shape`, and which part of it lies inside."""
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = max(y0, min(shape[0], top + size[0])), max(x0, min(shape[1], left + size[1]))
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
