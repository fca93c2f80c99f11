"""``deepbid-rt info``: says what a recording is, as every other command will read it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import number, print_json, print_table
from deepbid_rt.movies.constant import constant_value, said
from deepbid_rt.movies.open_movie import open_movie_file


def info_command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="File, folder, or pattern with *.")],
    channels: o.MovieChannelsOption = None,
    planes: o.MoviePlanesOption = None,
    flyback: o.FlybackOption = None,
    dataset: o.DatasetOption = None,
    shape: o.RawShapeOption = None,
    dtype: o.RawTypeOption = None,
    salvage: o.SalvageOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Say what a recording holds: format, frames, planes, channels, rate, and how its pages become frames."""
    wanted = o.wanted(channels, planes, flyback, dataset, shape, dtype, salvage)
    with open_movie_file(path, wanted) as movie:
        facts = movie.facts
        frames, n_channels, lines, pixels = movie.shape
        warnings = [*facts.warnings, *([f"the file is damaged: {movie.problem}"] if movie.problem else [])]
        if (value := constant_value(movie)) is not None:
            warnings.append(said(value))
        # One time point of all planes counts as one frame.
        points = frames // facts.planes
        rate_hz = None if facts.rate_hz is None else facts.rate_hz / facts.planes
        scan = None if facts.bidirectional is None else "bidirectional" if facts.bidirectional else "unidirectional"
        if as_json:
            print_json(
                {
                    "format": facts.format,
                    "frames": points,
                    "planes": facts.planes,
                    "channels": n_channels,
                    "shape": [lines, pixels],
                    "dtype": movie.dtype.name,
                    "rate_hz": rate_hz,
                    "pixel_um": None if facts.pixel_um is None else list(facts.pixel_um),
                    "scan": scan,
                    "mirrored": facts.mirrored,
                    "channel_names": list(facts.channel_names),
                    "pages": facts.pages,
                    "seconds": None if rate_hz is None else points / rate_hz,
                    "warnings": warnings,
                }
            )
            return
        names = f" ({', '.join(facts.channel_names)})" if facts.channel_names else ""
        unknown = "the file does not say"
        rows = [
            ("format", facts.format),
            ("frames", f"{points}" + (f" volumes of {facts.planes} planes" if facts.planes > 1 else "")),
            ("channels", f"{n_channels}{names}"),
            ("lines x pixels", f"{lines} x {pixels}, {movie.dtype.name}"),
            (
                "rate",
                unknown
                if rate_hz is None
                else f"{number(rate_hz, 3)} {'volumes' if facts.planes > 1 else 'frames'}/s, "
                f"{number(points / rate_hz, 1)} s",
            ),
            ("pixel", unknown if facts.pixel_um is None else f"{facts.pixel_um[0]:.4g} x {facts.pixel_um[1]:.4g} um"),
            ("scan", scan or unknown),
            ("pages", facts.pages),
            *(("warning", warning) for warning in warnings),
        ]
        print_table(str(path), rows, ("", ""))
