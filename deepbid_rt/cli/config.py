"""Options of a command from a file, a table for each command; the command line wins over it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from deepbid_rt.errors import FileError, OptionError

COMMANDS = ("serve", "denoise", "train")
"""Commands that take ``--config``; each reads the table of its name."""


def use_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values in a file the defaults of the options of a command.

    Raises
    ------
    FileError
        When the file cannot be read, or is no TOML.
    OptionError
        When it has a table or a key that is no command or option, or a value of the wrong kind.
    """
    if path is None or context.resilient_parsing:
        return path
    command = str(context.info_name)
    tables = _read(path)
    foreign = [name for name, table in tables.items() if name not in COMMANDS or not isinstance(table, dict)]
    if foreign:
        raise OptionError(
            f"{foreign[0]!r} in {path}",
            expected=f"tables named {', '.join(COMMANDS)}",
            todo="correct the name, or take it out",
        )
    if command not in tables:
        raise OptionError(
            f"--config {path} without a table [{command}]",
            expected="options of this command in the file",
            todo=f"add [{command}], or leave --config out",
        )
    flags: dict[str, tuple[str, bool]] = {}
    for parameter in context.command.params:
        names = [name for name in parameter.opts if name.startswith("--")]
        if names and parameter.name and names[0] not in ("--config", "--help", "--json"):
            flags[names[0].removeprefix("--")] = parameter.name, bool(getattr(parameter, "is_flag", False))
    context.default_map = {}
    for key, value in tables[command].items():
        if key not in flags:
            raise OptionError(
                f"the key {key!r} in table [{command}] of {path}",
                expected=f"an option of deepbid-rt {command} without its dashes: {', '.join(sorted(flags))}",
                todo="correct the name, or take it out",
            )
        name, is_flag = flags[key]
        if isinstance(value, bool) != is_flag or not isinstance(value, str | int | float):
            raise OptionError(
                f"{key} = {value!r} in table [{command}] of {path}",
                expected="true or false" if is_flag else "text or a number",
                todo="correct the value",
            )
        # As text, so that it is checked as if it had been written on the command line.
        context.default_map[name] = value if is_flag else str(value)
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(
            f"{path} cannot be read ({error.strerror})",
            expected="a TOML file of options",
            todo="check the path, or write it with deepbid-rt doctor --write",
        ) from error
    except ValueError as error:  # TOML and UTF-8
        raise FileError(
            f"{path} is no TOML ({error})",
            expected="a TOML file of options",
            todo="correct it, or write it with deepbid-rt doctor --write",
        ) from error


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        is_eager=True,
        callback=use_config,
        help="TOML file of options, in a table named as the command; written by deepbid-rt doctor --write. "
        "Options on the command line win.",
    ),
]
