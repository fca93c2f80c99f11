"""What denoising did to a real recording, of which no truth exists: noise, mean, halves.

Reads both movies once, frame by frame. Knows no file format and no engine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.moments import Moments
from deepbid_rt.evaluation.movie import Movie, as_movie, counts, lines_averaged, paired


def noise_summary(raw: Movie | NDArray[Any], denoised: Movie | NDArray[Any]) -> dict[str, Any]:
    """Say what denoising did to a real recording, of which no truth exists.

    Parameters
    ----------
    raw, denoised : Movie or ndarray
        (T, C, Y, X) of at least 2 frames. A raw movie of twice the lines is averaged over its line pairs, as in
        `evaluate`.

    Returns
    -------
    dict
        ``temporal_noise`` (standard deviation of the frame-to-frame difference over root 2, counts), ``mean`` (counts)
        and ``split_half_correlation`` (mean of the even frames with that of the odd frames), each with ``raw`` and
        ``denoised``; ``temporal_noise_ratio`` and ``mean_ratio``, denoised over raw (0.0 where raw is 0); and
        ``mean_image_correlation``, time mean of raw with that of denoised.

    Raises
    ------
    StreamError
        When shapes differ, there are fewer than 2 frames, or pixels are not finite.
    """
    before, after = paired(lines_averaged(as_movie(raw), as_movie(denoised)), denoised)
    sides = {"raw": before, "denoised": after}
    if before.shape[0] < 2:
        raise StreamError("a movie of 1 frame", expected="at least 2 frames", todo="compare longer recordings")
    noise, mean, split, images = {}, {}, {}, {}
    for name, movie in sides.items():
        halves = np.zeros((2, math.prod(movie.shape[1:])))
        step = Moments()  # of the frame-to-frame difference
        last = None
        for t in range(movie.shape[0]):
            frame = counts(movie, t).ravel()
            halves[t % 2] += frame
            step = step if last is None else step + Moments.of(frame - last, frame - last)
            last = frame
        images[name] = halves.sum(0) / movie.shape[0]
        noise[name] = math.sqrt(step.xx / step.n / 2)
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
