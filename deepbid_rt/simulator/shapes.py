"""The shapes that scenes are drawn from: random fields, somata, dendrites and tubes, as small images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from deepbid_rt.frame import Image

Sections = tuple[tuple[float, float], ...]
"""Sections through a ball: distance from its middle in radii, and weight, see `Optics.sections`."""
MIDDLE_SECTION: Sections = ((0.0, 1.0),)
"""One section through the middle, for a soma that lies in focus."""


def random_field(rng: np.random.Generator, shape: tuple[int, int], scale_px: float, stretch: float = 1.0) -> Image:
    """Draw a smooth random field of mean 0 and standard deviation 1.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the white noise and the direction of `stretch`.
    shape : (int, int)
        Lines and pixels.
    scale_px : float
        Standard deviation of the Gaussian that smooths the field, pixels.
    stretch : float
        Factor on `scale_px` along one random direction.
    """
    padded = (fft.next_fast_len(shape[0], real=True), fft.next_fast_len(shape[1], real=True))
    angle = rng.uniform(0, math.pi)
    fy, fx = np.fft.fftfreq(padded[0])[:, None], np.fft.rfftfreq(padded[1])[None, :]
    along, across = fy * math.sin(angle) + fx * math.cos(angle), fy * math.cos(angle) - fx * math.sin(angle)
    radius = (along * stretch) ** 2 + across**2
    low_pass = np.exp(-2 * (math.pi * scale_px) ** 2 * radius).astype(np.float32)
    noise = fft.rfft2(rng.standard_normal(padded, dtype=np.float32)) * low_pass
    out = fft.irfft2(noise, s=padded)[: shape[0], : shape[1]]
    out -= out.mean()
    return np.asarray(out / max(float(out.std()), 1e-6), np.float32)


def blur(image: Image, sigma_px: float) -> Image:
    """Blur an image with a Gaussian and periodic boundaries."""
    fy, fx = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None, :]
    low_pass = np.exp(-2 * (math.pi * sigma_px) ** 2 * (fy**2 + fx**2)).astype(np.float32)
    return np.asarray(fft.irfft2(fft.rfft2(image) * low_pass, s=image.shape), np.float32)


def draw_soma(
    rng: np.random.Generator, radius_px: float, psf_px: float, sections: Sections = MIDDLE_SECTION
) -> tuple[Image, Image]:
    """Draw a soma in the middle of a square: a bright ring around a dark nucleus.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws its shape.
    radius_px : float
        Radius of the soma, which is roughly a ball.
    psf_px : float
        Width of the optical blur of its edges.
    sections : Sections
        Sections through it that the microscope sees, see `deepbid_rt.simulator.optics.Optics.sections`.

    Returns
    -------
    light, body : ndarray, (h, h), float32
        Brightness, at most about 1; and 1 where the soma displaces the tissue around it.
    """
    half = math.ceil(1.6 * radius_px + 3 * psf_px)
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    angle = np.arctan2(y, x)
    wobble = sum(rng.normal(0, 0.12 / k) * np.cos(k * angle + rng.uniform(0, 2 * math.pi)) for k in (2, 3, 4))
    edge = radius_px * (1 + np.asarray(wobble))
    off_y, off_x = rng.normal(0, 0.12 * radius_px, 2)
    darkness, nucleus = rng.uniform(0.3, 1.0), rng.uniform(0.5, 0.75)
    from_middle, from_nucleus = np.hypot(y, x), np.hypot(y - off_y, x - off_x)
    light, body = np.zeros_like(x), np.zeros_like(x)
    for distance, share in sections:
        filled = _inside(from_middle, edge * math.sqrt(max(0.0, 1 - distance**2)), psf_px)
        hollow: Image | float = 0.0
        if abs(distance) < nucleus:
            cut = nucleus * math.sqrt(1 - (distance / nucleus) ** 2)
            hollow = darkness * _inside(from_nucleus, cut * edge, psf_px)
        light = light + share * filled * (1 - hollow)
        body = body + share * filled
    grain = np.exp(0.2 * random_field(rng, body.shape, max(psf_px, 0.25 * radius_px)))
    return np.asarray(light * grain, np.float32), np.asarray(body, np.float32)


def random_path(
    rng: np.random.Generator, start: tuple[float, float], heading: float, length: int, curl: float
) -> NDArray[np.float64]:
    """Return the points (2, length) of a winding path, one pixel apart; `curl` is the turn per step, radians rms."""
    turn = np.cumsum(rng.normal(0, curl, length))
    turn += 12 * curl * np.sin(np.arange(length) * rng.uniform(0.02, 0.06) + rng.uniform(0, 2 * math.pi))
    course = heading + turn - turn[0]
    steps = np.stack([np.sin(course), np.cos(course)])
    return np.asarray(np.array(start)[:, None] + np.cumsum(steps, axis=1))


def draw_dendrite(rng: np.random.Generator, radius_px: float, psf_px: float) -> tuple[Image, int, int]:
    """Draw a beaded process of a soma at (0, 0); returns the image and the place (y, x) of its corner."""
    heading, length = rng.uniform(0, 2 * math.pi), int(radius_px * rng.uniform(4, 14))
    y, x = random_path(rng, (0.0, 0.0), heading, length, 0.06)
    y, x = y + radius_px * math.sin(heading), x + radius_px * math.cos(heading)
    pad = math.ceil(4 * psf_px) + 1
    top, left = math.floor(y.min()) - pad, math.floor(x.min()) - pad
    image = np.zeros((math.ceil(y.max()) + pad - top + 1, math.ceil(x.max()) + pad - left + 1), np.float32)
    beads = np.exp(rng.normal(0, 0.4, length)) * np.linspace(1.0, 0.4, length) * (1 + 2 * (rng.random(length) < 0.06))
    np.add.at(image, (np.rint(y).astype(int) - top, np.rint(x).astype(int) - left), beads.astype(np.float32))
    # The path is blurred to the optical width and scaled so that the middle of a smooth process has brightness 1.
    sigma = psf_px * rng.uniform(1.0, 1.4)
    return blur(image, sigma) * np.float32(math.sqrt(2 * math.pi) * sigma), top, left


def tube_coordinates(
    course: NDArray[np.float64], radius_px: float, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the coordinates of every pixel of an image relative to a path.

    Parameters
    ----------
    course : ndarray, (2, points), float64
        Points (y, x) of the path, about one pixel apart.
    radius_px : float
        Pixels further than this from the path are left out.
    shape : (int, int)
        Lines and pixels of the image.

    Returns
    -------
    distance, along, side : ndarray, (Y, X), float32
        Distance to the nearest point (infinite where left out), number of that point, and signed distance to the left
        (-) or right (+) of the path.
    """
    distance = np.full(shape, np.inf, np.float32)
    along, side = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    tangent = np.gradient(course, axis=1)
    reach = math.ceil(radius_px)
    for i, (cy, cx) in enumerate(course.T):
        y0, y1 = max(0, int(cy) - reach), min(shape[0], int(cy) + reach + 2)
        x0, x1 = max(0, int(cx) - reach), min(shape[1], int(cx) + reach + 2)
        if y0 >= y1 or x0 >= x1:
            continue
        dy, dx = np.arange(y0, y1)[:, None] - cy, np.arange(x0, x1)[None, :] - cx
        here = np.hypot(dy, dx)
        patch = np.s_[y0:y1, x0:x1]
        nearer = (here < distance[patch]) & (here <= radius_px)
        distance[patch][nearer] = here[nearer]
        along[patch][nearer] = i
        side[patch][nearer] = (dx * tangent[0, i] - dy * tangent[1, i])[nearer]
    return distance, along, side


def _inside(distance: NDArray[np.floating], edge: NDArray[np.floating], psf_px: float) -> NDArray[np.floating]:
    """Return 1 inside the edge and 0 outside, blurred by the optics."""
    return 1 / (1 + np.exp(np.clip((distance - edge) / (0.6 * psf_px), -30, 30)))
