"""Recordings to be converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.conversion.volumes import Volumes
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile


class HeldMovie(MovieFile):
    """A recording in memory."""

    def __init__(self, pixels: NDArray[Any], facts: MovieFacts, path: Path = Path("mouse7.tif")) -> None:
        self.path, self.facts, self.shape, self.dtype = path, facts, pixels.shape, pixels.dtype
        self.pixels = pixels
        self.longest = 0
        """Most frames that were asked for at a time."""

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        self.longest = max(self.longest, t1 - t0)
        return super().read(t0, t1)

    def _read_frame(self, i: int, out: NDArray[Any]) -> None:
        out[...] = self.pixels[i]

    def close(self) -> None:
        pass


def noise(
    points: int = 5, planes: int = 3, channels: int = 2, lines: int = 12, pixels: int = 16, dtype: str = "<i2"
) -> NDArray[Any]:
    """Return pixels (T, Z, C, Y, X) that all differ between axes: negative ones too where the type has them."""
    rng = np.random.default_rng(points)
    shape = (points, planes, channels, lines, pixels)
    if dtype == "<f4":
        return rng.normal(0, 1000, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def recording(truth: NDArray[Any], *, stated: bool = True, uneven: bool = True, **facts: Any) -> HeldMovie:
    """Return a recording of such pixels; with `stated` it says everything about itself."""
    points, planes, channels, lines, pixels = truth.shape
    if stated:
        times = 3.5 + np.arange(points * planes) / 30
        times[1:] += 1e-3 * np.random.default_rng(0).random(points * planes - 1) if uneven else 0.0
        numbers = np.arange(points * planes) + 7
        numbers[numbers > 9] += 2
        said: dict[str, Any] = {
            "rate_hz": 30.0,
            "pixel_um": (0.8, 0.4),
            "channel_names": ("GCaMP6f", "red µ/2")[:channels],
            "times_s": times,
            "numbers": numbers,
            "warnings": ("the recording is denoised, not raw data",),
        }
        facts = said | facts
    return HeldMovie(
        truth.reshape(points * planes, channels, lines, pixels), MovieFacts("Test", "held", planes=planes, **facts)
    )


def volumes(truth: NDArray[Any], **facts: Any) -> Volumes:
    return Volumes(recording(truth, **facts))
