"""Reference filters without a network: running averages, and the best linear filters.

A filter is a sum of terms; each term is a kernel along time followed by a Gaussian blur of the frame. Filtered frames
are computed in blocks when they are read, so movies of any length can be filtered. Only the tuning functions hold part
of the recording in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from deepbid_rt.evaluation.movie import MovieReader, as_movie, pair_movies

Stack = NDArray[np.float64]
_BLOCK = 16  # frames filtered at once
_TRUNCATE = 4.0  # Gaussians are cut off at this many standard deviations
_SIGMAS_XY = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
_SIGMAS_T = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
_BANK_XY = (0.0, 1.0, 2.0, 4.0)  # the best linear filter is a weighted sum of Gaussians of these widths
_BANK_T = (0.0, 1.0, 2.0, 5.0)
_TUNING_FRAMES = 96
_TUNING_SIDE = 256  # lines and pixels
_TUNING_SAMPLES = 2**19  # most pixels used in the regression


@dataclass(frozen=True, slots=True)
class FilterTerm:
    """A kernel along time, then a Gaussian blur of the frame."""

    weights: Stack
    """Weights of the frames from the oldest to the newest."""
    look_ahead: int = 0
    """How many frames the newest weighted frame comes after the output frame."""
    sigma_xy: float = 0.0
    """Standard deviation of the Gaussian, pixels."""


class FilteredMovie:
    """A linearly filtered movie, float64; beyond either end of the movie the first or last frame is repeated.

    Parameters
    ----------
    movie : MovieReader
        The movie to filter.
    terms : sequence of FilterTerm
        The filter is their sum.
    offset : float
        Counts added to the sum.
    """

    def __init__(self, movie: MovieReader, terms: Sequence[FilterTerm], offset: float = 0.0) -> None:
        self._movie, self._terms, self._offset = movie, terms, offset
        self._frames_after = max(term.look_ahead for term in terms)
        self._frames_before = max(len(term.weights) - 1 - term.look_ahead for term in terms)
        self._last_block: tuple[int, Stack] | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, Y, X)."""
        return self._movie.shape

    def read(self, t0: int, t1: int) -> Stack:
        """Return frames ``t0`` to ``t1 - 1``, (t, C, Y, X)."""
        first = t0 // _BLOCK
        blocks = [self._block(number) for number in range(first, math.ceil(t1 / _BLOCK))]
        start = first * _BLOCK
        return np.concatenate(blocks)[t0 - start : t1 - start]

    def _block(self, number: int) -> Stack:
        if self._last_block is None or self._last_block[0] != number:
            t0 = number * _BLOCK
            t1 = min(t0 + _BLOCK, self.shape[0])
            first, last = max(0, t0 - self._frames_before), min(self.shape[0], t1 + self._frames_after)
            frames = self._movie.read(first, last).astype(np.float64)
            filtered = np.full((t1 - t0, *self.shape[1:]), self._offset)
            for term in self._terms:
                # Each row holds the kernel, shifted. Weights beyond the movie are added to its first or last frame.
                oldest = len(term.weights) - 1 - term.look_ahead
                at = np.arange(t0, t1)[:, None] + np.arange(len(term.weights)) - oldest
                matrix = np.zeros((t1 - t0, last - first))
                np.add.at(
                    matrix,
                    (np.arange(t1 - t0)[:, None], np.clip(at, 0, self.shape[0] - 1) - first),
                    np.broadcast_to(term.weights, at.shape),
                )
                in_time = (matrix @ frames.reshape(last - first, -1)).reshape(filtered.shape)
                filtered += _blur(in_time, term.sigma_xy)
            self._last_block = number, filtered
        return self._last_block[1]


def rolling_mean(movie: MovieReader | NDArray[Any], frames: int) -> FilteredMovie:
    """Return the mean of each frame and the ``frames - 1`` frames before it; causal, so a live display can show it."""
    return FilteredMovie(as_movie(movie), [FilterTerm(np.full(frames, 1 / frames))])


def exponential_average(movie: MovieReader | NDArray[Any], tau: float) -> FilteredMovie:
    """Return the causal exponential average of time constant ``tau`` (frames); weights below e^-8 are left out."""
    weights = np.exp(-np.arange(math.ceil(8 * tau), -1, -1) / tau)
    return FilteredMovie(as_movie(movie), [FilterTerm(weights / weights.sum())])


def gaussian(movie: MovieReader | NDArray[Any], sigma_xy: float, sigma_t: float) -> FilteredMovie:
    """Return the movie blurred by Gaussians (pixels, frames); it uses later frames, so it cannot run live."""
    kernel = _time_kernel(sigma_t)
    return FilteredMovie(as_movie(movie), [FilterTerm(kernel, len(kernel) // 2, sigma_xy)])


@dataclass(frozen=True, slots=True)
class TunedGaussian:
    """Standard deviations of the best Gaussian (pixels, frames), and its correlation with the truth in the tuning."""

    sigma_xy: float
    sigma_t: float
    correlation: float


def tune_gaussian(movie: MovieReader | NDArray[Any], truth: MovieReader | NDArray[Any]) -> TunedGaussian:
    """Find the Gaussian filter whose output correlates best with the truth, by a grid search.

    The tuning uses the truth, which a user does not have, so the result is an upper bound for filters of this kind. It
    uses at most 96 frames from the middle of the movie, which it holds in memory.

    Raises
    ------
    StreamError
        When shapes differ.
    """
    x, y = (_tuning_frames(m) for m in pair_movies(movie, truth))
    y -= y.mean()
    best = TunedGaussian(0.0, 0.0, -math.inf)
    for sigma_xy in _SIGMAS_XY:
        blurred = _blur(x, sigma_xy)
        for sigma_t in _SIGMAS_T:
            z = _blur_in_time(blurred, sigma_t)
            norm = float(z.std() * y.std()) * y.size
            correlation = float(np.vdot(z, y)) / norm if norm else 0.0
            if correlation > best.correlation:
                best = TunedGaussian(sigma_xy, sigma_t, correlation)
    return best


def best_linear(movie: MovieReader | NDArray[Any], truth: MovieReader | NDArray[Any]) -> FilteredMovie:
    """Return the weighted sum of 16 Gaussian filters (x-y and t) with the least squared distance to the truth.

    It uses the truth and later frames, which a user does not have. The weights come from a linear regression of the
    truth on the 16 filtered movies, over at most 96 frames of at most 256 x 256 pixels from the middle. There, no
    single Gaussian of the bank is better, nor is the raw movie, which is one of them. The sum of Gaussians stands for a
    Wiener filter: its pass band is as free, but it has too few weights to overfit a short movie.

    Raises
    ------
    StreamError
        When shapes differ.
    """
    movie, truth = pair_movies(movie, truth)
    y0, x0 = (max(0, (side - _TUNING_SIDE) // 2) for side in movie.shape[2:])
    crop = np.s_[:, :, y0 : y0 + _TUNING_SIDE, x0 : x0 + _TUNING_SIDE]
    x, y = (_tuning_frames(m)[crop] for m in (movie, truth))
    columns = []
    for sigma_xy in _BANK_XY:
        blurred = _blur(x, sigma_xy)
        columns += [_subsample(_blur_in_time(blurred, sigma_t)) for sigma_t in _BANK_T]
    bank, goal = np.stack(columns, axis=1), _subsample(y)
    mean = bank.mean(0)
    weights = np.linalg.lstsq(bank - mean, goal - goal.mean(), rcond=1e-9)[0]
    reach = len(_time_kernel(max(_BANK_T))) // 2
    kernels = np.stack([np.pad(k, reach - len(k) // 2) for k in map(_time_kernel, _BANK_T)])
    shares = weights.reshape(len(_BANK_XY), len(_BANK_T))
    terms = [FilterTerm(w @ kernels, reach, sigma_xy) for w, sigma_xy in zip(shares, _BANK_XY, strict=True)]
    return FilteredMovie(movie, terms, float(goal.mean() - weights @ mean))


def _tuning_frames(movie: MovieReader) -> Stack:
    """Return the frames in the middle of a movie on which filters are tuned, float64 (t, C, Y, X)."""
    first = max(0, (movie.shape[0] - _TUNING_FRAMES) // 2)
    return movie.read(first, min(first + _TUNING_FRAMES, movie.shape[0])).astype(np.float64)


def _subsample(stack: Stack) -> Stack:
    every = math.ceil(math.sqrt(stack.size / _TUNING_SAMPLES))
    return stack[:, :, ::every, ::every].ravel()


def _time_kernel(sigma_t: float) -> Stack:
    reach = math.ceil(_TRUNCATE * sigma_t)
    weights = np.exp(-np.square(np.arange(-reach, reach + 1) / (sigma_t or 1.0)) / 2)
    kernel: Stack = weights / weights.sum()
    return kernel


def _blur(stack: Stack, sigma_xy: float) -> Stack:
    if not sigma_xy:
        return stack
    blurred: Stack = gaussian_filter(stack, (0, 0, sigma_xy, sigma_xy), mode="nearest", truncate=_TRUNCATE)
    return blurred


def _blur_in_time(stack: Stack, sigma_t: float) -> Stack:
    if not sigma_t:
        return stack
    blurred: Stack = gaussian_filter1d(stack, sigma_t, axis=0, mode="nearest", truncate=_TRUNCATE)
    return blurred
