"""``deepbid-rt checkup``: checks whether this computer can run a session."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import print_json, say
from deepbid_rt.errors import require_effect

_SIGNS = {"ok": "ok     ", "warning": "WARNING", "problem": "PROBLEM"}


def checkup_command(
    engine_name: o.EngineOption = o.ENGINE_DEFAULT,
    size: o.SizeOption = 512,
    rate_hz: o.RateOption = 30.0,
    record: Annotated[Path, typer.Option("--record", help="Folder that the session will record into.")] = Path(),
    trust: o.TrustOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Check this computer before a session: sockets, processor, GPU, engine, disk, clock and memory.

    The pictures of a stream or a recording are examined by doctor.

    Each line says what to do. The exit code is 1 when there is a problem; warnings do not change it.
    """
    from deepbid_rt.checkup.checkup import Plan, check_up, checks_for

    require_effect(
        "--trust",
        trust,
        engine_name.endswith(".plan"),
        why=f"for engine {engine_name!r}, which is no .plan",
        expected="an engine for which it takes effect",
        todo="name a .plan file with --engine",
    )
    found = []
    for finding in check_up(checks_for(Plan(size, rate_hz, engine_name, trust, record))):
        found.append(finding)
        todo = f"\n          -> {finding.todo}" if finding.todo else ""
        say(f"{_SIGNS[finding.level]}  {finding.part}: {finding.text}{todo}")
    counts = Counter(finding.level for finding in found)
    say(f"{counts['problem']} problems, {counts['warning']} warnings for {size}x{size} pixels at {rate_hz:g} Hz")
    if as_json:
        print_json({"ok": not counts["problem"], "findings": [asdict(finding) for finding in found]})
    if counts["problem"]:
        raise typer.Exit(1)
