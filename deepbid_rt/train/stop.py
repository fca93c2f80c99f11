"""Turns Ctrl-C into a request to stop after the current step."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class StopSignal:
    """Context in which the first Ctrl-C sets `requested`. The second one raises `KeyboardInterrupt`, as usual.

    Only the main thread can handle signals; in other threads this does nothing.
    """

    requested = False

    def __enter__(self) -> StopSignal:
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        if self._in_main_thread:
            self._previous_handler = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._in_main_thread:
            signal.signal(signal.SIGINT, self._previous_handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, self._previous_handler)
