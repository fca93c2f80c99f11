"""``deepbid-rt export``: writes the network of a training run as an engine file."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import print_json, say
from deepbid_rt.errors import EngineError, OptionError

_OF_RECORDINGS = (".tif", ".tiff", ".nwb", ".zarr", ".btf")


class OffsetChoice(StrEnum):
    """What was subtracted from the counts in the training of a network of another project."""

    MEAN = "mean"
    MINIMUM = "minimum"


def export_command(
    run_dir: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Folder of a run, or a checkpoint file (.pt, or .pth of DeepBID or DeepCAD-RT)."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Engine file to write (.onnx).")],
    name: Annotated[str | None, typer.Option(help="Name on the model card; the default is the file's name.")] = None,
    offset: Annotated[
        OffsetChoice | None,
        typer.Option(help="For a .pth: what was subtracted in training; mean, the default, or minimum (2021)."),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(min=1e-9, help="For a .pth: counts per unit in training (scale_factor of DeepCAD-RT)."),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="For a .pth: output as over the whole movie, with more delay and more work.")
    ] = False,
    overwrite: o.OverwriteOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Write a run's best network as an engine file, checked against torch."""
    if out.name.lower().endswith(_OF_RECORDINGS):
        raise OptionError(
            f"the network of a training run for {out.name}",
            expected="an engine file (.onnx)",
            todo="write recordings in other formats with deepbid-rt convert",
        )
    o.check_overwrite(out, overwrite)
    try:
        from deepbid_rt.train.export import export
        from deepbid_rt.train.imported_checkpoint import DEFAULT_NORMALIZATION
    except ImportError as error:
        raise EngineError(
            f"exporting without {error.name}",
            expected="the extra 'train' to be installed",
            todo='run pip install "deepbid-rt[train]"',
        ) from error
    normalization = None
    if offset or scale:
        default = DEFAULT_NORMALIZATION
        normalization = replace(default, rule=offset.value if offset else default.rule, scale=scale or default.scale)
    card = export(run_dir, out, name or out.stem, normalization, exact=exact)
    say(f"engine {card.name} (delay {card.delay} frames): {out}")
    if as_json:
        print_json({"engine": str(out), "card": card.to_dict()})
