"""A thread that does not die without a word."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable


class WorkerThread(threading.Thread):
    """Runs a function until it returns. When the function raises, the error is reported and the function runs again.

    The thread is a daemon, so that a part that hangs for ever (a disk, a driver) cannot keep the process from ending.

    Parameters
    ----------
    name : str
    work : callable
        Returns when the work is done. It must be able to continue after it has raised.
    failed : callable
        Called with what `work` has raised. What it raises itself is dropped: there is nowhere else to report it.
    """

    def __init__(self, name: str, work: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._failed = failed

    def run(self) -> None:
        """Run the work; called by `start`."""
        done = False
        while not done:
            try:
                self._work()
                done = True
            # Any error, SystemExit of a driver included: this thread alone would end by it, and the session go on.
            except BaseException as error:
                with contextlib.suppress(BaseException):  # see the docstring
                    self._failed(error)
