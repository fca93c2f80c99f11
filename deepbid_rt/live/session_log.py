"""The session log: how each series is denoised, what happens, the totals once a second, and a summary.

Without a recording folder nothing is written.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from deepbid_rt.errors import StageError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.live.alarms import Alarms
from deepbid_rt.live.worker_thread import WorkerThread
from deepbid_rt.recording.sidecar import Sidecar

TOTALS_EVERY_S = 1.0
"""Time between two lines of totals. A killed session's log ends with one that is hardly older."""
WAITING_LINES = 1024
"""Largest number of lines that wait for the thread of the log; beyond it new ones are lost and counted."""
CLOSE_S = 10.0
"""Longest wait at the end for a disk that does not answer."""
PART = "the session log"
"""Name of the log in alarms."""


class SessionLog:
    """Writes what a session, as opposed to a recorder, adds to the log beside the recordings.

    Lines go through a thread, so that a disk that takes long holds up nothing. A disk that refuses lines raises an
    alarm; the lines are tried again, see `Sidecar`.

    Parameters
    ----------
    folder : Path or None
        Folder of the recordings; None when nothing is recorded.
    name : str
        Name of the session, in the names of the files; may be empty.
    alarms : Alarms, optional
        Get an alarm while the log cannot be written.

    Raises
    ------
    FileError
        When the name cannot be in a file name.
    """

    def __init__(self, folder: Path | None, *, name: str = "", alarms: Alarms | None = None) -> None:
        self.sidecar = Sidecar(folder, name=name, trouble=self._tell) if folder else None
        """The log itself, which the recorders share; None when nothing is recorded."""
        self.lost = 0
        """Lines that were lost because the disk did not answer, or that could not be made."""
        self._stuck = False  # the thread hangs in the disk
        self._alarms = alarms
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(WAITING_LINES)

    def write(self, kind: str, info: StreamInfo, **fields: object) -> None:
        """Write a line about a series, whose log begins with the first one. Returns at once and raises nothing."""
        if sidecar := self.sidecar:
            fields = {"t_ns": time.time_ns(), **fields}
            self._later(lambda: sidecar.write(kind, series=sidecar.begin(info), **fields))

    def note(self, kind: str, *, series: str | None = None, **fields: object) -> None:
        """Write a line about the session into the log of a series, by default the latest one, if one has begun.

        Returns at once and raises nothing.
        """
        if sidecar := self.sidecar:
            fields = {"t_ns": time.time_ns(), **fields}
            self._later(lambda: self._write_if_begun(sidecar, kind, series, fields))

    @contextmanager
    def writing_totals(self, totals: Callable[[], Mapping[str, object]]) -> Iterator[None]:
        """Write the lines, and every `TOTALS_EVERY_S` seconds the totals, while the context lasts.

        Parameters
        ----------
        totals : callable
            Returns the fields of a ``total`` line; called in the thread of the log. When it raises, an alarm says so,
            and it is called again a second later.
        """
        if not self.sidecar:
            yield
            return
        sidecar = self.sidecar
        next_s = time.monotonic() + TOTALS_EVERY_S

        def work() -> None:
            nonlocal next_s
            while True:
                if (wait_s := next_s - time.monotonic()) <= 0:
                    next_s = time.monotonic() + TOTALS_EVERY_S
                    if sidecar.paths:
                        sidecar.write("total", series=None, **totals())
                    continue
                try:
                    line = self._queue.get(timeout=wait_s)
                except queue.Empty:
                    continue
                if line is None:
                    return
                line()

        thread = WorkerThread(PART, work, self._line_failed)
        thread.start()
        try:
            yield
        finally:
            with suppress(queue.Full):  # the disk does not answer; `close` says so
                self._queue.put(None, timeout=CLOSE_S)
                thread.join(CLOSE_S)
            self._stuck = thread.is_alive()

    def close(self, **summary: object) -> None:
        """Write the summary. Raises `StageError` when lines are missing for good, or the disk does not answer."""
        if not self.sidecar:
            return
        if self._stuck:  # closing would wait for the same disk, maybe for ever
            raise StageError(
                f"the session log in {self.sidecar.directory} has no summary, as its disk does not answer",
                expected=f"a disk that takes a line within {CLOSE_S:.0f} s",
                todo="check the disk; deepbid-rt recover makes a summary from what was written",
            )
        with suppress(queue.Empty):
            while True:  # lines written without `writing_totals`
                if line := self._queue.get_nowait():
                    line()
        self.sidecar.close(**summary)
        if self.lost:
            raise StageError(
                f"{self.lost} lines of the session log in {self.sidecar.directory} could not be written",
                expected="a disk that takes every line within seconds",
                todo="check the disk; the log on stderr says which",
            )

    def _later(self, line: Callable[[], None]) -> None:
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.lost += 1
            self._tell(f"{self.lost} lines of the session log are lost: its disk does not answer; recordings go on")

    @staticmethod
    def _write_if_begun(sidecar: Sidecar, kind: str, series: str | None, fields: Mapping[str, object]) -> None:
        if sidecar.paths:
            sidecar.write(kind, series=series, **fields)

    def _line_failed(self, error: BaseException) -> None:
        self.lost += 1
        self._tell(f"a line of the session log could not be made ({type(error).__name__}: {error})")

    def _tell(self, text: str | None) -> None:
        if self._alarms is None:
            return
        if text:
            self._alarms.set(PART, "disk", text)
        else:
            self._alarms.clear(PART)
