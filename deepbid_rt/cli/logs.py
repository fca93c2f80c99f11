"""Where log records and messages go: the terminal, a file, as lines for people or as JSON."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepbid_rt.cli.log_queue import LogQueue
from deepbid_rt.errors import FileError

PACKAGE = "deepbid_rt"
MESSAGES = f"{PACKAGE}.cli"
"""Logger name of the messages of the commands themselves."""
_LINE = "%(asctime)s %(levelname)s %(message)s"


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, thread, message; data and exception where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        values: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        if data := getattr(record, "data", None):
            values["data"] = data
        if record.exc_text:
            values["exception"] = record.exc_text
        return json.dumps(values, default=str)


class LogFile(logging.FileHandler):
    """Appends records to a file. A disk that fails loses records; it is tried again at each record.

    Raises
    ------
    FileError
        When the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(path, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise FileError(
                f"the log file {path} cannot be opened ({error.strerror})",
                expected="a file in a folder that exists and can be written",
                todo="name another file",
            ) from error

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Raise, so that the queue counts the record."""
        raise


class Logs:
    """The log of one run of a command. `set_up` opens it, `close` ends it."""

    def __init__(self) -> None:
        self.as_json = False
        """Whether messages for people are written as JSON too."""
        self._queue: LogQueue | None = None
        self._to_file: LogFile | None = None

    def set_up(self, terminal: logging.Handler, *, verbose: bool, file: Path | None, as_json: bool) -> None:
        """Print the records of all libraries from warnings on, and those of this package also as information.

        Parameters
        ----------
        terminal : logging.Handler
            Prints for people, or anything that a formatter can be set on when `as_json`.
        verbose : bool
            Print the information of this package on the terminal; it goes into a file in any case.
        file : Path or None
            File to append to.
        as_json : bool
            Write JSON lines, to the terminal and to the file.

        Raises
        ------
        FileError
            When the file cannot be opened.
        """
        self.close()
        self._to_file = LogFile(file) if file else None
        least = logging.INFO if verbose else logging.WARNING

        def wanted(record: logging.LogRecord) -> bool:
            shown: bool | None = getattr(record, "shown", None)  # of messages, see `note`
            return record.levelno >= least if shown is None else not shown

        terminal.addFilter(wanted)
        handlers = [terminal, *([self._to_file] if self._to_file else [])]
        line = logging.Formatter(_LINE, datefmt="%Y-%m-%dT%H:%M:%SZ")
        line.converter = time.gmtime
        if as_json:
            terminal.setFormatter(JsonLines())
        if self._to_file:
            self._to_file.setFormatter(JsonLines() if as_json else line)
        self.as_json = as_json
        self._queue = LogQueue(handlers)
        logging.getLogger().addHandler(self._queue)
        logging.getLogger(PACKAGE).setLevel(logging.INFO if verbose or file else logging.WARNING)
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # the package refuses such files with its own message

    def note(self, level: int, text: str, data: Mapping[str, Any] | None = None) -> None:
        """Log a message that is shown on the terminal already: to the file, and as JSON also to the terminal."""
        if self._queue is None or not (self.as_json or self._to_file):
            return
        record = logging.LogRecord(MESSAGES, level, __file__, 0, text, None, None)
        record.data = dict(data) if data else None
        record.shown = not self.as_json
        self._queue.emit(record)

    def drain(self, timeout_s: float) -> None:
        """Wait until everything logged so far is printed, for at most `timeout_s` seconds."""
        if self._queue:
            self._queue.drain(timeout_s)

    def close(self) -> None:
        """Print what waits, and close the file; may be called twice."""
        queue, self._queue, self._to_file = self._queue, None, None
        if queue:
            logging.getLogger().removeHandler(queue)
            queue.close()
        self.as_json = False
