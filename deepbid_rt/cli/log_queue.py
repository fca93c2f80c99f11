"""A log handler that holds up nobody: records go into a bounded queue, and one thread formats and prints them."""

from __future__ import annotations

import copy
import logging
import queue
import threading
import traceback
from collections.abc import Sequence

from deepbid_rt.cli.printable import printable

CAPACITY = 10_000
"""Records that wait for the thread. Further ones are dropped and counted."""


class LogQueue(logging.Handler):
    """Hands records to other handlers, in a thread of its own. The thread that logs never waits and never fails.

    Parameters
    ----------
    handlers : sequence of logging.Handler
        Used by the thread alone, and closed by `close`.
    capacity : int
        Largest number of waiting records.
    """

    def __init__(self, handlers: Sequence[logging.Handler], capacity: int = CAPACITY) -> None:
        super().__init__()
        self._handlers = tuple(handlers)
        self._capacity = capacity
        self._queue: queue.SimpleQueue[logging.LogRecord | threading.Event | None] = queue.SimpleQueue()
        self.dropped = 0
        """Records that did not fit, or that a handler failed to take."""
        self._told = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record without the lock of the handler: the queue needs none, and so no thread waits for another."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        if self._queue.qsize() >= self._capacity:
            self.dropped += 1
        else:
            self._queue.put(_finished(record))

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything that was taken is printed; return False when that takes longer than `timeout_s`."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(timeout_s)

    def close(self, timeout_s: float = 2.0) -> None:
        """Print what waits, for at most `timeout_s` seconds, and close the handlers; may be called twice."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        super().close()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            self._hand_on(item)
            if (missing := self.dropped - self._told) and self._queue.qsize() < self._capacity // 2:
                self._told += missing
                text = f"{missing} log records are missing: they came faster than they could be printed"
                self._hand_on(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None))
        for handler in self._handlers:
            handler.close()

    def _hand_on(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            try:
                if record.levelno >= handler.level:
                    handler.handle(record)
            # Any error: a handler that fails must not take the others with it, and is tried again.
            except Exception:
                self.dropped += 1
                self._told += 1  # a line about it would go to the same handler


def _finished(record: logging.LogRecord) -> logging.LogRecord:
    """Return the record as text without control characters: its arguments may change after this call."""
    record = copy.copy(record)
    try:
        text = record.getMessage()
    # Any error: a call that logs with wrong arguments must not end the thread that makes it.
    except Exception:
        text = f"{record.msg} {record.args}"
    record.msg, record.args = printable(text), None
    if record.exc_info and record.exc_info[1] is not None:
        record.exc_text = "".join(traceback.format_exception(record.exc_info[1]))
    record.exc_text = printable(record.exc_text, keep="\n").rstrip() if record.exc_text else None
    record.exc_info = None
    return record
