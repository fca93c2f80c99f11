"""Reads and writes a plan and its sidecar (``m.plan.json``), which holds the plan's `PlanFacts`.

A plan file has no room for facts. Loading a plan runs code that is in it, so its digest is compared with the sidecar's
before anything else reads it.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.runtimes.tensorrt.plan_facts import SIDECAR_VERSION, PlanFacts


def sidecar_path(plan: Path) -> Path:
    """Return the path of a plan's sidecar."""
    return plan.with_name(plan.name + ".json")


def rebuild_command(plan: Path, facts: PlanFacts | None = None) -> str:
    """Return the command that builds a plan again."""
    if facts is None:
        return f"deepbid-rt build ENGINE.onnx -o {shlex.quote(str(plan))} --size LINESxPIXELS"
    _, rows, columns = facts.shape
    return (
        f"deepbid-rt build {shlex.quote(facts.onnx)} -o {shlex.quote(str(plan))} --size {rows}x{columns} "
        f"--precision {facts.precision}"
    )


def read_facts(plan: Path) -> PlanFacts:
    """Read the sidecar of a plan.

    Raises
    ------
    EngineError
        When the plan or its sidecar is missing, or the sidecar is not one of this version.
    """
    path = sidecar_path(plan)
    todo = f"build the plan again: {rebuild_command(plan)}"
    if not plan.is_file():
        raise EngineError(f"no plan at {plan}", expected="a plan written by deepbid-rt build", todo=todo)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "is not text" if isinstance(error, UnicodeDecodeError) else f"cannot be read ({error.strerror})"
        raise EngineError(
            f"{path}, the sidecar of the plan, {why}", expected="the file that deepbid-rt build wrote", todo=todo
        ) from error
    try:
        return PlanFacts.from_dict(json.loads(text))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, EngineError) as error:
        raise EngineError(
            f"{path} is no sidecar of a plan ({_one_line(error)})",
            expected=f"the facts that deepbid-rt build writes, version {SIDECAR_VERSION}",
            todo=todo,
        ) from error


def read_plan(plan: Path, facts: PlanFacts) -> bytes:
    """Read a plan and check its digest.

    Raises
    ------
    EngineError
        When the plan cannot be read, or has another digest than its sidecar says.
    """
    todo = f"build it again: {rebuild_command(plan, facts)}"
    try:
        data = plan.read_bytes()
    except OSError as error:
        raise EngineError(
            f"the plan {plan} cannot be read ({error.strerror})", expected="a readable file", todo=todo
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != facts.plan_sha256:
        raise EngineError(
            f"the plan {plan} has SHA-256 {digest[:12]}…",
            expected=f"{facts.plan_sha256[:12]}… as its sidecar says: plan or sidecar was changed, cut or exchanged",
            todo=todo,
        )
    return data


def write_plan(plan: Path, data: bytes, facts: PlanFacts) -> None:
    """Write a plan and its sidecar. A write that fails leaves the old files.

    Raises
    ------
    FileError
        When they cannot be written.
    """
    parts = [(plan, data), (sidecar_path(plan), facts.to_json().encode())]
    temporary = [path.with_name(path.name + ".part") for path, _ in parts]
    try:
        for part, (_, content) in zip(temporary, parts, strict=True):
            part.write_bytes(content)
        for part, (path, _) in zip(temporary, parts, strict=True):
            part.replace(path)
    except OSError as error:
        raise FileError(
            f"the plan {plan} cannot be written ({error.strerror})",
            expected="an existing folder with room for it",
            todo="choose another path",
        ) from error
    finally:
        for part in temporary:
            part.unlink(missing_ok=True)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
