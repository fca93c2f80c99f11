"""``deepbid-rt evaluate``: a movie measured against its clean truth."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import number, print_json, print_table
from deepbid_rt.errors import FileError
from deepbid_rt.evaluation.baselines import baselines
from deepbid_rt.evaluation.box_plot import box_plot
from deepbid_rt.evaluation.evaluate import evaluate, frame_correlations
from deepbid_rt.evaluation.movie import Movie, lines_averaged
from deepbid_rt.evaluation.picture import side_by_side
from deepbid_rt.recording.tiff_movie import TiffMovie


def run(
    path: Annotated[Path, typer.Argument(metavar="MOVIE.tif", help="Movie to judge.")],
    truth: Annotated[Path, typer.Option(help="Clean movie.")],
    raw: Annotated[Path | None, typer.Option(help="Noisy movie, judged in the same way.")] = None,
    channels: o.ChannelsOption = 1,
    with_more: Annotated[
        bool, typer.Option("--more", help="Also dynamics, sharpness, traces, linearity; with --raw common filters.")
    ] = False,
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for a table, box plot, y-t views.")] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Measure a movie against its clean truth: correlation, SNR, structural similarity."""
    with ExitStack() as stack:
        movie, clean = (stack.enter_context(closing(TiffMovie(p, channels))) for p in (path, truth))
        noisy = stack.enter_context(closing(TiffMovie(raw, channels))) if raw else None
        result = evaluate(movie, clean, noisy)
        extra: dict[str, Any] = {}
        if with_more or report:
            from deepbid_rt.evaluation.more import markdown, more  # scipy.signal takes half a second to import

            extra = more(movie, clean, noisy)
        if report:
            views: dict[str, Movie] = {"truth": clean, "denoised": movie}
            if noisy:
                views["raw"] = lines_averaged(noisy, clean)
                views |= baselines(views["raw"], clean)
            _write(report, markdown(result, extra), views)
    rows = [
        (key, number(value, 4), number((result | extra["raw"] | result["raw"] if extra else result["raw"])[key], 4))
        if raw
        else (key, number(value, 4), "-")
        for key, value in (result | extra).items()
        if value is None or isinstance(value, float)
    ]
    print_table(str(path), rows, ("", "movie", "raw"))
    if as_json:
        print_json(result | {"more": extra} if extra else result)


def _write(folder: Path, table: str, movies: dict[str, Movie]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scores.md").write_text(table, encoding="utf-8")
    except OSError as error:
        raise FileError(
            f"{folder} cannot be written ({error.strerror or error})",
            expected="a folder that can be written",
            todo="check the path and its rights",
        ) from error
    panels = []
    for name, movie in movies.items():
        column = movie.shape[3] // 2
        columns = [movie.read(t, t + 1)[0, 0, :, column].astype(np.float64) for t in range(min(512, movie.shape[0]))]
        panels.append((name, np.stack(columns, axis=1)))
    side_by_side(panels, folder / "yt.png", "y-t view of the middle column (time to the right)")
    groups = {name: frame_correlations(movie, movies["truth"]) for name, movie in movies.items() if name != "truth"}
    box_plot(groups, folder / "frame_correlation.png", "Correlation of each frame with the truth")
