"""A value that one thread replaces and another takes: the reader always gets the newest, and nothing queues up."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestValue(Generic[T]):
    """Holds at most one value; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: T | None = None
        self._skipped = 0

    @property
    def skipped(self) -> int:
        """Number of values that were replaced before they were taken."""
        return self._skipped

    def put(self, value: T) -> None:
        """Replace the value."""
        with self._lock:
            self._skipped += self._value is not None
            self._value = value

    def take(self) -> T | None:
        """Remove and return the value; None when none was put since the last call."""
        with self._lock:
            value, self._value = self._value, None
            return value
