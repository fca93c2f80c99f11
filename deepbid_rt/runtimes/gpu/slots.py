"""`Slots`: the order of frames on their way through a device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from deepbid_rt.errors import DeepbidError
from deepbid_rt.runtimes.gpu.cuda_errors import cuda_failed
from deepbid_rt.runtimes.gpu.protocols import Launch, Wait

SLOTS = 2
"""Frames on their way at once: the next frame is copied while one is computed."""


class Slots:
    """Gives each frame the next slot in turn, and returns slots in the order in which frames were sent.

    Parameters
    ----------
    mark : callable
        Returns a function that waits until everything queued so far is done, see `DeviceMemory.mark`.
    """

    def __init__(self, mark: Callable[[], Wait]) -> None:
        self._mark = mark
        self._sent: deque[tuple[int, Wait]] = deque()
        self.next = 0
        """The slot of the next frame."""

    def __len__(self) -> int:
        return len(self._sent)

    def take(self) -> int:
        """Return the slot for a new frame. Raises RuntimeError when none is free."""
        if len(self._sent) == SLOTS:
            raise RuntimeError("collect a frame before the next one is submitted")
        slot, self.next = self.next, (self.next + 1) % SLOTS
        return slot

    def send(self, slot: int, launch: Launch) -> None:
        """Queue the work of a slot. Raises `StageError` when the device fails."""
        try:
            launch()
            self._sent.append((slot, self._mark()))
        except DeepbidError:
            raise
        except RuntimeError as error:  # torch's error for an error of CUDA
            raise cuda_failed(error) from error

    def collect(self) -> int:
        """Wait for the oldest frame on its way and return its slot. Raises `StageError` when the device fails."""
        slot, wait = self._sent.popleft()
        wait()
        return slot

    def drain(self) -> None:
        """Wait for all frames on their way and forget them. Raises `StageError` when the device fails."""
        while self._sent:
            self.collect()
