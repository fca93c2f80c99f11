"""The session log: how each series is denoised, latencies once a second, and a summary.

Without a recording folder nothing is written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deepbid_rt.errors import DeepbidError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.live.status import SessionStatus
from deepbid_rt.recording.sidecar import Sidecar

LATENCY_EVERY_S = 1.0
"""Time between two lines of latencies."""


class SessionLog:
    """Writes what a session, as opposed to a recorder, adds to the log beside the recordings.

    Parameters
    ----------
    folder : Path or None
        Folder of the recordings; None when nothing is recorded.
    """

    def __init__(self, folder: Path | None) -> None:
        self.sidecar = Sidecar(folder) if folder else None
        """The log itself, which the recorders share; None when nothing is recorded."""

    def write(self, kind: str, info: StreamInfo, **fields: object) -> None:
        """Write a line about a series; the first one creates its log. Raises `FileError` when that is impossible."""
        if self.sidecar:
            self.sidecar.write(kind, series=self.sidecar.begin(info), **fields)

    @contextmanager
    def writing_latencies(
        self, status: Callable[[], SessionStatus], fail: Callable[[str, BaseException], None]
    ) -> Iterator[None]:
        """Write latencies and counters every `LATENCY_EVERY_S` seconds while the context lasts.

        Parameters
        ----------
        status : callable
            Returns the present counters; called in a thread of the log.
        fail : callable
            Called with a name and the error when a line cannot be written; no further lines are written then.
        """
        if not self.sidecar:
            yield
            return
        sidecar, done = self.sidecar, threading.Event()

        def write() -> None:
            try:
                while not done.wait(LATENCY_EVERY_S):
                    if sidecar.paths:
                        now = status()
                        stages = {stage: histogram.summary() for stage, histogram in now.latency.items()}
                        sidecar.write("latency", frames_in=now.frames_in, frames_out=now.frames_out, ms=stages)
            except DeepbidError as error:
                fail("the session log", error)

        thread = threading.Thread(target=write, name="session log")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def close(self, **summary: object) -> None:
        """Write the summary. Raises `StageError` when the disk refuses it."""
        if self.sidecar:
            self.sidecar.close(**summary)
