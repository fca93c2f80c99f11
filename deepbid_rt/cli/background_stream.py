"""A text stream that never holds up its writers: one thread hands the text to a terminal, pipe or file."""

from __future__ import annotations

import io
import os
import queue
import threading
import time
from typing import Any, TextIO

MAX_CHUNKS = 2000
"""Texts that wait for the thread. Further ones are dropped and counted."""
MAX_CHUNK = 65536
"""Characters of one text; longer ones are cut."""
_BUSY_S = 0.05
"""How long the thread waits for a target that takes nothing at present, seconds."""


class BackgroundStream(io.TextIOBase):
    """Stands in for ``sys.stderr``. `write` never waits and never raises, whatever has become of the target.

    When the target does not take text (a pipe whose reader does not read, a terminal held with Ctrl-S), what does not
    fit the queue is dropped, and one line tells how many texts are missing. When the target is gone, all further text
    is dropped.

    Parameters
    ----------
    target : TextIO or None
        The stream to write to; None when there is none, as after ``2>&-``. Only its lowest layer is used: that one
        has no lock, so a thread that is blocked in it cannot keep the interpreter from ending.
    """

    def __init__(self, target: TextIO | None) -> None:
        super().__init__()
        self._target = target
        buffer = getattr(target, "buffer", None)
        self._raw: Any = getattr(buffer, "raw", buffer)  # with PYTHONUNBUFFERED there is no buffer between
        # A simple queue may be used from a signal handler too; it has no limit of its own, so `write` checks its size.
        self._queue: queue.SimpleQueue[str | threading.Event | None] = queue.SimpleQueue()
        self._encoding: str = getattr(target, "encoding", None) or "utf-8"
        self.gone = self._raw is None
        """True once the target has refused text; nothing is written any more."""
        self.dropped = 0
        """Texts that did not fit."""
        self._told = 0
        self._thread = threading.Thread(target=self._run, name="stderr", daemon=True)
        self._thread.start()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # of the base class only the stub can be set
        """Encoding of the target."""
        return self._encoding

    def write(self, text: str, /) -> int:
        """Take a text; see the class. Raises `TypeError` for anything but text, by which libraries tell streams."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self.gone or self._queue.qsize() >= MAX_CHUNKS:
            self.dropped += 1
        elif text:
            self._queue.put(text[:MAX_CHUNK])
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread writes as soon as it can. See `drain`."""

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything that was taken is written; return False when that takes longer than `timeout_s`."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(timeout_s)

    def end(self, timeout_s: float = 1.0) -> None:
        """End the thread once what was taken is written; give up waiting for it after `timeout_s`."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Tell whether the target is a terminal."""
        try:
            return self._target is not None and self._target.isatty()
        except (OSError, ValueError):  # it has been closed
            return False

    def fileno(self) -> int:
        """Return the file descriptor of the target. Raises `OSError` when there is none."""
        if self._target is None:
            raise OSError("there is no stderr")
        return self._target.fileno()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            self._hand_on(item)
            missing = self.dropped - self._told
            if missing and not self.gone and self._queue.qsize() < MAX_CHUNKS // 2:
                self._told += missing
                self._hand_on(f"[{missing} lines could not be shown]\n")

    def _hand_on(self, text: str) -> None:
        if self.gone:
            return
        left = memoryview(text.replace("\n", os.linesep).encode(self.encoding, "backslashreplace"))
        try:
            while left:
                written = self._raw.write(left)
                if written is None:  # a target that does not block, and takes nothing now
                    time.sleep(_BUSY_S)
                else:
                    left = left[written:]
        # Any error, of an encoding too: there is nowhere to report it, and the program must go on.
        except Exception:
            self.gone = True
