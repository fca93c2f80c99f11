"""``deepbid-rt evaluate``: a movie measured against its clean truth, or against the raw recording alone."""

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
from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.figures import FIGURES
from deepbid_rt.evaluation.movie import Movie, mean_of
from deepbid_rt.evaluation.temp_movie import TempMovie
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.recording.tiff_source import TiffSource
from deepbid_rt.recording.trace_table import read_traces
from deepbid_rt.runtimes.average import AverageEngine


def run(
    path: Annotated[Path | None, typer.Argument(metavar="MOVIE.tif", help="Movie to judge.")] = None,
    denoised: Annotated[Path | None, typer.Option(help="The same, by name.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Clean movie.")] = None,
    raw: Annotated[Path | None, typer.Option(help="Noisy movie: judged too, with filters of it.")] = None,
    cells: Annotated[Path | None, typer.Option(help="Numbered cells (Y, X), 0 for none, uint16 TIFF.")] = None,
    traces: Annotated[Path | None, typer.Option(help="True traces: CSV, frame,cell_1,...")] = None,
    reference: Annotated[Path | None, typer.Option(help="Sharp picture for error maps; of a movie, the mean.")] = None,
    channels: o.ChannelsOption = 1,
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for report.md and pictures.")] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Measure a movie against its clean truth; without one, what --raw tells."""
    from deepbid_rt.evaluation.evaluate import evaluate  # scipy.signal takes half a second to import
    from deepbid_rt.evaluation.report import write_report

    judged = path or denoised
    if judged is None or (path and denoised):
        raise StreamError(
            "no movie to judge" if judged is None else f"two movies to judge, {path} and {denoised}",
            expected="one movie",
            todo="name it as MOVIE.tif or with --denoised",
        )
    with ExitStack() as stack:

        def opened(movie: Path, channels: int = channels) -> TiffMovie:
            return stack.enter_context(closing(TiffMovie(movie, channels)))

        movie = opened(judged)
        clean, noisy = (None if p is None else opened(p) for p in (truth, raw))
        numbered = None if cells is None else _picture(cells, opened(cells, 1))
        sharp = None if reference is None else mean_of(opened(reference))[0]
        true = None if traces is None else read_traces(traces)
        filters: dict[str, Movie] = {}
        if raw is not None and noisy is not None and _fits(noisy, movie):
            filters["average engine"] = stack.enter_context(_averaged(raw, channels, noisy, movie))
        found = evaluate(
            *(movie, clean, noisy),
            cells=numbered,
            traces=true,
            reference=sharp,
            filters=filters,
            watch=lambda name: say(f"judging: {name}"),
        )
    columns = found.columns
    rows = [
        (name, figure.ideal, *(number(column.figures[name], 3) for column in columns.values()))
        for name, figure in FIGURES.items()
        if name not in found.unknown
    ]
    print_table(str(judged), rows, ("", "ideal", *columns))
    if found.unknown:
        say(f"cannot be known from what was given: {', '.join(found.unknown)}")
    if report:
        write_report(report, found, judged.name)
        say(f"report    {report / 'report.md'}")
    if as_json:
        print_json(found.result())


def _picture(path: Path, movie: TiffMovie) -> NDArray[Any]:
    if movie.shape[0] != 1:
        raise StreamError(
            f"{path} of {movie.shape[0]} pages", expected="one picture of numbered cells", todo="save it as one page"
        )
    picture: NDArray[Any] = movie.frame(0)[0]
    return picture


def _fits(raw: TiffMovie, movie: TiffMovie) -> bool:
    frames, channels, lines, pixels = movie.shape
    return raw.shape in (movie.shape, (frames, channels, 2 * lines, pixels))


def _averaged(path: Path, channels: int, raw: TiffMovie, movie: TiffMovie) -> TempMovie:
    """Return the recording as the engine without a network leaves it; twice the lines are those of a collinear scan."""
    scan = ScanGeometry("ordinary" if raw.shape == movie.shape else "collinear")
    spool = TempMovie(movie.shape)
    try:
        with closing(TiffSource(path, scan=scan, rate_hz=30.0, channels=channels)) as source:
            source.open()
            for frame in denoise(source, lambda info: Denoiser(AverageEngine(), info))[1]:
                spool.append(np.asarray(frame.pixels)[None])
    except BaseException:
        spool.close()
        raise
    return spool
