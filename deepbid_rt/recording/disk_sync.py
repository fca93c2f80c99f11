"""Forcing a file to the disk every few seconds, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SYNC_S = 3.0
"""Seconds between two syncs, unless something else is asked for."""


class DiskSync:
    """Calls a function that forces a file to the disk, at most every `every_s` seconds and never twice at a time.

    A disk may need seconds for it. Meanwhile the file can be written further, since this happens in a thread. With
    `every_s` 0 each frame is forced to the disk before the next one, in the thread of the caller.

    Parameters
    ----------
    force : callable
        Raises `OSError` when the disk refuses.
    every_s : float
        Seconds from one sync to the next.
    """

    def __init__(self, force: Callable[[], None], every_s: float) -> None:
        self._force, self._every_s = force, every_s
        self._begun_s = time.monotonic()
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def written(self) -> None:
        """Say that the file has grown; begins a sync when one is due."""
        if self._every_s == 0:
            self._run()
        elif time.monotonic() - self._begun_s >= self._every_s and not self.running:
            self._begun_s = time.monotonic()
            # A daemon, so that a disk that hangs for ever cannot keep the process from ending.
            self._thread = threading.Thread(target=self._run, name="disk sync", daemon=True)
            self._thread.start()

    @property
    def running(self) -> bool:
        """Whether a sync is under way."""
        return self._thread is not None and self._thread.is_alive()

    def check(self) -> None:
        """Raise the `OSError` of an earlier sync. What was written since the one before it may not be on the disk."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self) -> None:
        """Wait for the sync that is under way."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        try:
            self._force()
        except OSError as error:
            self._error = error  # for `check`
