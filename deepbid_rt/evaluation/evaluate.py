"""Evaluation of a denoised movie beside its recording and reference filters, with or without a ground truth."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.baselines import best_linear, exponential_average, rolling_mean
from deepbid_rt.evaluation.metrics import missing_metrics
from deepbid_rt.evaluation.movie import (
    MovieReader,
    as_movie,
    average_line_pairs,
    check_movie,
    pair_movies,
    temporal_std,
)
from deepbid_rt.evaluation.paper import SSIM_SIDE
from deepbid_rt.evaluation.references import make_references
from deepbid_rt.evaluation.scores import Preview, Scores, score
from deepbid_rt.evaluation.shared_reader import SharedReader
from deepbid_rt.evaluation.temp_movie import to_temp_movie

_THREADS = min(4, os.cpu_count() or 1)
"""Movies evaluated at the same time; more would need more memory, and disk space for temporary movies."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of a movie, its recording and the baselines."""

    movie: Scores
    raw: Scores | None
    baselines: dict[str, Scores]
    truth: Preview | None
    missing_metrics: list[str]
    """Names of the metrics that cannot be computed from the given references."""

    def result(self) -> dict[str, Any]:
        """Return the JSON object: the movie's metrics, then ``raw``, ``baselines`` and ``unknown``."""
        raw = {} if self.raw is None else {"raw": self.raw.metrics}
        baselines = {name: scores.metrics for name, scores in self.baselines.items()}
        return {**self.movie.metrics, **raw, "baselines": baselines, "unknown": self.missing_metrics}

    @property
    def columns(self) -> dict[str, Scores]:
        """The columns of the table: denoised, raw, baselines."""
        raw = {} if self.raw is None else {"raw": self.raw}
        return {"denoised": self.movie, **raw, **self.baselines}


def evaluate(
    movie: MovieReader | NDArray[Any],
    truth: MovieReader | NDArray[Any] | None = None,
    raw: MovieReader | NDArray[Any] | None = None,
    *,
    cells: NDArray[Any] | None = None,
    traces: NDArray[np.float64] | None = None,
    reference: NDArray[Any] | None = None,
    filters: Mapping[str, MovieReader] | None = None,
    watch: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Score a movie; with ``raw``, also score the recording and the baselines by the same metrics.

    The baselines are a rolling mean of 8 frames, an exponential average of 4 and, with a truth, the best linear filter
    (`deepbid_rt.evaluation.baselines.best_linear`). Each is written to a temporary file of float32 while it is scored.
    As many movies are scored at the same time as there are processors, at most 4; the results do not depend on it.

    Parameters
    ----------
    movie : MovieReader or ndarray
        (T, C, Y, X), denoised.
    truth : MovieReader or ndarray, optional
        The clean movie, same shape and unit. Without it, only metrics that need the recording alone are computed.
    raw : MovieReader or ndarray, optional
        The recording. If it has twice the lines of the movie it is a collinear scan, and lines 2k and 2k+1 are
        averaged, as in the default output of the denoiser.
    cells : ndarray, optional
        (Y, X) numbers of the cells in the first channel, from 1; 0 for none. By default, active regions of the truth.
    traces : ndarray, optional
        (R, T) true traces of cells 1 to R, in any unit. By default the means of the cells in the truth.
    reference : ndarray, optional
        (Y, X) a sharp image of the first channel with little noise, for the error maps; by default the truth's frames.
    filters : mapping of str to MovieReader, optional
        More baselines, of the shape of the movie.
    watch : callable, optional
        Called with the name of each movie before it is scored, by the thread that scores it.

    Raises
    ------
    StreamError
        When neither truth nor recording is given, shapes differ, a movie is too small, constant or not finite, or the
        cells or traces do not fit.
    FileError
        When a temporary movie cannot be written.
    """
    reader = SharedReader()
    movie = reader.share(as_movie(movie))
    if truth is None and raw is None:
        raise StreamError(
            "a movie alone", expected="its clean truth, its raw recording, or both", todo="give --truth or --raw"
        )
    clean = None if truth is None else pair_movies(movie, reader.share(as_movie(truth)))[1]
    noisy = None if raw is None else pair_movies(movie, average_line_pairs(reader.share(as_movie(raw)), movie))[1]
    if min(movie.shape[0], *movie.shape[2:]) < SSIM_SIDE:
        raise StreamError(
            f"a movie of shape (T, C, Y, X) = {movie.shape}",
            expected=f"at least {SSIM_SIDE} frames, lines and pixels",
            todo="evaluate a longer or larger movie",
        )
    for name, given in {"the movie": movie, "the truth": clean, "the raw movie": noisy}.items():
        if given is not None:
            check_movie(given, name)
    references = make_references(movie.shape, clean, noisy, cells, traces, reference)
    column = int(temporal_std(movie if clean is None else clean)[0].sum(0).argmax())

    def scored(name: str, one: MovieReader) -> Scores:
        watch(name)
        return score(one, references, column)

    def filtered(name: str, make: Callable[[], MovieReader]) -> Scores:
        with to_temp_movie(make()) as temp_movie:
            return scored(name, reader.share(temp_movie))

    running: dict[str, Future[Scores]] = {}
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="evaluate") as pool:
        try:
            running["denoised"] = pool.submit(scored, "denoised", movie)
            if noisy is not None:
                running["raw"] = pool.submit(scored, "raw", noisy)
                baselines: dict[str, Callable[[], MovieReader]] = {
                    "rolling mean 8": partial(rolling_mean, noisy, 8),
                    "exponential average 4": partial(exponential_average, noisy, 4.0),
                }
                if clean is not None:
                    baselines["best linear filter"] = partial(best_linear, noisy, clean)
                for name, make in baselines.items():
                    running[name] = pool.submit(filtered, name, make)
                for name, ready in (filters or {}).items():
                    running[name] = pool.submit(scored, name, pair_movies(reader.share(ready), movie)[0])
            for ended in wait(running.values(), return_when=FIRST_EXCEPTION).done:
                ended.result()  # raises the exception of a movie that failed
            scores = {name: future.result() for name, future in running.items()}
        except BaseException:  # also on Ctrl-C: stop the running threads and drop the queued movies
            reader.close()
            pool.shutdown(cancel_futures=True)
            raise
    preview = None if clean is None else Preview.of(clean, column)
    missing = missing_metrics(references.available)
    return Evaluation(scores.pop("denoised"), scores.pop("raw", None), scores, preview, missing)
