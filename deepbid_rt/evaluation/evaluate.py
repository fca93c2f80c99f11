"""A denoised movie, its recording and the filters every lab has, judged side by side, with or without a truth.

Joins the measures of this folder; knows no file format and no engine.
"""

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
from deepbid_rt.evaluation.figures import unknown
from deepbid_rt.evaluation.movie import Movie, as_movie, inspect, lines_averaged, paired, spread_of
from deepbid_rt.evaluation.paper import SSIM_SIDE
from deepbid_rt.evaluation.references import gather
from deepbid_rt.evaluation.scores import Scores, View, judge
from deepbid_rt.evaluation.shared_reader import SharedReader
from deepbid_rt.evaluation.temp_movie import to_temp_movie

_THREADS = min(4, os.cpu_count() or 1)
"""Movies judged at a time; more would need more memory and room for temporary movies."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The judgements of all movies, a view of the truth if there is one, and the figures that could not be had."""

    movie: Scores
    raw: Scores | None
    baselines: dict[str, Scores]
    truth: View | None
    unknown: list[str]

    def result(self) -> dict[str, Any]:
        """Return what JSON says: the movie's figures, then ``raw``, ``baselines`` and ``unknown``."""
        raw = {} if self.raw is None else {"raw": self.raw.figures}
        baselines = {name: judged.figures for name, judged in self.baselines.items()}
        return {**self.movie.figures, **raw, "baselines": baselines, "unknown": self.unknown}

    @property
    def columns(self) -> dict[str, Scores]:
        """The columns of the table."""
        raw = {} if self.raw is None else {"raw": self.raw}
        return {"denoised": self.movie, **raw, **self.baselines}


def evaluate(
    movie: Movie | NDArray[Any],
    truth: Movie | NDArray[Any] | None = None,
    raw: Movie | NDArray[Any] | None = None,
    *,
    cells: NDArray[Any] | None = None,
    traces: NDArray[np.float64] | None = None,
    reference: NDArray[Any] | None = None,
    filters: Mapping[str, Movie] | None = None,
    watch: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Judge a movie, and with ``raw`` that and the baselines by the same figures.

    The baselines are a rolling mean of 8 frames, an exponential average of 4, and with a truth the best linear filter
    (`deepbid_rt.evaluation.baselines.best_linear`); each is written to a temporary file of float32 while it is judged.
    As many movies are judged at a time as there are processors, at most 4; the figures do not depend on it.

    Parameters
    ----------
    movie : Movie or ndarray
        (T, C, Y, X), denoised.
    truth : Movie or ndarray, optional
        The clean movie, same shape and unit. Without it, only what the recording tells is known.
    raw : Movie or ndarray, optional
        The recording. With twice the lines of the movie it is a collinear scan: lines 2k and 2k+1 are averaged, as the
        default output is.
    cells : ndarray, optional
        (Y, X) numbers of cells from 1, 0 for none, in the first channel. By default those that flicker in the truth.
    traces : ndarray, optional
        (R, T) true traces of cells 1 to R, in any unit. By default the means of the cells in the truth.
    reference : ndarray, optional
        (Y, X) a sharp picture with little noise of the first channel, for the error maps instead of the truth's frames.
    filters : mapping of str to Movie, optional
        More baselines, of the shape of the movie.
    watch : callable, optional
        Called with the name of each movie before it is judged, by the thread that judges it.

    Raises
    ------
    StreamError
        When neither truth nor recording is given, shapes differ, a movie is too small, constant, or not finite, or the
        cells or traces do not fit.
    FileError
        When the disk does not take a temporary movie.
    """
    desk = SharedReader()
    movie = desk.share(as_movie(movie))
    if truth is None and raw is None:
        raise StreamError(
            "a movie alone", expected="its clean truth, its raw recording, or both", todo="give --truth or --raw"
        )
    clean = None if truth is None else paired(movie, desk.share(as_movie(truth)))[1]
    noisy = None if raw is None else paired(movie, lines_averaged(desk.share(as_movie(raw)), movie))[1]
    if min(movie.shape[0], *movie.shape[2:]) < SSIM_SIDE:
        raise StreamError(
            f"a movie of shape (T, C, Y, X) = {movie.shape}",
            expected=f"at least {SSIM_SIDE} frames, lines and pixels",
            todo="evaluate a longer or larger movie",
        )
    for name, given in {"the movie": movie, "the truth": clean, "the raw movie": noisy}.items():
        if given is not None:
            inspect(given, name)
    known = gather(movie.shape, clean, noisy, cells, traces, reference)
    column = int(spread_of(movie if clean is None else clean)[0].sum(0).argmax())

    def judged(name: str, what: Movie) -> Scores:
        watch(name)
        return judge(what, known, column)

    def filtered(name: str, make: Callable[[], Movie]) -> Scores:
        with to_temp_movie(make()) as spool:
            return judged(name, desk.share(spool))

    columns: dict[str, Future[Scores]] = {}
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="judge") as pool:
        try:
            columns["denoised"] = pool.submit(judged, "denoised", movie)
            if noisy is not None:
                columns["raw"] = pool.submit(judged, "raw", noisy)
                made: dict[str, Callable[[], Movie]] = {
                    "rolling mean 8": partial(rolling_mean, noisy, 8),
                    "exponential average 4": partial(exponential_average, noisy, 4.0),
                }
                if clean is not None:
                    made["best linear filter"] = partial(best_linear, noisy, clean)
                for name, make in made.items():
                    columns[name] = pool.submit(filtered, name, make)
                for name, ready in (filters or {}).items():
                    columns[name] = pool.submit(judged, name, paired(desk.share(ready), movie)[0])
            for ended in wait(columns.values(), return_when=FIRST_EXCEPTION).done:
                ended.result()  # raises what it raised
            found = {name: judging.result() for name, judging in columns.items()}
        except BaseException:  # Ctrl-C, too: what still runs, or waits for its turn, is of no use
            desk.close()
            pool.shutdown(cancel_futures=True)
            raise
    shown = None if clean is None else View.of(clean, column)
    return Evaluation(found.pop("denoised"), found.pop("raw", None), found, shown, unknown(known.needs))
