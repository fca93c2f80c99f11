"""Write the generated parts of the documentation: tables of results, commands, keys of the viewer.

    python tools/write_docs.py            # writes README.md and docs/
    python tools/write_docs.py --check    # writes nothing; exits with 1 when a page is not up to date

A table of results stands between ``<!-- figures: NAME -->`` and ``<!-- end figures -->`` and comes from
``docs/results/NAME.json``. Such a file holds values:

    command, machine, date    how, where and when the values were measured
    label                     title of the first column
    columns                   for each column its ``title`` and the ``format`` of its values (see `cell`)
    rows                      ``title``, ``values`` by column, ``bold`` for a row that stands out, and ``format``
                              where a row has one of its own

or it selects columns from other files:

    label                     title of the first column
    join                      pairs of file and column
    titles                    other titles of columns, by ``file/column``
    rows                      title of each row by its name, which is its title there without markup
    bold                      names of rows that stand out

The command, machine and date of each file stand below its table. ``docs/reference/cli.md`` comes from the commands
themselves, and the keys of the viewer from `deepbid_rt.viewer.keys`. The last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from deepbid_rt.cli import COMMANDS
from deepbid_rt.viewer.keys import KEYS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
CLI_PAGE = ROOT / "docs" / "reference" / "cli.md"
BLOCK = re.compile(r"(<!-- figures: ([a-z0-9-]+) -->\n).*?(<!-- end figures -->)", re.DOTALL)
KEYS_BLOCK = re.compile(r"(<!-- keys of the viewer -->\n).*?(<!-- end keys -->)", re.DOTALL)
NOT_MEASURED = "–"


def load(name: str) -> dict[str, Any]:
    """Read ``docs/results/NAME.json``."""
    data: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return data


def cell(value: Any, form: str) -> str:
    """Return the text of one table cell.

    Parameters
    ----------
    value : None, str, number, or list of numbers
        None where nothing was measured; text is taken as it is.
    form : str
        A format of `str.format`, such as ``{:.3f} ({:.3f} to {:.3f})``, with one field for each number.
    """
    if value is None:
        return NOT_MEASURED
    if isinstance(value, str):
        return value
    return form.format(*(value if isinstance(value, list) else [value]))


def plain(title: str) -> str:
    """Return the name of a row: its title without markup."""
    return title.replace("*", "").replace("`", "")


def joined(selection: Mapping[str, Any]) -> dict[str, Any]:
    """Put columns of several results side by side."""
    columns: dict[str, Any] = {}
    values: dict[str, dict[str, Any]] = {name: {} for name in selection["rows"]}
    for source, key in selection["join"]:
        data = load(source)
        columns[f"{source}/{key}"] = dict(data["columns"][key])
        if title := selection.get("titles", {}).get(f"{source}/{key}"):
            columns[f"{source}/{key}"]["title"] = title
        found = {plain(row["title"]): row["values"].get(key) for row in data["rows"]}
        for name in values:
            values[name][f"{source}/{key}"] = found.get(name)
    bold = selection.get("bold", [])
    rows = [{"title": title, "values": values[name], "bold": name in bold} for name, title in selection["rows"].items()]
    return {"label": selection["label"], "columns": columns, "rows": rows}


def caption(data: Mapping[str, Any], name: str) -> str:
    """Return one line that says where the values of a table come from."""
    sources = list(dict.fromkeys(source for source, _ in data["join"])) if "join" in data else [name]
    loaded = [load(source) for source in sources]
    commands = " and ".join(dict.fromkeys(f"`{result['command']}`" for result in loaded))
    machines = "; ".join(dict.fromkeys(result["machine"] for result in loaded))
    dates = " and ".join(dict.fromkeys(result["date"] for result in loaded))
    files = ", ".join(f"`docs/results/{source}.json`" for source in sources)
    return f"<small>{commands}. {machines[:1].upper()}{machines[1:]}; {dates}. Values: {files}.</small>"


def table(name: str) -> str:
    """Return one table of results in Markdown, with its caption."""
    data = load(name)
    shown = joined(data) if "join" in data else data
    columns = shown["columns"]
    lines = [
        "| " + " | ".join([shown["label"], *(column["title"] for column in columns.values())]) + " |",
        "|" + "---|" * (len(columns) + 1),
    ]
    for row in shown["rows"]:
        forms = {key: row.get("format", column["format"]) for key, column in columns.items()}
        cells = [row["title"], *(cell(row["values"].get(key), form) for key, form in forms.items())]
        if row.get("bold"):
            cells = [f"**{text}**" if text and "*" not in text else text for text in cells]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", caption(data, name)]) + "\n"


def with_tables(text: str) -> str:
    """Return a page with every table of results, and the keys of the viewer, written anew."""
    text = BLOCK.sub(lambda found: found[1] + table(found[2]) + found[3], text)
    keys = "".join(f"| {key.key} | {key.meaning} |\n" for key in KEYS)
    return KEYS_BLOCK.sub(lambda found: f"{found[1]}| key | what it does |\n|---|---|\n{keys}{found[2]}", text)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument or option of a command, as its function declares it."""

    names: tuple[str, ...]
    """Of an option, as typed; of an argument, its placeholder."""
    takes: str
    """Choices or placeholder; empty for a flag."""
    default: str
    """As typed; ``required``, or empty where there is none."""
    help: str
    is_option: bool


def parameters(command: Callable[..., None]) -> list[Parameter]:
    """Return the arguments and options of a command, in the order of its function's parameters."""
    hints = get_type_hints(command, include_extras=True)
    return [read_parameter(each, hints[each.name]) for each in inspect.signature(command).parameters.values()]


def read_parameter(declared: inspect.Parameter, hint: Any) -> Parameter:
    """Read one parameter of a command from its annotation ``Annotated[type, typer.Option(...)]``."""
    taken = get_args(hint)[0]
    info = next(each for each in get_args(hint)[1:] if isinstance(each, OptionInfo | ArgumentInfo))
    taken = next((each for each in get_args(taken) if each is not type(None)), taken)  # of a union with None, of a list
    is_option, flag = isinstance(info, OptionInfo), taken is bool
    # Within `Annotated` the first name stands where a default would stand elsewhere.
    first = (info.default,) if isinstance(info.default, str) else ()
    names = (*first, *(info.param_decls or ())) if is_option else ()
    if is_option and not any(name.startswith("--") for name in names):
        long = "--" + declared.name.replace("_", "-")
        names = (*names, long, *([f"--no-{long[2:]}"] if flag else []))
    if not is_option:
        names = (str(info.metavar),)
    default = "required" if declared.default is inspect.Parameter.empty else ""
    value = getattr(declared.default, "value", declared.default)
    if not default and value is not None and value is not False:
        default = f"`{names[0] if value is True else value}`"
    told = (info.help or "") + limits(info)
    if info.envvar:
        told += f" Environment variable: `{info.envvar}`."
    return Parameter(names, "" if flag else placeholder(taken, info), default, told, is_option)


def placeholder(taken: Any, info: Any) -> str:
    """Return what is to be typed for a value: its choices or a word for its type."""
    if info.metavar:
        return str(info.metavar)
    if isinstance(taken, type) and issubclass(taken, Enum):
        return "|".join(str(choice.value) for choice in taken)
    words = {str: "text", int: "whole number", float: "number", Path: "path"}
    return words.get(taken, "|".join(map(str, get_args(taken))) or getattr(taken, "__name__", str(taken)))


def limits(info: Any) -> str:
    """Return the smallest and largest value that is taken, where there are any."""
    if info.min is not None and info.max is not None:
        return f" From {info.min} to {info.max}."
    if info.min is not None:
        return f" At least {info.min}."
    return "" if info.max is None else f" At most {info.max}."


def command_lines(name: str, command: Callable[..., None]) -> Iterator[str]:
    """Yield the section of one command."""
    found = parameters(command)
    arguments = [each for each in found if not each.is_option]
    usage = [each.names[0] if each.default == "required" else f"[{each.names[0]}]" for each in arguments]
    yield from (f"## {name}", "", " ".join((inspect.getdoc(command) or "").split()), "")
    yield from ("```text", " ".join(["deepbid-rt", name, *usage, "[OPTIONS]"]), "```", "")
    if arguments:
        yield from ("| argument | meaning |", "|---|---|")
        for each in arguments:
            yield f"| `{each.names[0]}` | {each.help} |"
        yield ""
    yield from ("| option | takes | default | meaning |", "|---|---|---|---|")
    for each in found:
        if each.is_option:
            names = ", ".join(f"`{name}`" for name in each.names)
            takes = each.takes.replace("|", " \\| ")
            yield f"| {names} | {takes} | {each.default} | {each.help} |"
    yield ""


def cli_page() -> str:
    """Return the reference of the command line."""
    lines = [
        "# Command line",
        "",
        "<!-- Written by tools/write_docs.py from the commands. Do not edit. -->",
        "",
        "Every command takes `--help`. Before the command: `-v` logs more than warnings, `--log-file FILE` appends the",
        "log to a file too, `--log-json` writes each line of the log and each message as a JSON object, see",
        "[logs](../how-to/run-as-a-service.md#logs).",
        "",
        "| exit code | meaning |",
        "|---|---|",
        "| 0 | done |",
        "| 1 | failed on the way; the message names what was written |",
        "| 2 | refused: an option, file, engine or stream does not fit; the message says what to do next |",
        "| 130 | interrupted before the work was done |",
        "",
        "With `--json` the last line on stdout is one JSON object; if nobody takes it, the exit code is 1.",
        "",
        "Ctrl-C ends a session cleanly: frames that were received are denoised, written and counted. It then has the",
        "exit code that it would have had anyway, 0 if nothing was lost; also when it had not begun yet. A second",
        "Ctrl-C ends it without what still waits, with all files closed. A third one leaves at once. SIGTERM and",
        "SIGHUP, and on Windows Ctrl-Break and a closed console, do what Ctrl-C does; further SIGHUPs change nothing,",
        "and signals within 0.2 s count as one.",
        "",
        "An option that cannot take effect beside the others, such as `--record-raw` without `--record`, is refused",
        "before anything is bound or written. An option at its default is never refused.",
        "",
    ]
    for name, command in COMMANDS.items():
        lines += command_lines(name, command)
    return "\n".join(lines).rstrip() + "\n"


def pages() -> Iterator[tuple[Path, str]]:
    """Yield every page that has generated parts, with the text that it should have."""
    yield CLI_PAGE, cli_page()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = path.read_text(encoding="utf-8")
        if path != CLI_PAGE and (BLOCK.search(text) or KEYS_BLOCK.search(text)):
            yield path, with_tables(text)


def main() -> None:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a page is not up to date")
    options = parser.parse_args()
    expected = dict(pages())
    old = [path for path, text in expected.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    names = [str(path.relative_to(ROOT)) for path in old]
    if not options.check:
        for path in old:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(expected[path], encoding="utf-8")
    elif old:
        print(f"not up to date: {', '.join(names)}; run python tools/write_docs.py", file=sys.stderr)
    print(json.dumps({"pages": len(expected), "changed" if not options.check else "not_up_to_date": names}))
    sys.exit(1 if options.check and old else 0)


if __name__ == "__main__":
    main()
