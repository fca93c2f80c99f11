"""Output of the commands: tables, progress and messages on stderr, one last line of JSON on stdout."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

stderr = Console(stderr=True)


def set_up_logging(verbose: bool) -> None:
    """Print the log records of the package on stderr: warnings, and with `verbose` also information."""
    handler = RichHandler(console=stderr, show_path=False, rich_tracebacks=False)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s")
    logging.getLogger("deepbid_rt").setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # the package refuses such files with its own message


def print_error(error: Exception) -> None:
    """Print one error as one sentence on stderr."""
    print(f"deepbid-rt: {error}", file=sys.stderr)


def say(text: str) -> None:
    """Print a message on stderr."""
    stderr.print(text, highlight=False, markup=False, soft_wrap=True)


def print_json(result: dict[str, Any]) -> None:
    """Print `result` as the last line of stdout."""
    print(json.dumps(result), flush=True)


def print_table(title: str, rows: Sequence[tuple[str, ...]], header: tuple[str, ...]) -> None:
    """Print a small table on stderr, so that stdout holds only JSON."""
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(header))
    for n, name in enumerate(header):
        # On a narrow terminal the first column stays whole, and the heads of the others wrap.
        table.add_column(name, justify="left" if n == 0 else "right", no_wrap=n == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    stderr.print(table)


def progress_bar(shown: bool = True) -> Progress:
    """Return a progress bar on stderr, with count and remaining time; with `shown` False it prints nothing."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=stderr,
        disable=not shown,
    )


def live_line(render: Callable[[], str]) -> Live:
    """Return a line on stderr that is redrawn four times a second while the context lasts."""
    return Live(console=stderr, get_renderable=lambda: Text(render()), refresh_per_second=4, transient=True)


def number(value: float | None, digits: int = 1) -> str:
    """Format a number for a table; None becomes a dash."""
    return "-" if value is None else f"{value:.{digits}f}"
