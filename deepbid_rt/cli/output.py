"""Output of the commands: tables, progress and messages on stderr, one last line of JSON on stdout.

Nothing that is printed here can stop a session: `background_output` puts stderr behind a thread of its own, and log
records go through a queue. A terminal that is held or closed costs lines, and nothing else.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from deepbid_rt.cli.background_stream import BackgroundStream
from deepbid_rt.cli.logs import Logs
from deepbid_rt.cli.printable import printable
from deepbid_rt.errors import StageError

stderr = Console(stderr=True)
logs = Logs()

DRAIN_S = 2.0
"""Longest wait at the end for a terminal to take the last lines, seconds."""
SHOW_CURSOR = "\x1b[?25h"
_LINE = logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")


@contextmanager
def background_output() -> Iterator[None]:
    """Put stderr behind a thread while the context lasts, and end with everything printed that can be printed."""
    _occupy_standard_descriptors()
    before = sys.stderr
    stream = BackgroundStream(before)
    sys.stderr = stream
    try:
        yield
    finally:
        logs.close()
        if stream.drain(DRAIN_S) and not stream.gone:
            sys.stderr = before
        # Else it stays: the interpreter flushes sys.stderr at its end, and must neither wait nor fail there.
        _flush_stdout()


def in_background() -> bool:
    """Tell whether `background_output` is at work; it is not when a command is called from Python."""
    return isinstance(_stream(), BackgroundStream)


def restore_terminal() -> None:
    """Print what waits and show the cursor again, before an end without clean-up. Waits for a moment at most."""
    stream = _stream()
    if isinstance(stream, BackgroundStream):
        if stream.isatty():
            stream.write(SHOW_CURSOR + "\n")
        stream.drain(0.3)


def set_up_logging(verbose: bool, file: Path | None = None, as_json: bool = False) -> None:
    """Print log records on stderr, and append them to a file; see `Logs.set_up`."""
    terminal: logging.Handler
    if as_json or not stderr.is_terminal:
        terminal = _StderrHandler()
        terminal.setFormatter(_LINE)
    else:
        terminal = RichHandler(console=stderr, show_path=False, rich_tracebacks=False)
        terminal.setFormatter(logging.Formatter("%(message)s"))
    logs.set_up(terminal, verbose=verbose, file=file, as_json=as_json)


def print_error(error: Exception) -> None:
    """Print one error as one sentence on stderr."""
    text = f"deepbid-rt: {printable(str(error))}"
    if not logs.as_json:
        print(text, file=sys.stderr)
    logs.note(logging.ERROR, text)


def say(text: str) -> None:
    """Print a message on stderr."""
    text = printable(text, keep="\n")
    if not logs.as_json:
        stderr.print(text, highlight=False, markup=False, soft_wrap=True)
    logs.note(logging.INFO, text)


def print_json(result: dict[str, Any]) -> None:
    """Print `result` as one line of stdout.

    Raises
    ------
    StageError
        When stdout takes no more text.
    """
    if not print_line(json.dumps(result)):
        raise StageError(
            "the result could not be written to stdout",
            expected="a reader that reads to the end",
            todo="see the messages on stderr; everything else is done",
        )


def print_line(text: str) -> bool:
    """Print one line on stdout at once; return False when stdout takes no more text."""
    if sys.stdout is None:
        return False
    try:
        print(text, flush=True)
    except (OSError, ValueError):  # a reader that has gone; a closed stream
        return False
    return True


def print_table(title: str, rows: Sequence[tuple[str, ...]], header: tuple[str, ...]) -> None:
    """Print a small table on stderr, so that stdout holds only JSON."""
    if not logs.as_json:
        stderr.print(_table(title, rows, header))
    logs.note(logging.INFO, title, {"header": header, "rows": [[printable(cell) for cell in row] for row in rows]})


def _table(title: str, rows: Sequence[tuple[str, ...]], header: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(header))
    for n, name in enumerate(header):
        # On a narrow terminal the first column stays whole, and the heads of the others wrap.
        table.add_column(name, justify="left" if n == 0 else "right", no_wrap=n == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


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
        disable=not shown or logs.as_json,
    )


def live_line(render: Callable[[], tuple[str, str]]) -> AbstractContextManager[object]:
    """Return a line on stderr that is redrawn four times a second while the context lasts.

    Parameters
    ----------
    render : callable
        Returns the text and its style, such as ``bold red``. When it raises, the line shows the error.
    """

    def line() -> Text:
        text, style = render()
        return Text(printable(text, keep="\n"), style)

    return _live(line)


def live_table(
    render: Callable[[], tuple[str, Sequence[tuple[str, str]], Sequence[str]]],
) -> AbstractContextManager[object]:
    """Return a table on stderr that is redrawn while the context lasts.

    Parameters
    ----------
    render : callable
        Returns title, rows of two cells, and alarms, which are shown in red above it. When it raises, the error is
        shown.
    """

    def picture() -> Group:
        title, rows, alarms = render()
        return Group(*(Text(printable(text), "bold red") for text in alarms), _table(title, rows, ("", "")))

    return _live(picture)


def _live(render: Callable[[], Any]) -> AbstractContextManager[object]:
    if logs.as_json or not stderr.is_terminal:
        return nullcontext()

    def guarded() -> Any:
        try:
            return render()
        # Any error: what is only shown must not end what it shows. The line tells it.
        except Exception as error:
            return Text(printable(f"cannot be shown: {type(error).__name__}: {error}"), "red")

    return Live(console=stderr, get_renderable=guarded, refresh_per_second=4, transient=True)


def number(value: float | None, digits: int = 1) -> str:
    """Format a number for a table; None becomes a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


class _StderrHandler(logging.StreamHandler[Any]):
    """Prints records as lines on what ``sys.stderr`` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        if (stream := _stream()) is not None:
            stream.write(self.format(record) + "\n")  # at once, so that lines of several threads stay whole


def _stream() -> Any:
    """Return the stream behind sys.stderr: while rich shows a live line it stands in, and breaks long lines."""
    return getattr(sys.stderr, "rich_proxied_file", sys.stderr)


def _occupy_standard_descriptors() -> None:
    """Open what was closed of stdin, stdout and stderr, as a place for nothing.

    Else the next file that is opened, a recording for instance, gets that number, and what a library prints goes into
    it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


def _flush_stdout() -> None:
    """Leave nothing in stdout's buffer that the interpreter would try, and fail, to write at its end."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
