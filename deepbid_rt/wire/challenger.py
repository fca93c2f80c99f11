"""A stream that is not the running one, and that takes its place once the running one is silent."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from deepbid_rt.frame import StreamInfo
from deepbid_rt.wire.message import AnyMessage, FrameMessage, StreamKey
from deepbid_rt.wire.reorder_window import kept

MAX_HELD = 256
"""Messages of a challenger that are held: those of a tenth of a second at 1000 Hz, and more."""


@dataclass(slots=True)
class Challenger:
    """A described stream of the running sender's name, with the messages that arrived so far.

    A sender that begins a new series without ending the old one falls silent in the old one. Two senders with one name
    do not. So nothing is decided, and no frame is lost, until the old series has been silent for a few frames.
    """

    key: StreamKey
    info: StreamInfo
    next_seq: int
    begun_ns: int
    since_s: float
    max_bytes: int
    rejected: bool = False
    """True once the running stream has gone on: there are two senders."""
    frames: int = 0
    """Frames that are held."""
    _held: deque[AnyMessage] = field(default_factory=deque)
    _bytes: int = 0

    def hold(self, message: AnyMessage) -> int:
        """Hold a message; its pixels are copied. Returns the number of frames that had to be given up for it."""
        self._held.append(kept(message))
        if isinstance(message, FrameMessage):
            self.frames += 1
            self._bytes += message.frame.pixels.nbytes
        given_up = 0
        while len(self._held) > MAX_HELD or (self._bytes > self.max_bytes and len(self._held) > 1):
            given_up += self._remove_first()
        return given_up

    def take(self) -> list[AnyMessage]:
        """Remove and return the held messages, in the order in which they arrived."""
        messages = list(self._held)
        self._held.clear()
        self.frames = self._bytes = 0
        return messages

    def _remove_first(self) -> int:
        message = self._held.popleft()
        self.next_seq = max(self.next_seq, message.seq + 1)  # what is refused is not lost as well
        if not isinstance(message, FrameMessage):
            return 0
        self.frames -= 1
        self._bytes -= message.frame.pixels.nbytes
        return 1
