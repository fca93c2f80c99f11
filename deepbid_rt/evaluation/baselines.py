"""What every lab has without a network: running averages, and the best linear filter there is.

Each is a movie made while it is read, in blocks, so that its length does not matter; only the tuning holds a piece of
the recording in memory. Knows no file format and no engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, gaussian_filter, gaussian_filter1d

from deepbid_rt.evaluation.movie import Movie, as_movie, paired

Stack = NDArray[np.float64]
_BLOCK = 32  # frames filtered at once
_REACH = 4.0  # standard deviations of a Gaussian that are kept
_SIGMAS_XY = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
_SIGMAS_T = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
_TUNED_ON = 96  # frames


class Filtered:
    """A movie seen through a filter along time, float64; missing frames at either end repeat the first or last.

    Parameters
    ----------
    movie : Movie
        What is filtered.
    past, future : int
        Frames that the filter needs before and after each.
    run : callable
        (past + t + future, C, Y, X) -> the same shape; all but the outer frames are used.
    """

    def __init__(self, movie: Movie, past: int, future: int, run: Callable[[Stack], Stack]) -> None:
        self._movie, self._past, self._future, self._run = movie, past, future, run
        self._kept: tuple[int, Stack] | None = None

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
        if self._kept is None or self._kept[0] != number:
            t0 = number * _BLOCK
            t1 = min(t0 + _BLOCK, self.shape[0])
            lack_before, lack_after = max(0, self._past - t0), max(0, t1 + self._future - self.shape[0])
            known = self._movie.read(t0 - self._past + lack_before, t1 + self._future - lack_after)
            edges = ((lack_before, lack_after), (0, 0), (0, 0), (0, 0))
            done = self._run(np.pad(known.astype(np.float64), edges, mode="edge"))
            self._kept = number, done[self._past : len(done) - self._future]
        return self._kept[1]


def rolling_mean(movie: Movie | NDArray[Any], frames: int) -> Filtered:
    """Return the mean of each frame and the ``frames - 1`` before it, as a live display can have it."""
    return _causal(movie, np.full(frames, 1 / frames))


def exponential_average(movie: Movie | NDArray[Any], tau: float) -> Filtered:
    """Return the average that forgets with time constant ``tau`` (frames), live; weights below e^-8 are left out."""
    weights = np.exp(-np.arange(math.ceil(8 * tau) + 1) / tau)
    return _causal(movie, weights / weights.sum())


def gaussian(movie: Movie | NDArray[Any], sigma_xy: float, sigma_t: float) -> Filtered:
    """Return the movie blurred by Gaussians (pixels, frames); looks ahead, so it is no live display."""
    reach = math.ceil(_REACH * sigma_t)
    return Filtered(as_movie(movie), reach, reach, lambda stack: _blur(stack, sigma_xy, sigma_t))


@dataclass(frozen=True, slots=True)
class Tuned:
    """Standard deviations of the best Gaussian (pixels, frames) and the correlation it reached while tuned."""

    sigma_xy: float
    sigma_t: float
    correlation: float


def tune_gaussian(movie: Movie | NDArray[Any], truth: Movie | NDArray[Any]) -> Tuned:
    """Find the Gaussian filter whose output correlates best with the truth, on a grid.

    It sees the truth, which no user does: the best that a linear filter of this kind can do. Tuned on at most 96
    frames from the middle, held in memory.

    Raises
    ------
    StreamError
        When shapes differ.
    """
    movie, truth = paired(movie, truth)
    first = max(0, (movie.shape[0] - _TUNED_ON) // 2)
    x, y = (m.read(first, min(first + _TUNED_ON, m.shape[0])).astype(np.float64) for m in (movie, truth))
    y -= y.mean()
    best = Tuned(0.0, 0.0, -math.inf)
    for sigma_xy in _SIGMAS_XY:
        smooth = _blur(x, sigma_xy, 0.0)
        for sigma_t in _SIGMAS_T:
            z = _blur(smooth, 0.0, sigma_t)
            norm = float(z.std() * y.std()) * y.size
            correlation = float(np.vdot(z, y)) / norm if norm else 0.0
            if correlation > best.correlation:
                best = Tuned(sigma_xy, sigma_t, correlation)
    return best


def baselines(movie: Movie | NDArray[Any], truth: Movie | NDArray[Any]) -> dict[str, Movie]:
    """Return the filters of the table by name: rolling mean 8, exponential average 4, and the tuned Gaussian."""
    tuned = tune_gaussian(movie, truth)
    return {
        "rolling mean 8": rolling_mean(movie, 8),
        "exponential average 4": exponential_average(movie, 4.0),
        f"best Gaussian (x-y {tuned.sigma_xy:g}, t {tuned.sigma_t:g})": gaussian(movie, tuned.sigma_xy, tuned.sigma_t),
    }


def _causal(movie: Movie | NDArray[Any], weights: Stack) -> Filtered:
    past = len(weights) - 1
    kernel = np.concatenate([np.zeros(past), weights])  # convolution: entry past + k weighs the frame k before

    def run(stack: Stack) -> Stack:
        done: Stack = convolve1d(stack, kernel, axis=0, mode="nearest")
        return done

    return Filtered(as_movie(movie), past, 0, run)


def _blur(stack: Stack, sigma_xy: float, sigma_t: float) -> Stack:
    if sigma_xy:
        stack = gaussian_filter(stack, (0, 0, sigma_xy, sigma_xy), mode="nearest", truncate=_REACH)
    if sigma_t:
        stack = gaussian_filter1d(stack, sigma_t, axis=0, mode="nearest", truncate=_REACH)
    return stack
