"""Frames on their way through a device: each takes a slot in turn, and they come back in the order they were sent.

Knows nothing of what a frame goes through.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from deepbid_rt.errors import DeepbidError
from deepbid_rt.runtimes.gpu.device_memory import Queue, cuda_failed

SLOTS = 2
"""Frames on their way at once: while one is computed the next is copied."""


class Slots:
    """Whose turn it is, and who is waited for.

    Parameters
    ----------
    mark : callable
        Returns what waits until all that was queued so far is done.
    """

    def __init__(self, mark: Callable[[], Queue]) -> None:
        self._mark = mark
        self._waiting: deque[tuple[int, Queue]] = deque()
        self.next = 0
        """The slot of the next frame."""

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> int:
        """Return the slot of a frame that is about to be sent. Raises RuntimeError when none is free."""
        if len(self._waiting) == SLOTS:
            raise RuntimeError("collect a frame before the next one is submitted")
        slot, self.next = self.next, (self.next + 1) % SLOTS
        return slot

    def send(self, slot: int, queue: Queue) -> None:
        """Queue the work of a slot. Raises `StageError` when the device fails."""
        try:
            queue()
            self._waiting.append((slot, self._mark()))
        except DeepbidError:
            raise
        except RuntimeError as error:  # what torch raises for an error of CUDA
            raise cuda_failed(error) from error

    def collect(self) -> int:
        """Wait for the oldest frame on its way; return its slot. Raises `StageError` when the device fails."""
        slot, wait = self._waiting.popleft()
        wait()
        return slot

    def drain(self) -> None:
        """Wait for all frames on their way, and forget them. Raises `StageError` when the device fails."""
        while self._waiting:
            self.collect()
