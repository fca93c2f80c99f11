"""``deepbid-rt view``: shows a running session in a window, in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from deepbid_rt.api.access import End, check_access
from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import print_json
from deepbid_rt.errors import EngineError

NICENESS = 5
"""Niceness of the viewer: when the processor is busy, the session comes first."""


def view_command(
    connect: Annotated[str, typer.Option(help="Address of the denoised stream, tcp://HOST:PORT.")] = (
        "tcp://127.0.0.1:5591"
    ),
    raw: Annotated[
        str | None, typer.Option(help="Address of the raw stream; if omitted, the session sends it.")
    ] = None,
    history_s: Annotated[
        float, typer.Option("--history", min=0.0, help="Seconds of frames kept for looking back.")
    ] = 10.0,
    out: Annotated[Path, typer.Option("--out", help="Folder for snapshots and traces.")] = Path("view"),
    rois: Annotated[
        Path | None, typer.Option("--rois", help="File of the regions of interest; default: rois.json in --out.")
    ] = None,
    keys: o.KeysOption = None,
    server_key: o.ServerKeyOption = None,
    raw_server_key: Annotated[
        Path | None,
        typer.Option("--raw-server-key", help="Public key (NAME.pub) of the sender of the raw stream; needs --keys."),
    ] = None,
    insecure_lan: o.InsecureOption = False,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Close after this many seconds.")] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Show raw and denoised frames side by side. H lists the keys. The viewer cannot change the session."""
    check_access(
        # Where the session says that the raw stream is, is known only later.
        [End(connect, server_key), End(raw or connect, raw_server_key if raw else server_key)],
        keys=keys,
        server_keys={"--server-key": server_key, "--raw-server-key": raw_server_key},
        insecure_lan=insecure_lan,
        binds=False,
    )
    viewer = _load_viewer()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    result = viewer.run_viewer(
        connect,
        raw,
        history_s,
        out,
        rois or out / "rois.json",
        seconds,
        keys=keys,
        server_key=server_key,
        raw_server_key=raw_server_key,
        insecure_lan=insecure_lan,
    )
    if as_json:
        print_json(result)


def _load_viewer() -> Any:
    """Import the window only when it is used: it needs vispy and PySide6."""
    try:
        from deepbid_rt.viewer import run as viewer
    except ImportError as error:
        raise EngineError(
            f"the viewer needs {error.name or error}, which is not installed",
            expected="the extra 'viewer' and the graphics libraries of the system",
            todo='run pip install "deepbid-rt[viewer]", and see docs/how-to/watch-with-the-viewer.md',
        ) from error
    return viewer
