"""Noise, mean and split-half correlation before and after denoising, for recordings without a truth.

Both movies are read once, frame by frame.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.moments import Moments
from deepbid_rt.evaluation.movie import MovieReader, as_movie, average_line_pairs, pair_movies, read_frame


def noise_summary(raw: MovieReader | NDArray[Any], denoised: MovieReader | NDArray[Any]) -> dict[str, Any]:
    """Compare a recording with its denoised movie, without a truth.

    Parameters
    ----------
    raw, denoised : MovieReader or ndarray
        (T, C, Y, X) of at least 2 frames. The line pairs of a raw movie with twice the lines are averaged, as in
        `evaluate`.

    Returns
    -------
    dict
        ``temporal_noise`` (standard deviation of the frame-to-frame difference divided by sqrt 2, counts), ``mean``
        (counts) and ``split_half_correlation`` (of the mean of the even frames with that of the odd frames), each with
        ``raw`` and ``denoised``; ``temporal_noise_ratio`` and ``mean_ratio``, denoised divided by raw (0.0 where raw is
        0); ``mean_image_correlation``, of the time means of raw and denoised.

    Raises
    ------
    StreamError
        When shapes differ, there are fewer than 2 frames, or pixels are not finite.
    """
    before, after = pair_movies(average_line_pairs(as_movie(raw), as_movie(denoised)), denoised)
    sides = {"raw": before, "denoised": after}
    if before.shape[0] < 2:
        raise StreamError("a movie of 1 frame", expected="at least 2 frames", todo="compare longer recordings")
    noise, mean, split, images = {}, {}, {}, {}
    for name, movie in sides.items():
        halves = np.zeros((2, math.prod(movie.shape[1:])))
        change = Moments()  # of the frame-to-frame difference
        last = None
        for t in range(movie.shape[0]):
            frame = read_frame(movie, t).ravel()
            halves[t % 2] += frame
            change = change if last is None else change + Moments.of(frame - last, frame - last)
            last = frame
        images[name] = halves.sum(0) / movie.shape[0]
        noise[name] = math.sqrt(change.xx / change.n / 2)
        mean[name] = float(images[name].mean())
        split[name] = Moments.of(halves[0], halves[1]).correlation()
    return {
        "temporal_noise": noise,
        "temporal_noise_ratio": noise["denoised"] / noise["raw"] if noise["raw"] else 0.0,
        "mean": mean,
        "mean_ratio": mean["denoised"] / mean["raw"] if mean["raw"] else 0.0,
        "split_half_correlation": split,
        "mean_image_correlation": Moments.of(images["raw"], images["denoised"]).correlation(),
    }
