"""``deepbid-rt quantize``: writes an engine with 8-bit convolutions, for processors without a matrix unit."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.movie_facts import say_facts
from deepbid_rt.cli.output import print_json, say
from deepbid_rt.errors import EngineError
from deepbid_rt.movies.movie_source import MovieSource
from deepbid_rt.runtimes import find_engine

INPUTS = 48
"""Inputs that the ranges of the activations are measured on; with more, the result is practically the same."""


def quantize_command(
    engine_name: Annotated[
        str, typer.Argument(metavar="ENGINE", help="Engine file (.onnx) of kind stream, or name of a shipped engine.")
    ],
    like: Annotated[Path, typer.Option("--like", help="Recording like those in use.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Engine file to write (.onnx).")],
    scan: o.ScanOption = o.LayoutChoice.ORDINARY,
    first: o.FirstOption = o.DirectionChoice.FORWARD,
    unmirrored: o.UnmirroredOption = False,
    unidirectional: o.UnidirectionalOption = False,
    channels: o.MovieChannelsOption = None,
    planes: o.MoviePlanesOption = None,
    flyback: o.FlybackOption = None,
    dataset: o.DatasetOption = None,
    shape: o.RawShapeOption = None,
    dtype: o.RawTypeOption = None,
    overwrite: o.OverwriteOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Write an engine whose U-Net works in 8 bits. Refused if 8 bits are not exact enough for the recording."""
    o.check_overwrite(out, overwrite)
    geometry = o.scan_geometry(scan, first, unmirrored, unidirectional)
    try:
        from deepbid_rt.train.quantize import quantize, read_stream_card
        from deepbid_rt.train.sampled_inputs import sampled_inputs
    except ImportError as error:
        raise EngineError(
            f"quantizing without {error.name}",
            expected="the extra 'int8' to be installed",
            todo='run pip install "deepbid-rt[int8]"',
        ) from error
    path = find_engine(engine_name)
    card = read_stream_card(path)
    source = MovieSource(like, o.wanted(channels, planes, flyback, dataset, shape, dtype), scan=geometry)
    source.open()
    say_facts(like, source.facts)
    with closing(source):
        inputs = sampled_inputs(card, source, INPUTS)
    difference = quantize(path, out, inputs)
    say(f"engine {card.name} in 8 bits; it differs by {difference:.3f} standard deviations of noise: {out}")
    if as_json:
        print_json({"engine": str(out), "inputs": len(inputs), "difference": round(difference, 5)})
