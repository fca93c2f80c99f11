"""``deepbid-rt view``: watch a session, in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import print_json
from deepbid_rt.errors import EngineError

NICENESS = 5
"""How much the viewer stands back: where the processor is short, the session comes first."""


def run(
    connect: Annotated[str, typer.Option(help="Address of the denoised stream, tcp://HOST:PORT.")] = (
        "tcp://127.0.0.1:5591"
    ),
    raw: Annotated[str | None, typer.Option(help="Address of the raw stream; the session says it if left out.")] = None,
    history_s: Annotated[float, typer.Option("--history", min=0.0, help="Seconds kept for looking back.")] = 10.0,
    out: Annotated[Path, typer.Option("--out", help="Folder for snapshots and traces.")] = Path("view"),
    rois: Annotated[
        Path | None, typer.Option("--rois", help="File of the regions of interest; rois.json in --out if left out.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Close after so many seconds.")] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Watch raw and denoised frames side by side. H lists the keys; nothing done here touches the session."""
    viewer = _load_viewer()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    result = viewer.run_viewer(connect, raw, history_s, out, rois or out / "rois.json", seconds)
    if as_json:
        print_json(result)


def _load_viewer() -> Any:
    """Import the window, which needs vispy and PySide6, only when it is used."""
    try:
        from deepbid_rt.viewer import run as viewer
    except ImportError as error:
        raise EngineError(
            f"viewing without {error.name or error}",
            expected="the extra 'viewer' and the system's graphics libraries to be installed",
            todo='run pip install "deepbid-rt[viewer]", and see docs/viewer.md',
        ) from error
    return viewer
