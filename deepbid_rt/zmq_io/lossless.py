"""What sender and consumer of a lossless stream tell each other, see ``bridge/PROTOCOL.md``."""

from __future__ import annotations

import struct
from dataclasses import dataclass

BUSY = b"busy"
"""Answer to a second consumer."""
NEW = b"new"
"""Answer to a consumer that goes on from messages of another sender: this one has sent it nothing yet."""
WINDOW = 6
"""Messages that may be on the way or unread at the consumer. Its ring keeps at least 7 frames of any size."""
KEEP_ALIVE_S = 0.5
"""How often a consumer repeats what it wants, also while nothing changes."""
AGAIN_S = 2.0
"""Time without a message after which a consumer asks for those again that it was to get: the connection was cut."""

_REQUEST = struct.Struct(">4sQIB")
_NUMBER = struct.Struct(">Q")
_AGAIN, _LEAVING = 1, 2
NUMBER_BYTES = _NUMBER.size


@dataclass(frozen=True, slots=True)
class Request:
    """What a consumer wants: it has all messages before `first`, and room for `count` from there on."""

    first: int
    count: int
    again: bool = False
    """Send those from `first` on again, if they were sent."""
    leaving: bool = False
    """The consumer goes, and wants nothing more."""

    def pack(self) -> bytes:
        """Return the request as bytes."""
        return _REQUEST.pack(b"want", self.first, self.count, _AGAIN * self.again | _LEAVING * self.leaving)

    @classmethod
    def unpack(cls, data: bytes) -> Request | None:
        """Read a received request; None when it is not one."""
        if len(data) != _REQUEST.size:
            return None
        word, first, count, flags = _REQUEST.unpack(data)
        if word != b"want":
            return None
        return cls(first, min(count, WINDOW), bool(flags & _AGAIN), bool(flags & _LEAVING))


def pack_number(number: int) -> bytes:
    """Return the number of a message, which stands before its topic."""
    return _NUMBER.pack(number)


def unpack_number(data: memoryview) -> int | None:
    """Read the number before a topic; None when there is none."""
    return int(_NUMBER.unpack_from(data)[0]) if len(data) >= NUMBER_BYTES else None
