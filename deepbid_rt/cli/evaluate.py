"""``deepbid-rt evaluate``: compares a movie with its clean truth, its raw recording, or both."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import number, print_json, print_table, say
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.denoising.offline import denoise
from deepbid_rt.errors import StreamError, require_effect
from deepbid_rt.evaluation.metrics import METRICS
from deepbid_rt.evaluation.movie import MovieReader, temporal_mean
from deepbid_rt.evaluation.temp_movie import TempMovie
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.movie_source import MovieSource
from deepbid_rt.movies.open_movie import open_movie_file
from deepbid_rt.recording.trace_table import read_traces
from deepbid_rt.runtimes.average import AverageEngine


def evaluate_command(
    path: Annotated[Path | None, typer.Argument(metavar="MOVIE", help="Movie to evaluate.")] = None,
    denoised: Annotated[Path | None, typer.Option(help="Movie to evaluate, given as an option.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Clean movie.")] = None,
    raw: Annotated[Path | None, typer.Option(help="Raw recording; it and filtered versions are evaluated too.")] = None,
    cells: Annotated[Path | None, typer.Option(help="TIFF (Y, X) of cell numbers, 0 for none.")] = None,
    traces: Annotated[Path | None, typer.Option(help="True traces: CSV, columns frame,cell_1,...")] = None,
    reference: Annotated[Path | None, typer.Option(help="Sharp image for error maps; a movie is averaged.")] = None,
    channels: o.MovieChannelsOption = None,
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for report.md and pictures.")] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Evaluate a movie against its clean truth, its raw recording, or both."""
    require_effect(
        "--traces",
        traces,
        cells,
        why="without --cells",
        expected="--cells FILE beside it, with the pixels of each cell",
        todo="add --cells",
    )
    require_effect(
        "--cells",
        cells,
        truth or traces,
        why="without --truth and --traces",
        expected="true traces of the cells, or a clean movie that has them",
        todo="add --truth or --traces",
    )
    from deepbid_rt.evaluation.evaluate import evaluate  # scipy.signal takes half a second to import
    from deepbid_rt.evaluation.report import write_report

    movie_path = path or denoised
    if movie_path is None or (path and denoised):
        raise StreamError(
            "no movie to evaluate" if movie_path is None else f"two movies to evaluate, {path} and {denoised}",
            expected="one movie",
            todo="name it as MOVIE.tif or with --denoised",
        )
    with ExitStack() as stack:

        def open_movie(movie: Path, channels: int | None = channels) -> MovieFile:
            return stack.enter_context(open_movie_file(movie, o.wanted(channels)))

        movie = open_movie(movie_path)
        clean, noisy = (None if p is None else open_movie(p) for p in (truth, raw))
        cell_numbers = None if cells is None else _single_page(cells, open_movie(cells, 1))
        sharp = None if reference is None else temporal_mean(open_movie(reference))[0]
        true_traces = None if traces is None else read_traces(traces)
        filters: dict[str, MovieReader] = {}
        if raw is not None and noisy is not None and _comparable(noisy, movie):
            filters["average engine"] = stack.enter_context(_run_average_engine(raw, channels, noisy, movie))
        evaluation = evaluate(
            *(movie, clean, noisy),
            cells=cell_numbers,
            traces=true_traces,
            reference=sharp,
            filters=filters,
            watch=lambda name: say(f"evaluating: {name}"),
        )
    columns = evaluation.columns
    rows = [
        (name, metric.ideal, *(number(column.metrics[name], 3) for column in columns.values()))
        for name, metric in METRICS.items()
        if name not in evaluation.missing_metrics
    ]
    print_table(str(movie_path), rows, ("", "ideal", *columns))
    if evaluation.missing_metrics:
        say(f"not computed, as a reference is missing: {', '.join(evaluation.missing_metrics)}")
    if report:
        write_report(report, evaluation, movie_path.name)
        say(f"report    {report / 'report.md'}")
    if as_json:
        print_json(evaluation.result())


def _single_page(path: Path, movie: MovieFile) -> NDArray[Any]:
    if movie.shape[0] != 1:
        raise StreamError(
            f"{path} of {movie.shape[0]} pages", expected="one image of numbered cells", todo="save it as one page"
        )
    picture: NDArray[Any] = movie.frame(0)[0]
    return picture


def _comparable(raw: MovieFile, movie: MovieFile) -> bool:
    frames, channels, lines, pixels = movie.shape
    return raw.shape in (movie.shape, (frames, channels, 2 * lines, pixels))


def _run_average_engine(path: Path, channels: int | None, raw: MovieFile, movie: MovieFile) -> TempMovie:
    """Return the recording denoised by the engine ``average``; one with twice the lines of the movie is collinear."""
    scan = ScanGeometry("ordinary" if raw.shape == movie.shape else "collinear")
    temp_movie = TempMovie(movie.shape)
    try:
        with closing(MovieSource(path, o.wanted(channels), scan=scan)) as source:
            source.open()
            for frame in denoise(source, lambda info: Denoiser(AverageEngine(), info))[1]:
                temp_movie.append(np.asarray(frame.pixels)[None])
    except BaseException:
        temp_movie.close()
        raise
    return temp_movie
