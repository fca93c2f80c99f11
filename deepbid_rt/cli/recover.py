"""``deepbid-rt recover``: makes the recordings of a session usable after a crash, a power cut or a full disk."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import print_json, print_table, say
from deepbid_rt.recording.recovery import LogReport, MovieReport, Recovery

_MENTIONED = 5  # missing pieces that a row names


def recover_command(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a session, or one TIFF file.")],
    as_json: o.JsonOption = False,
) -> None:
    """Check the recordings in a folder, and write what is whole of damaged ones to new files.

    No file is changed: new ones end in _recovered. Exit code 0: every file was whole; 1: one was not.
    """
    movies, logs = Recovery(path).run()
    print_table(
        "recordings", [_movie_row(movie) for movie in movies], ("file", "state", "frames", "missing", "new file")
    )
    print_table("session logs", [_log_row(log) for log in logs], ("file", "state", "new file"))
    whole = all(movie.whole for movie in movies) and all(log.whole for log in logs)
    say("every file is whole" if whole else "the original files are as they were")
    if as_json:
        print_json({"whole": whole, "movies": [asdict(m) for m in movies], "logs": [asdict(log) for log in logs]})
    if not whole:
        raise typer.Exit(1)


def _movie_row(report: MovieReport) -> tuple[str, ...]:
    pieces = [f"{m.first}..{m.first + m.count - 1} ({m.cause})" for m in report.missing[:_MENTIONED]]
    count = sum(m.count for m in report.missing)
    more = ", ..." if len(report.missing) > _MENTIONED else ""
    missing = f"{count}: {', '.join(pieces)}{more}" if count else "-"
    return Path(report.path).name, report.problem or "whole", str(report.frames), missing, _name(report.recovered)


def _log_row(report: LogReport) -> tuple[str, ...]:
    return Path(report.path).name, report.problem or "whole", _name(report.recovered)


def _name(path: str | None) -> str:
    return Path(path).name if path else "-"
