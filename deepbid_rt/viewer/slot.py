"""A one-slot mailbox: whoever looks finds the newest, and nothing ever waits behind it.

Knows nothing of what it holds. (`deepbid_rt.live.event_queue.EventQueue` keeps order and gaps, for readers that need them.)
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """Holds one thing; for writer and reader threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thing: T | None = None
        self._skipped = 0

    @property
    def skipped(self) -> int:
        """How many were replaced before anybody took them."""
        return self._skipped

    def put(self, thing: T) -> None:
        """Put the newest in; what nobody took is let go."""
        with self._lock:
            self._skipped += self._thing is not None
            self._thing = thing

    def take(self) -> T | None:
        """Take the newest out; None when there was nothing new."""
        with self._lock:
            thing, self._thing = self._thing, None
            return thing
