"""An append-only file of lines that goes on in a new part when the disk refuses one."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from deepbid_rt.recording.recording_name import RecordingName

RETRY_S = 1.0
"""Time after which a refused line is tried again."""
WAITING_LINES = 4096
"""Largest number of lines that wait for the disk. Beyond it the oldest are lost and counted."""
EARLIER_SESSION = "an earlier session"
"""Reason of a part that follows those of a session before."""


class LogFile:
    """The session log of one series on the disk. Not thread-safe.

    A line reaches the operating system before `append` returns, so that a killed process leaves complete lines. The
    file stays open in between: opening it for each line would fail when descriptors have run out. A part that broke is
    never continued, since it may end in the middle of a line. Each later part begins with the head lines once more,
    followed by one that says why the part before it ended, so that it can be read alone.

    Parameters
    ----------
    name : RecordingName
    broke : callable
        Returns the line that begins a later part, from the number of the part and the reason.
    clock : callable
        Returns monotonic seconds.
    """

    def __init__(
        self, name: RecordingName, broke: Callable[[int, str], bytes], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._file: io.FileIO | None = None
        self.name = name
        self.paths: list[Path] = []
        """The parts written so far."""
        self.lost = 0
        """Lines that were lost because too many waited, or because their file was deleted."""
        self.trouble: str | None = None
        """Why lines are waiting; None when the disk has taken all."""
        self._broke, self._clock = broke, clock
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._head: list[bytes] = []
        self._intact = False  # the latest part can be continued
        self._path = name.log()  # of the latest part
        self._part = self._opened_part = 0  # number of the latest part with lines; of the latest part
        self._lines = self._size = 0  # in the latest part; without the lines that repeat
        self._counts_links = False
        self._reason = EARLIER_SESSION
        self._retry_s = 0.0

    @property
    def waiting(self) -> int:
        """Number of lines that the disk has not taken yet."""
        return len(self._waiting)

    @property
    def open(self) -> bool:
        """Whether the file is open; see `release`."""
        return self._file is not None

    def append(self, line: bytes, *, head: bool = False) -> None:
        """Append a line with its line break. It waits when the disk refuses it; nothing is raised.

        Parameters
        ----------
        line : bytes
        head : bool
            Whether later parts repeat the line.
        """
        if len(self._waiting) == WAITING_LINES:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append((line, head))
        self.flush()

    def flush(self, *, now: bool = False) -> None:
        """Try to write the lines that wait; with `now` even when the last attempt was a moment ago."""
        if not self._waiting or (self.trouble and not now and self._clock() < self._retry_s):
            return
        try:
            self._write_waiting()
        except OSError as error:
            self._give_up_part()
            self.trouble = self._reason = error.strerror or str(error)
            self._retry_s = self._clock() + RETRY_S
        else:
            self.trouble = None

    def release(self) -> None:
        """Close the file until the next line."""
        if self._file is not None:
            descriptor, self._file = self._file.fileno(), None
            with contextlib.suppress(OSError):  # every line was handed over by a write that was checked
                os.close(descriptor)

    def __del__(self) -> None:
        # A session that ended by a fault has not closed its log. Every line is with the operating system.
        self.release()

    def descriptor(self) -> int | None:
        """Return a new descriptor of the open file, for a sync in another thread; None when it is not open."""
        return None if self._file is None else os.dup(self._file.fileno())

    def _write_waiting(self) -> None:
        file = self._opened()
        while self._waiting:
            line, head = self._waiting[0]
            self._write(file, line)
            if self._lines == 0:
                self.paths.append(self._path)
                self._part = self._opened_part
            self._lines += 1
            self._waiting.popleft()
            if head:
                self._head.append(line)

    def _opened(self) -> io.FileIO:
        """Return the file to append to. Raises `OSError`."""
        file = self._file
        if file is not None:
            if not self._counts_links or os.fstat(file.fileno()).st_nlink > 0:
                return file
            # Deleted: what is written to it has no name any more.
            self._reason = f"the part before it was deleted, and {self._lines} lines with it"
            self.lost += self._lines
            self.paths = [path for path in self.paths if path != self._path]
            self._intact = False
            self.release()
        return self._continue_part() or self._begin_part()

    def _continue_part(self) -> io.FileIO | None:
        """Open the latest part again after `release`; None when it broke or was moved away."""
        if not self._intact:
            return None
        try:
            file = _open(self._path, os.O_RDWR)
        except FileNotFoundError:
            self._intact, self._reason = False, "the part before it was moved away"
            return None
        self._size = file.seek(0, io.SEEK_END)
        self._file = file
        return file

    def _begin_part(self) -> io.FileIO:
        self._path, part, file = self._create()
        self._opened_part = part
        self._file, self._intact, self._lines, self._size = file, True, 0, 0
        self._counts_links = os.fstat(file.fileno()).st_nlink > 0  # not every file system does
        follows = part > 1 or self._head or self.lost
        for line in [*self._head, *([self._broke(part, self._reason)] if follows else [])]:
            self._write(file, line)
        return file

    def _create(self) -> tuple[Path, int, io.FileIO]:
        """Create the next part that does not exist. Raises `OSError`."""
        self.name.directory.mkdir(parents=True, exist_ok=True)
        part = max(self.name.next_part("log"), self._part + 1)  # a name is not used twice, even after a deletion
        while True:
            path = self.name.log(part)
            try:
                return path, part, _open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileExistsError:  # created a moment ago by another program
                part += 1

    def _write(self, file: io.FileIO, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            rest = rest[file.write(rest) or 0 :]
        self._size += len(line)

    def _give_up_part(self) -> None:
        """Leave complete lines in the present part and close it. A part without lines is removed."""
        self._intact = False
        if self._file is None:
            return
        with contextlib.suppress(OSError):  # a disk that refuses this too leaves half a line, which readers omit
            self._file.truncate(self._size)
        self.release()
        if self._lines == 0:
            with contextlib.suppress(OSError):  # the next attempt takes the next number then
                self._path.unlink()


def _open(path: Path, flags: int) -> io.FileIO:
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
    return io.FileIO(descriptor, "r+", closefd=False)
