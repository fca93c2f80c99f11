"""Ctrl-C as a request to stop at the next safe place. Knows nothing of training."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class StopSignal:
    """Turns the first Ctrl-C into a request to stop after the step; a second one interrupts at once."""

    seen = False

    def __enter__(self) -> StopSignal:
        self._here = threading.current_thread() is threading.main_thread()
        if self._here:
            self._before = signal.signal(signal.SIGINT, self._catch)
        return self

    def __exit__(self, *_: object) -> None:
        if self._here:
            signal.signal(signal.SIGINT, self._before)

    def _catch(self, _number: int, _frame: FrameType | None) -> None:
        self.seen = True
        signal.signal(signal.SIGINT, self._before)
