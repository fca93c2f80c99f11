"""``deepbid-rt quantize``: an engine with 8-bit convolutions, for processors without a matrix unit."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import print_json, say
from deepbid_rt.errors import EngineError
from deepbid_rt.recording.tiff_source import TiffSource
from deepbid_rt.runtimes import find_engine

INPUTS = 48
"""Inputs that the ranges are measured on; more change no digit that matters."""


def run(
    engine_name: Annotated[
        str, typer.Argument(metavar="ENGINE", help="Engine file (.onnx) of kind stream, or shipped.")
    ],
    like: Annotated[Path, typer.Option("--like", help="Recording (.tif) such as the engine will meet.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Engine file to write (.onnx).")],
    scan: o.ScanOption = o.Layout.ORDINARY,
    first: o.FirstOption = o.Direction.FORWARD,
    unmirrored: o.UnmirroredOption = False,
    unidirectional: o.UnidirectionalOption = False,
    channels: o.ChannelsOption = 1,
    planes: o.PlanesOption = 1,
    as_json: o.JsonOption = False,
) -> None:
    """Write an engine again in 8 bits: half the time on a CPU. Refused where a recording's range is too wide for it."""
    try:
        from deepbid_rt.train.quantize import card_to_quantize, quantize
        from deepbid_rt.train.sampled_inputs import sampled_inputs
    except ImportError as error:
        raise EngineError(
            f"quantizing without {error.name}",
            expected="the extra 'int8' to be installed",
            todo='run pip install "deepbid-rt[int8]"',
        ) from error
    path = find_engine(engine_name)
    card = card_to_quantize(path)
    geometry = o.geometry(scan, first, unmirrored, unidirectional)
    source = TiffSource(like, scan=geometry, rate_hz=30.0, channels=channels, planes=planes)
    source.open()
    with closing(source):
        inputs = sampled_inputs(card, source, INPUTS)
    difference = quantize(path, out, inputs)
    say(f"engine {card.name} in 8 bits, {difference:.3f} standard deviations of noise from its original: {out}")
    if as_json:
        print_json({"engine": str(out), "inputs": len(inputs), "difference": round(difference, 5)})
