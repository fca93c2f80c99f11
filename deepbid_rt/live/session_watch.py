"""Watches a running session: raises alarms for parts that hang or fall behind, and warns of lost frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from deepbid_rt.live.alarms import Alarms
from deepbid_rt.live.safe_denoiser import ENGINE
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.live.status import SessionState
from deepbid_rt.live.worker_thread import WorkerThread
from deepbid_rt.wire.quiet_log import QuietLog

log = QuietLog(__name__)

EVERY_S = 0.5
"""Seconds between two looks: a part that fails or hangs is named within a second."""
HANGS_S = 2.0
"""A sink that has worked on one frame for longer than this hangs: a disk that is slow for a moment does not."""
ENGINE_HANGS_S = 30.0
"""The same for the engine, which is compiled for a new size of frames at the start of a series."""
WARN_EVERY_S = 10.0
"""Seconds between two warnings of lost frames."""
_LATENCY = "the latency"


class SessionWatch:
    """Looks at a session twice a second.

    Parameters
    ----------
    report : callable
        Returns the report of the session.
    busy_s : callable
        Returns the seconds that each part has spent on its present frame, see `Pipeline.busy_s`.
    alarms : Alarms
        Of the session.
    further : callable, optional
        Called at each look with the report: further checks, such as of the disk.
    clock : callable
        Returns monotonic seconds.
    """

    def __init__(
        self,
        report: Callable[[], SessionReport],
        busy_s: Callable[[], Mapping[str, float]],
        alarms: Alarms,
        further: Callable[[SessionReport], None] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._busy_s = busy_s
        self._alarms = alarms
        self._further = further
        self._clock = clock
        self._hanging: set[str] = set()
        self._warned_s = -float("inf")
        self._warned_of = 0
        self._skipped = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look every `EVERY_S` seconds, in a thread, while the context lasts; and once more at its end."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(EVERY_S):
                self.look()

        thread = WorkerThread("session watch", watch, lambda error: log.warning("the session watch failed: %s", error))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._warn_of_losses(self._report(), at_the_end=True)

    def look(self) -> None:
        """Raise and clear alarms, and warn of losses."""
        report = self._report()
        self._check_hanging()
        self._check_latency(report)
        self._warn_of_losses(report)
        if self._further:
            self._further(report)

    def _check_hanging(self) -> None:
        busy_s = self._busy_s()
        hanging = {
            name: seconds
            for name, seconds in busy_s.items()
            if seconds > (ENGINE_HANGS_S if name == ENGINE else HANGS_S)
        }
        for name, seconds in hanging.items():
            advice = "check the GPU or end the session" if name == ENGINE else "check its disk or network"
            text = f"{name} has worked on one frame for {seconds:.0f} s and may hang; the other parts go on; {advice}."
            self._alarms.set(f"{name} hangs", "safe-mode" if name == ENGINE else "sink", text)
        for name in self._hanging - hanging.keys():
            self._alarms.clear(f"{name} hangs")
        self._hanging = set(hanging)

    def _check_latency(self, report: SessionReport) -> None:
        skipped, before = report.status.skipped, self._skipped
        self._skipped = skipped
        if report.status.state is SessionState.BEHIND:
            what = f"{skipped} frames were skipped so far" if skipped > before or skipped else "frames come out late"
            text = (
                f"denoising is slower than the microscope: {what}; the raw recording is not affected; "
                "choose a faster engine or precision, close other programs, or image fewer frames per second."
            )
            self._alarms.set(_LATENCY, "behind", text)
        else:
            self._alarms.clear(_LATENCY)

    def _warn_of_losses(self, report: SessionReport, *, at_the_end: bool = False) -> None:
        """Warn at the first loss, then at most every `WARN_EVERY_S` seconds, and of the rest at the end."""
        losses = {**report.lost_anywhere, **{f"refused, {cause}": count for cause, count in report.refused.items()}}
        total = sum(losses.values())
        now_s = self._clock()
        if total <= self._warned_of or (now_s - self._warned_s < WARN_EVERY_S and not at_the_end):
            return
        self._warned_s, self._warned_of = now_s, total
        causes = ", ".join(f"{cause} {count}" for cause, count in losses.items() if count)
        log.warning("%d frames are missing so far (%s)", total, causes)
