"""``deepbid-rt convert``: writes a recording in a format of other programs."""

from __future__ import annotations

import math
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.movie_facts import say_facts
from deepbid_rt.cli.output import print_json, progress_bar, say
from deepbid_rt.conversion.convert import check_nwb, convert
from deepbid_rt.conversion.target import Target
from deepbid_rt.errors import OptionError
from deepbid_rt.movies.open_movie import open_movie_file


class FormatChoice(StrEnum):
    """Format of the file to write."""

    OME_TIFF = "ome-tiff"
    OME_ZARR = "ome-zarr"
    NWB = "nwb"
    IMAGEJ = "imagej"


def convert_command(
    path: Annotated[
        Path, typer.Argument(metavar="MOVIE", help="Recording to convert: a file, folder, or pattern with *.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, or folder for OME-Zarr.")],
    format_: Annotated[
        FormatChoice | None,
        typer.Option("--format", help="By default by the end of OUT: .ome.tif, .zarr or .nwb. .tif needs this option."),
    ] = None,
    nwb: Annotated[
        list[str] | None,
        typer.Option(
            "--nwb",
            metavar="KEY=VALUE",
            help="What an NWB file states beside the recording; may be repeated. Keys: session_start (such as "
            "2026-11-30T14:05:00+01:00), session_description, identifier, device, location; indicator, excitation_nm, "
            "emission_nm (for all channels, or one for each with commas between); experimenter, institution, "
            "subject_id, species, sex, age.",
        ),
    ] = None,
    channels: o.MovieChannelsOption = None,
    planes: o.MoviePlanesOption = None,
    flyback: o.FlybackOption = None,
    dataset: o.DatasetOption = None,
    shape: o.RawShapeOption = None,
    dtype: o.RawTypeOption = None,
    rate_hz: o.MovieRateOption = None,
    salvage: o.SalvageOption = False,
    overwrite: o.OverwriteOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Write a recording as OME-TIFF, OME-Zarr, NWB or an ImageJ hyperstack, with all that `info MOVIE` shows."""
    target = Target(out, None if format_ is None else format_.value, overwrite=overwrite)
    facts = check_nwb("--nwb", _pairs(nwb or []), target)
    with open_movie_file(path, o.wanted(channels, planes, flyback, dataset, shape, dtype, salvage)) as movie:
        say_facts(path, movie.facts)
        if movie.problem:
            say(f"{path} is damaged ({movie.problem}); its {movie.shape[0]} whole frames are converted")
        begun = time.perf_counter()
        with progress_bar() as bar:
            task = bar.add_task("converting", total=movie.shape[0], note=target.format)
            done = convert(
                movie, target, rate_hz=rate_hz, nwb=facts, progress=lambda count: bar.update(task, completed=count)
            )
        seconds = time.perf_counter() - begun
        for note in done.notes:
            say(f"note: {done.path}: {note}")
        megabytes = math.prod(movie.shape) * movie.dtype.itemsize / 1e6
        say(f"{movie.shape[0]} frames in {seconds:.1f} s ({megabytes / seconds:.0f} MB/s): {done.path}")
        if as_json:
            print_json(
                {
                    "out": str(done.path),
                    "format": done.format,
                    "axes": "TZCYX",
                    "shape": list(done.shape),
                    "dtype": movie.dtype.name,
                    "seconds": round(seconds, 2),
                    "problem": movie.problem,
                    "notes": list(done.notes),
                }
            )


def _pairs(texts: list[str]) -> dict[str, object]:
    pairs: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key in pairs:
            raise OptionError(
                f"--nwb {text}" + (", which was given before" if equals else ""),
                expected="each key once, as KEY=VALUE",
                todo="write it like this, such as --nwb indicator=GCaMP6f, or leave it out",
            )
        pairs[key] = value
    return pairs
