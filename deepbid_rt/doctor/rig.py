"""A file of options that state what was found, for ``--config`` of the commands that read the same stream or files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from deepbid_rt.doctor.finding import Finding, OptionValue
from deepbid_rt.errors import FileError

OF_COMMANDS: dict[str, tuple[str, ...]] = {
    "serve": ("source", "scan", "line-phase"),
    "denoise": (
        *("scan", "first", "unmirrored", "unidirectional", "channels", "planes", "flyback", "dataset", "rate"),
        "line-phase",
    ),
    "train": (
        *("scan", "first", "unmirrored", "unidirectional", "channels", "planes", "flyback", "dataset"),
        "line-phase",
    ),
}
"""Options that each command has for what a stream or a recording can show."""


def rig_text(
    looked_at: str,
    given: Mapping[str, OptionValue],
    findings: tuple[Finding, ...],
) -> str:
    """Return the text of a TOML file with a table of options for each command.

    Parameters
    ----------
    looked_at : str
        What was looked at, for the first line.
    given : mapping
        Options that the user gave, without dashes; what was found wins over them.
    findings : tuple of Finding
        Findings with options are kept; those that need attention are named in comments.
    """
    options = {**given, **{name: value for finding in findings for name, value in finding.options.items()}}
    text = [f"# Written by deepbid-rt doctor from {_one_line(looked_at)}.", "# Use it with --config of each command."]
    for finding in findings:
        if finding.level == "attention":
            text.append(f"# {finding.question}: {_one_line(finding.answer)}")
            text += [f"#   {_one_line(finding.todo)}"] if finding.todo else []
    for command, names in OF_COMMANDS.items():
        text += ["", f"[{command}]"]
        text += [f"{name} = {_value(options[name])}" for name in names if name in options]
    return "\n".join(text) + "\n"


def write_rig(path: Path, text: str) -> None:
    """Write the file. Raises `FileError` when it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileError(
            f"{path} cannot be written ({error.strerror})",
            expected="a file in a folder that exists",
            todo="choose another place",
        ) from error


def _one_line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _value(value: OptionValue) -> str:
    """Return a TOML value; its basic strings are those of JSON, but for characters beyond 16 bits and DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
