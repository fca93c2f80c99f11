"""What every lab has without a network: running averages, and the best linear filters there are.

A filter is a sum of terms, each a kernel along time and a Gaussian over the picture. Its movie is made while it is
read, in blocks, so that its length does not matter; only the tuning holds a piece of the recording in memory. Knows no
file format and no engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from deepbid_rt.evaluation.movie import Movie, as_movie, paired

Stack = NDArray[np.float64]
_BLOCK = 16  # frames filtered at once
_REACH = 4.0  # standard deviations of a Gaussian that are kept
_SIGMAS_XY = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
_SIGMAS_T = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
_BANK_XY = (0.0, 1.0, 2.0, 4.0)  # widths of which the best linear filter is a weighted sum
_BANK_T = (0.0, 1.0, 2.0, 5.0)
_TUNED_ON = 96  # frames
_TUNED_SIDE = 256  # lines and pixels
_SAMPLES = 2**19  # pixels that the regression sees of these, at most


@dataclass(frozen=True, slots=True)
class Term:
    """A kernel along time, then a Gaussian over the picture.

    ``weights`` of the frames from the oldest to the newest, of which the last is ``ahead`` frames after the one that is
    made; ``sigma_xy`` in pixels.
    """

    weights: Stack
    ahead: int = 0
    sigma_xy: float = 0.0


class Filtered:
    """A movie seen through a linear filter, float64; missing frames at either end repeat the first or last.

    Parameters
    ----------
    movie : Movie
        What is filtered.
    terms : sequence of Term
        What is added up.
    offset : float
        Counts added to that.
    """

    def __init__(self, movie: Movie, terms: Sequence[Term], offset: float = 0.0) -> None:
        self._movie, self._terms, self._offset = movie, terms, offset
        self._ahead = max(term.ahead for term in terms)
        self._past = max(len(term.weights) - 1 - term.ahead for term in terms)
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
            first, last = max(0, t0 - self._past), min(self.shape[0], t1 + self._ahead)
            known = self._movie.read(first, last).astype(np.float64)
            done = np.full((t1 - t0, *self.shape[1:]), self._offset)
            for term in self._terms:
                # row by row the kernel, shifted; what would reach beyond the movie falls on its first or last frame
                at = np.arange(t0, t1)[:, None] + np.arange(len(term.weights)) - (len(term.weights) - 1 - term.ahead)
                matrix = np.zeros((t1 - t0, last - first))
                np.add.at(
                    matrix,
                    (np.arange(t1 - t0)[:, None], np.clip(at, 0, self.shape[0] - 1) - first),
                    np.broadcast_to(term.weights, at.shape),
                )
                done += _smooth((matrix @ known.reshape(last - first, -1)).reshape(done.shape), term.sigma_xy)
            self._kept = number, done
        return self._kept[1]


def rolling_mean(movie: Movie | NDArray[Any], frames: int) -> Filtered:
    """Return the mean of each frame and the ``frames - 1`` before it, as a live display can have it."""
    return Filtered(as_movie(movie), [Term(np.full(frames, 1 / frames))])


def exponential_average(movie: Movie | NDArray[Any], tau: float) -> Filtered:
    """Return the average that forgets with time constant ``tau`` (frames), live; weights below e^-8 are left out."""
    weights = np.exp(-np.arange(math.ceil(8 * tau), -1, -1) / tau)
    return Filtered(as_movie(movie), [Term(weights / weights.sum())])


def gaussian(movie: Movie | NDArray[Any], sigma_xy: float, sigma_t: float) -> Filtered:
    """Return the movie blurred by Gaussians (pixels, frames); looks ahead, so it is no live display."""
    kernel = _kernel(sigma_t)
    return Filtered(as_movie(movie), [Term(kernel, len(kernel) // 2, sigma_xy)])


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
        smooth = _smooth(x, sigma_xy)
        for sigma_t in _SIGMAS_T:
            z = _along_time(smooth, sigma_t)
            norm = float(z.std() * y.std()) * y.size
            correlation = float(np.vdot(z, y)) / norm if norm else 0.0
            if correlation > best.correlation:
                best = Tuned(sigma_xy, sigma_t, correlation)
    return best


def best_linear(movie: Movie | NDArray[Any], truth: Movie | NDArray[Any]) -> Filtered:
    """Return the weighted sum of 16 Gaussians of x-y and t whose distance to the truth is the least.

    Sees the truth and the future, which no user does. The weights are those of the regression line of the truth on the
    sixteen, over at most 96 frames of at most 256 x 256 pixels from the middle; a single Gaussian of the bank, the raw
    movie among them, is never better there. Sums of Gaussians take the place of a Wiener filter: as free to form its
    pass band, with few enough weights that a short movie cannot be learnt by heart.

    Raises
    ------
    StreamError
        When shapes differ.
    """
    movie, truth = paired(movie, truth)
    first = max(0, (movie.shape[0] - _TUNED_ON) // 2)
    y0, x0 = (max(0, (side - _TUNED_SIDE) // 2) for side in movie.shape[2:])
    seen = np.s_[:, :, y0 : y0 + _TUNED_SIDE, x0 : x0 + _TUNED_SIDE]
    x, y = (m.read(first, min(first + _TUNED_ON, m.shape[0]))[seen].astype(np.float64) for m in (movie, truth))
    columns = []
    for sigma_xy in _BANK_XY:
        smooth = _smooth(x, sigma_xy)
        columns += [_thinned(_along_time(smooth, sigma_t)) for sigma_t in _BANK_T]
    bank, goal = np.stack(columns, axis=1), _thinned(y)
    mean = bank.mean(0)
    weights = np.linalg.lstsq(bank - mean, goal - goal.mean(), rcond=1e-9)[0]
    reach = len(_kernel(max(_BANK_T))) // 2
    kernels = np.stack([np.pad(k, reach - len(k) // 2) for k in map(_kernel, _BANK_T)])
    shares = weights.reshape(len(_BANK_XY), len(_BANK_T))
    terms = [Term(w @ kernels, reach, sigma_xy) for w, sigma_xy in zip(shares, _BANK_XY, strict=True)]
    return Filtered(movie, terms, float(goal.mean() - weights @ mean))


def _thinned(stack: Stack) -> Stack:
    every = math.ceil(math.sqrt(stack.size / _SAMPLES))
    return stack[:, :, ::every, ::every].ravel()


def _kernel(sigma_t: float) -> Stack:
    reach = math.ceil(_REACH * sigma_t)
    weights = np.exp(-np.square(np.arange(-reach, reach + 1) / (sigma_t or 1.0)) / 2)
    kernel: Stack = weights / weights.sum()
    return kernel


def _smooth(stack: Stack, sigma_xy: float) -> Stack:
    if not sigma_xy:
        return stack
    done: Stack = gaussian_filter(stack, (0, 0, sigma_xy, sigma_xy), mode="nearest", truncate=_REACH)
    return done


def _along_time(stack: Stack, sigma_t: float) -> Stack:
    if not sigma_t:
        return stack
    done: Stack = gaussian_filter1d(stack, sigma_t, axis=0, mode="nearest", truncate=_REACH)
    return done
