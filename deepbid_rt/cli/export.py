"""``deepbid-rt export``: a trained run as an engine file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import print_json, say
from deepbid_rt.errors import EngineError


def run(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or a checkpoint file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Engine file to write (.onnx).")],
    name: Annotated[str | None, typer.Option(help="Name on the card; the file's name when left out.")] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Write a run's best network as an engine file, checked against torch."""
    try:
        from deepbid_rt.train.export import export
    except ImportError as error:
        raise EngineError(
            f"exporting without {error.name}",
            expected="the extra 'train' to be installed",
            todo='run pip install "deepbid-rt[train]"',
        ) from error
    card = export(run_dir, out, name or out.stem)
    say(f"engine {card.name} (delay {card.delay} frames): {out}")
    if as_json:
        print_json({"engine": str(out), "card": card.to_dict()})
