"""A logger that never raises."""

from __future__ import annotations

import logging
from typing import Any


class QuietLog:
    """Writes to the logger of a module. A handler that raises loses its line; the caller goes on.

    A handler raises, for instance, when the reader of stderr has gone. A thread that receives or records frames must
    not end because of it. `unwritten` counts the lines that were lost in this way.

    Parameters
    ----------
    name : str
        Name of the logger, normally ``__name__``.
    """

    __slots__ = ("_logger", "unwritten")

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self.unwritten = 0

    def debug(self, text: str, *values: object) -> None:
        """Log for developers."""
        self._write(logging.DEBUG, text, values)

    def info(self, text: str, *values: object) -> None:
        """Log what happens in normal operation."""
        self._write(logging.INFO, text, values)

    def warning(self, text: str, *values: object, exc_info: Any = None) -> None:
        """Log what a user should know; `exc_info` adds the traceback of an exception."""
        self._write(logging.WARNING, text, values, exc_info=exc_info)

    def error(self, text: str, *values: object, exc_info: Any = None) -> None:
        """Log what has failed; `exc_info` adds the traceback of an exception."""
        self._write(logging.ERROR, text, values, exc_info=exc_info)

    def _write(self, level: int, text: str, values: tuple[object, ...], *, exc_info: Any = None) -> None:
        try:
            # The line is that of the caller of the public method.
            self._logger.log(level, text, *values, exc_info=exc_info, stacklevel=3)
        # Any error: see the class. There is nowhere left to report it but the counter.
        except Exception:
            self.unwritten += 1
