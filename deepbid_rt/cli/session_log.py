"""What a session writes beside its recordings: who denoises each series and how, latencies, and what it came to.

Knows nothing of sources, engines and sinks: it is told plain facts. Without a folder nothing is written.
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

NOTE_EVERY_S = 1.0
"""How often the state of the session is written."""


class SessionLog:
    """The session log of one session.

    Parameters
    ----------
    folder : Path or None
        Where the recordings go; None when nothing is recorded.
    """

    def __init__(self, folder: Path | None) -> None:
        self.sidecar = Sidecar(folder) if folder else None
        """For the recorders, which write into the same log."""

    def begin(self, info: StreamInfo, **facts: object) -> None:
        """Open the log of a series and say by what it is denoised. Raises `FileError` when that is impossible."""
        self.note("engine", info, **facts)

    def note(self, what: str, info: StreamInfo, **facts: object) -> None:
        """Write down a fact of a series. Raises `FileError` when that is impossible."""
        if self.sidecar:
            self.sidecar.note(what, series=self.sidecar.begin(info), **facts)

    @contextmanager
    def watching(self, look: Callable[[], SessionStatus], fail: Callable[[str, BaseException], None]) -> Iterator[None]:
        """Write latencies and counters about once a second while the context lasts.

        Parameters
        ----------
        look : callable
            Returns the session's present state, from any thread.
        fail : callable
            Called with a name and an error when the disk refuses a line; no more are written then.
        """
        if not self.sidecar:
            yield
            return
        sidecar, done = self.sidecar, threading.Event()

        def note() -> None:
            try:
                while not done.wait(NOTE_EVERY_S):
                    if sidecar.paths:
                        status = look()
                        stages = {stage: h.summary() for stage, h in status.latency.items()}
                        sidecar.note("latency", frames_in=status.frames_in, frames_out=status.frames_out, ms=stages)
            except DeepbidError as error:
                fail("the session log", error)

        thread = threading.Thread(target=note, name="session log")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def close(self, **facts: object) -> None:
        """Sum the session up. Raises `StageError` when the disk refuses."""
        if self.sidecar:
            self.sidecar.close(**facts)
