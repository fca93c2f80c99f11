"""The papers' metrics of a movie against a clean truth: correlations, signal-to-noise ratio, structural similarity.

Movies are read in pieces, so their length does not matter.

The papers' signal-to-noise ratio counts the constant part of the movie as signal, so that a blurred or frozen movie
also gains; the structural similarity has the same weakness. `deepbid_rt.evaluation.evaluate` adds metrics without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.moments import Moments
from deepbid_rt.evaluation.movie import MovieReader, pair_movies, read_frame

SSIM_SIDE = 11
"""Side of the SSIM window in frames, lines and pixels: a Gaussian of sigma 1.5, cut off at 3.5 sigma."""
SNR_LIMIT_DB = 20 * math.log10(2.0**52)
"""Replaces infinity, which JSON cannot hold, as for identical movies: float64 does not resolve smaller errors."""
_PIECE = 2**21  # pixels per piece; the SSIM holds about ten float64 arrays of this size


def agreement(movie: MovieReader | NDArray[Any], truth: MovieReader | NDArray[Any]) -> dict[str, float]:
    """Return ``correlation_xyt``, ``correlation_frame`` and ``snr_db``, the fast ones of `paper_metrics`."""
    return _agreement(*pair_movies(movie, truth))[0]


def frame_correlations(movie: MovieReader | NDArray[Any], truth: MovieReader | NDArray[Any]) -> NDArray[np.float64]:
    """Return the correlation within each frame, (T,); its mean is ``correlation_frame``."""
    movie, truth = pair_movies(movie, truth)
    pairs = ((read_frame(movie, t).ravel(), read_frame(truth, t).ravel()) for t in range(movie.shape[0]))
    return np.array([Moments.of(x, y).correlation() for x, y in pairs])


def paper_metrics(movie: MovieReader | NDArray[Any], truth: MovieReader | NDArray[Any]) -> dict[str, float]:
    """Compare a movie with the clean truth by the metrics of the papers.

    Parameters
    ----------
    movie, truth : MovieReader or ndarray
        (T, C, Y, X), same shape, in the same unit.

    Returns
    -------
    dict
        ``correlation_xyt``: Pearson correlation over all pixels. ``correlation_frame``: mean over frames of the
        correlation within one. ``snr_db``: 20 log10(RSS(movie) / RSS(movie - truth)) with RSS the root of the sum of
        squares, clipped to +-`SNR_LIMIT_DB` (DeepBID paper). ``ssim_2d``: structural similarity, mean over frames.
        ``ssim_3d``: the same with a window that also spans frames. Both use the truth's range as data range (1 for a
        constant truth) and the Gaussian window of Wang et al. 2004 as in scikit-image. Correlations with a constant are
        0.0.

    Raises
    ------
    StreamError
        When shapes differ, the movie is smaller than the SSIM window along any axis, or pixels are not finite.
    """
    movie, truth = pair_movies(movie, truth)
    if min(movie.shape[0], *movie.shape[2:]) < SSIM_SIDE:
        raise StreamError(
            f"a movie of shape (T, C, Y, X) = {movie.shape}",
            expected=f"at least {SSIM_SIDE} frames, lines and pixels for the structural similarity",
            todo="evaluate a longer or larger movie",
        )
    scores, data_range = _agreement(movie, truth)
    return scores | {"ssim_2d": _ssim_2d(movie, truth, data_range), "ssim_3d": _ssim_3d(movie, truth, data_range)}


def _agreement(movie: MovieReader, truth: MovieReader) -> tuple[dict[str, float], float]:
    """Return the fast metrics and the truth's range."""
    total = Moments()
    per_frame = []
    signal = error = 0.0
    low, high = math.inf, -math.inf
    for t in range(movie.shape[0]):
        x, y = read_frame(movie, t).ravel(), read_frame(truth, t).ravel()
        frame = Moments.of(x, y)
        per_frame.append(frame.correlation())
        total = total + frame
        signal += float(x @ x)
        error += float((x - y) @ (x - y))
        low, high = min(low, float(y.min())), max(high, float(y.max()))
    snr_db = SNR_LIMIT_DB  # no error at all
    if error:
        snr_db = 10 * math.log10(signal / error) if signal else -SNR_LIMIT_DB
    scores = {
        "correlation_xyt": total.correlation(),
        "correlation_frame": float(np.mean(per_frame)),
        "snr_db": max(-SNR_LIMIT_DB, min(SNR_LIMIT_DB, snr_db)),
    }
    return scores, (high - low) or 1.0


def _ssim(movie: NDArray[np.float64], truth: NDArray[np.float64], data_range: float) -> float:
    # scikit-image averages over pixels whose window lies inside the array, so pieces with a margin add up exactly.
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            truth, movie, data_range=data_range, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


def _ssim_2d(movie: MovieReader, truth: MovieReader, data_range: float) -> float:
    frames, channels = movie.shape[:2]
    total = 0.0
    for t in range(frames):
        x, y = read_frame(movie, t), read_frame(truth, t)
        total += sum(_ssim(x[c], y[c], data_range) for c in range(channels))
    return total / (frames * channels)


def _ssim_3d(movie: MovieReader, truth: MovieReader, data_range: float) -> float:
    frames, channels, lines, pixels = movie.shape
    margin = SSIM_SIDE - 1
    t_step = max(1, min(32, _PIECE // (SSIM_SIDE * pixels) - margin))
    y_step = max(1, _PIECE // ((t_step + margin) * pixels) - margin)
    total = 0.0
    for t0, t1 in _steps(frames - margin, t_step):
        x, y = movie.read(t0, t1 + margin), truth.read(t0, t1 + margin)
        for y0, y1 in _steps(lines - margin, y_step):
            for c in range(channels):
                a, b = (piece[:, c, y0 : y1 + margin].astype(np.float64) for piece in (x, y))
                total += _ssim(a, b, data_range) * (t1 - t0) * (y1 - y0)
    return total / (channels * (frames - margin) * (lines - margin))


def _steps(stop: int, step: int) -> Iterator[tuple[int, int]]:
    for start in range(0, stop, step):
        yield start, min(start + step, stop)
