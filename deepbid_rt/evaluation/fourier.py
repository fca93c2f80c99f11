"""Resolution of a movie: Fourier ring correlation, and the contrast that is left of the true contrast.

Frequencies are in cycles per pixel; 0.5 is the finest. Movies are read frame by frame.

The ring correlation shows up to which frequency detail exceeds the noise. It does not detect blur, as a filter scales
its numerator and denominator alike. The transfer shows how much contrast is left, and does not detect noise.
`sharpness` is the lower of the two cut-offs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.movie import MovieReader, as_movie, pair_movies, read_frame

FRC_THRESHOLD = 1 / 7
"""Fixed threshold of the ring correlation (Rosenthal and Henderson 2003)."""
CONTRAST_THRESHOLD = 0.5
"""Share of the contrast at the coarsest ring; the cut-off is the frequency known as MTF50."""
_COMPARED_FRAMES = 100  # evenly spaced frames that `next_frame_cutoff` compares with the next raw frame, at most


@dataclass(frozen=True, slots=True)
class RingCurves:
    """Curves over the spatial frequency, (rings,), without the constant part."""

    frequency: NDArray[np.float64]
    """Cycles per pixel."""
    correlation: NDArray[np.float64]
    """Correlation of the two movies in each ring."""
    transfer: NDArray[np.float64]
    """Contrast of the first movie divided by that of the second, 1 at the coarsest ring."""

    def frc_cutoff(self) -> float:
        """Return the frequency at which the correlation first falls below 1/7; 0.5 when it never does."""
        return _crossing(self.frequency, self.correlation, FRC_THRESHOLD)

    def transfer_cutoff(self) -> float:
        """Return the frequency at which the contrast first falls below one half; 0.5 when it never does."""
        return _crossing(self.frequency, self.transfer, CONTRAST_THRESHOLD)


def compare_rings(movie: MovieReader | NDArray[Any], other: MovieReader | NDArray[Any]) -> RingCurves:
    """Compare two movies ring by ring; products of spectra are summed over frames and channels before dividing.

    The mean of each frame is subtracted and a Hann window fades the frame out towards its borders, because a step
    between opposite borders would count as detail of every frequency. Rings are as wide as the coarsest frequency of
    the shorter side.

    Raises
    ------
    StreamError
        When shapes differ, pixels are not finite, or a frame has fewer than 8 lines or pixels.
    """
    movie, other = pair_movies(movie, other)
    lines, pixels = movie.shape[2:]
    if min(lines, pixels) < 8:
        raise StreamError(
            f"frames of {lines} x {pixels} pixels",
            expected="at least 8 x 8 for a ring correlation",
            todo="evaluate larger frames",
        )
    radius = np.hypot(np.fft.fftfreq(lines)[:, None], np.fft.rfftfreq(pixels)[None])
    count = min(lines, pixels) // 2
    ring = np.rint(radius * min(lines, pixels)).astype(np.intp)
    used = (ring >= 1) & (ring <= count)
    ring = ring[used] - 1
    window = np.hanning(lines + 2)[1:-1, None] * np.hanning(pixels + 2)[None, 1:-1]
    cross, power_x, power_y = (np.zeros(count) for _ in range(3))
    for t in range(movie.shape[0]):
        for x, y in zip(read_frame(movie, t), read_frame(other, t), strict=True):
            fx, fy = (np.fft.rfft2((image - image.mean()) * window)[used] for image in (x, y))
            cross += np.bincount(ring, (fx * fy.conj()).real, count)
            power_x += np.bincount(ring, np.abs(fx) ** 2, count)
            power_y += np.bincount(ring, np.abs(fy) ** 2, count)
    transfer = _ratio(cross, power_y)
    return RingCurves(
        np.arange(1, count + 1) / min(lines, pixels),
        _ratio(cross, np.sqrt(power_x * power_y)),
        transfer / transfer[0] if transfer[0] > 0 else np.zeros(count),
    )


def sharpness(movie: MovieReader | NDArray[Any], truth: MovieReader | NDArray[Any]) -> dict[str, float]:
    """Return ``frc_cutoff``, ``transfer_cutoff`` and ``sharpness``, the lower of the two, in cycles per pixel.

    ``sharpness`` falls with blur, which keeps the ring correlation, and with noise, which keeps the contrast.
    """
    curves = compare_rings(movie, truth)
    frc, transfer = curves.frc_cutoff(), curves.transfer_cutoff()
    return {"sharpness": min(frc, transfer), "frc_cutoff": frc, "transfer_cutoff": transfer}


def split_half_cutoff(movie: MovieReader | NDArray[Any]) -> float:
    """Return the ring correlation cut-off between the mean of the even frames and that of the odd frames.

    It needs no truth, but the halves must not share noise. Those of raw movies do not. Frames that were denoised
    together with their neighbours share noise, and the result is then an upper bound.

    Raises
    ------
    StreamError
        When there are fewer than 2 frames, or frames are too small.
    """
    movie = as_movie(movie)
    if movie.shape[0] < 2:
        raise StreamError("a movie of 1 frame", expected="at least 2 frames", todo="evaluate a longer movie")
    halves = np.zeros((2, *movie.shape[1:]))
    for t in range(movie.shape[0]):
        halves[t % 2] += read_frame(movie, t)
    return compare_rings(halves[:1], halves[1:]).frc_cutoff()


def next_frame_cutoff(movie: MovieReader | NDArray[Any], raw: MovieReader | NDArray[Any]) -> float:
    """Return the ring correlation cut-off of single frames of a movie, estimated without a truth.

    Frame t is compared with raw frame t + 1, which shows the same scene with independent noise. Their ring correlation
    is the product of two: that of frame t with the truth, and that of a raw frame with the truth. The second factor is
    the square root of the ring correlation of raw frames t and t + 1; dividing by it leaves the first.

    The estimate holds for movies whose frame t was made without raw frame t + 1; for others it is too high. Motion
    between the two frames lowers it, and noise that neighbouring raw frames share raises it, for all movies alike.

    Raises
    ------
    StreamError
        When shapes differ or are too small, or there are fewer than 2 frames.
    """
    movie, raw = pair_movies(movie, raw)
    pairs = movie.shape[0] - 1
    if pairs < 1:
        raise StreamError("a movie of 1 frame", expected="at least 2 frames", todo="evaluate a longer movie")
    at = np.unique(np.linspace(0, pairs - 1, min(pairs, _COMPARED_FRAMES)).astype(np.intp))
    next_raw = _SelectedFrames(raw, at + 1)
    movie_curves = compare_rings(_SelectedFrames(movie, at), next_raw)
    raw_curves = compare_rings(_SelectedFrames(raw, at), next_raw)
    correlation = _ratio(movie_curves.correlation, np.sqrt(np.maximum(raw_curves.correlation, 0)))
    return _crossing(movie_curves.frequency, correlation, FRC_THRESHOLD)


@dataclass(frozen=True, slots=True)
class _SelectedFrames:
    """A movie of some frames of another."""

    movie: MovieReader
    at: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.at), *self.movie.shape[1:]

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        return np.concatenate([self.movie.read(t, t + 1) for t in self.at[t0:t1].tolist()])


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _crossing(frequency: NDArray[np.float64], curve: NDArray[np.float64], threshold: float) -> float:
    """Return the frequency at which a curve first falls below the threshold, interpolated linearly."""
    below = np.flatnonzero(curve < threshold)
    if not below.size:
        return 0.5
    i = int(below[0])
    if i == 0:
        return 0.0
    share = (curve[i - 1] - threshold) / (curve[i - 1] - curve[i])
    return float(frequency[i - 1] + share * (frequency[i] - frequency[i - 1]))
