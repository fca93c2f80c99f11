"""Test frames with a line phase: smoothed random tissue, backward lines moved exactly, and Poisson noise."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from deepbid_rt.frame import ScanGeometry, StreamInfo
from deepbid_rt.scan.directions import merge_scan

RATE_HZ = 1.0
"""At this rate each frame is a block of `LinePhaseEstimator`, which has an estimate after each frame."""
_MARGIN = 48

Image = NDArray[np.float64]


def info_of(
    size: tuple[int, int] = (96, 96), scan: ScanGeometry | None = None, channels: int = 1, dtype: str = "<f4"
) -> StreamInfo:
    """A series whose views have `size` lines and pixels."""
    scan = scan or ScanGeometry("collinear")
    lines = size[0] * (2 if scan.layout == "collinear" else 1)
    return StreamInfo((channels, lines, size[1]), np.dtype(dtype), RATE_HZ, scan)


def tissue(size: tuple[int, int], seed: int = 0, slope: float = 0.0) -> Image:
    """Brightness (Y, X) with mean 1 and a margin along x. With a slope, streaks that move by `slope` pixels a line."""
    rows, columns = size[0], size[1] + 2 * _MARGIN
    rng = np.random.default_rng(seed)
    if slope:
        line = gaussian_filter(rng.standard_normal(columns), 2.5, mode="wrap")
        image = np.stack([moved(line[None], slope * row)[0] for row in range(rows)])
    else:
        image = gaussian_filter(rng.standard_normal((rows, columns)), 2.5, mode="wrap")
    return np.maximum(1 + 0.5 * image / image.std(), 0.0)


def moved(image: Image, px: float) -> Image:
    """Move an image (Y, X) to the right, circularly."""
    spectrum = scipy.fft.rfft(image)
    phase = np.exp(-2j * np.pi * scipy.fft.rfftfreq(image.shape[1]) * px)
    return np.asarray(scipy.fft.irfft(spectrum * phase, image.shape[1]))


def scanned(image: Image, px: float, scan: ScanGeometry) -> Image:
    """Scan an image without noise: lines (Y, X) as scanned, backward lines `px` pixels to the right."""
    forward, backward = (view[:, _MARGIN:-_MARGIN] for view in (image, moved(image, px)))
    if scan.layout == "ordinary":
        own, other = (0, 1) if scan.first == "forward" else (1, 0)
        forward, backward = forward[own::2], backward[other::2]
    return merge_scan(forward, backward, scan)


def frames(
    info: StreamInfo,
    px: float,
    count: int,
    *,
    photons: float = 300.0,
    seed: int = 0,
    slope: float = 0.0,
) -> list[NDArray[np.float32]]:
    """`count` frames (1, Y, X) float32 of the same tissue, each with its own Poisson noise."""
    rows = info.shape[1] // (2 if info.scan.layout == "collinear" else 1)
    light = photons * np.maximum(scanned(tissue((rows, info.shape[2]), seed, slope), px, info.scan), 0)
    rng = np.random.default_rng([seed, 1])
    return [rng.poisson(light)[None].astype(np.float32) for _ in range(count)]
