"""``deepbid-rt evaluate``: a movie measured against its clean truth."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import number, print_json, print_table
from deepbid_rt.evaluation.evaluate import evaluate
from deepbid_rt.recording.tiff_movie import TiffMovie


def run(
    path: Annotated[Path, typer.Argument(metavar="MOVIE.tif", help="Movie to judge.")],
    truth: Annotated[Path, typer.Option(help="Clean movie.")],
    raw: Annotated[Path | None, typer.Option(help="Noisy movie, judged in the same way.")] = None,
    channels: o.ChannelsOption = 1,
    as_json: o.JsonOption = False,
) -> None:
    """Measure a movie against its clean truth: correlation, SNR, structural similarity."""
    with ExitStack() as stack:
        movie, clean = (stack.enter_context(closing(TiffMovie(p, channels))) for p in (path, truth))
        noisy = stack.enter_context(closing(TiffMovie(raw, channels))) if raw else None
        result = evaluate(movie, clean, noisy)
    rows = [
        (key, number(value, 4), number(result["raw"][key], 4) if raw else "-")
        for key, value in result.items()
        if key != "raw"
    ]
    print_table(str(path), rows, ("", "movie", "raw"))
    if as_json:
        print_json(result)
