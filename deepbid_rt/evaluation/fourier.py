"""How fine the detail in a movie is: Fourier ring correlation, and the contrast that is left of the true one.

Reads movies frame by frame. Frequencies are in cycles per pixel, 0.5 being the finest. Knows no file format.

A ring correlation alone is blind to blur: a filter scales both sides of it. It says up to where detail stands above the
noise. The transfer says what contrast is left, and is blind to noise. `sharpness` takes the lower of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.movie import Movie, as_movie, counts, paired

FRC_THRESHOLD = 1 / 7
"""Fixed threshold of ring correlation (Rosenthal and Henderson 2003)."""
CONTRAST_THRESHOLD = 0.5
"""Of the contrast at the coarsest ring: the frequency known as MTF50."""
_WITNESSES = 100  # raw frames, evenly spaced, by which frames of a movie are judged without a truth


@dataclass(frozen=True, slots=True)
class Rings:
    """Curves over the spatial frequency; the constant part is left out.

    ``frequency`` in cycles per pixel; ``correlation`` of the two movies in each ring; ``transfer``: the movie's
    contrast over that of the second movie, 1 at the coarsest ring.
    """

    frequency: NDArray[np.float64]
    correlation: NDArray[np.float64]
    transfer: NDArray[np.float64]

    def frc_cutoff(self) -> float:
        """Frequency at which the correlation first falls below 1/7; 0.5 when it never does."""
        return _crossing(self.frequency, self.correlation, FRC_THRESHOLD)

    def transfer_cutoff(self) -> float:
        """Frequency at which the contrast first falls below one half; 0.5 when it never does."""
        return _crossing(self.frequency, self.transfer, CONTRAST_THRESHOLD)


def rings(movie: Movie | NDArray[Any], other: Movie | NDArray[Any]) -> Rings:
    """Compare two movies ring by ring; products of spectra are summed over frames and channels before dividing.

    Each frame loses its mean and is faded out to its borders (Hann), as a step between opposite borders would count as
    detail of every frequency. Rings are as wide as the coarsest frequency of the shorter side.

    Raises
    ------
    StreamError
        When shapes differ, pixels are not finite, or a frame has fewer than 8 lines or pixels.
    """
    movie, other = paired(movie, other)
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
        for x, y in zip(counts(movie, t), counts(other, t), strict=True):
            fx, fy = (np.fft.rfft2((image - image.mean()) * window)[used] for image in (x, y))
            cross += np.bincount(ring, (fx * fy.conj()).real, count)
            power_x += np.bincount(ring, np.abs(fx) ** 2, count)
            power_y += np.bincount(ring, np.abs(fy) ** 2, count)
    transfer = _ratio(cross, power_y)
    return Rings(
        np.arange(1, count + 1) / min(lines, pixels),
        _ratio(cross, np.sqrt(power_x * power_y)),
        transfer / transfer[0] if transfer[0] > 0 else np.zeros(count),
    )


def sharpness(movie: Movie | NDArray[Any], truth: Movie | NDArray[Any]) -> dict[str, float]:
    """Return ``frc_cutoff``, ``transfer_cutoff`` and ``sharpness``, the lower of the two, in cycles per pixel.

    Neither a blur (which keeps the ring correlation) nor noise (which keeps the contrast) raises ``sharpness``.
    """
    curves = rings(movie, truth)
    frc, transfer = curves.frc_cutoff(), curves.transfer_cutoff()
    return {"sharpness": min(frc, transfer), "frc_cutoff": frc, "transfer_cutoff": transfer}


def split_half_cutoff(movie: Movie | NDArray[Any]) -> float:
    """Return the ring correlation's cut-off between the mean of the even and that of the odd frames, without a truth.

    The halves must not share noise: true of raw movies, not of movies whose frames were denoised with their
    neighbours, for which this is an upper bound.
    """
    movie = as_movie(movie)
    if movie.shape[0] < 2:
        raise StreamError("a movie of 1 frame", expected="at least 2 frames", todo="evaluate a longer movie")
    halves = np.zeros((2, *movie.shape[1:]))
    for t in range(movie.shape[0]):
        halves[t % 2] += counts(movie, t)
    return rings(halves[:1], halves[1:]).frc_cutoff()


def next_frame_cutoff(movie: Movie | NDArray[Any], raw: Movie | NDArray[Any]) -> float:
    """Return where single frames of a movie lose the scene, as `Rings.frc_cutoff`, without a truth.

    The next raw frame bears witness: it shows the scene once more, and its noise is nobody's. The ring correlation of
    frame t with raw frame t + 1 is that with the truth, times that of a raw frame with the truth. The latter is the
    root of the correlation of raw frames t and t + 1; the former is divided by it.

    That holds for movies whose frame t was made without frame t + 1: others are flattered. Motion between the two
    frames takes from all movies alike, noise that neighbouring frames share gives to all.

    Raises
    ------
    StreamError
        When shapes differ or are too small, or there are fewer than 2 frames.
    """
    movie, raw = paired(movie, raw)
    pairs = movie.shape[0] - 1
    if pairs < 1:
        raise StreamError("a movie of 1 frame", expected="at least 2 frames", todo="evaluate a longer movie")
    at = np.unique(np.linspace(0, pairs - 1, min(pairs, _WITNESSES)).astype(np.intp))
    now, before, witness = _Chosen(movie, at), _Chosen(raw, at), _Chosen(raw, at + 1)
    seen, known = rings(now, witness), rings(before, witness)
    return _crossing(seen.frequency, _ratio(seen.correlation, np.sqrt(np.maximum(known.correlation, 0))), FRC_THRESHOLD)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Some frames of a movie."""

    movie: Movie
    at: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.at), *self.movie.shape[1:]

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        return np.concatenate([self.movie.read(t, t + 1) for t in self.at[t0:t1].tolist()])


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _crossing(frequency: NDArray[np.float64], curve: NDArray[np.float64], threshold: float) -> float:
    below = np.flatnonzero(curve < threshold)
    if not below.size:
        return 0.5
    i = int(below[0])
    if i == 0:
        return 0.0
    share = (curve[i - 1] - threshold) / (curve[i - 1] - curve[i])
    return float(frequency[i - 1] + share * (frequency[i] - frequency[i - 1]))
