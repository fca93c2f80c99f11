"""A live session on the command line: Ctrl-C, the status line, the page and the table at the end.

`serve` and `demo` share it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from deepbid_rt.cli.output import live_line, number
from deepbid_rt.errors import DeepbidError
from deepbid_rt.live.motion_stats import MotionStats
from deepbid_rt.live.session import Session
from deepbid_rt.live.session_report import SessionReport

if TYPE_CHECKING:
    from deepbid_rt.web import PageServer


@dataclass(frozen=True)
class SessionOutcome:
    """The last report of a session, and the error that ended it early."""

    report: SessionReport
    error: DeepbidError | None
    """None when the session ended as it should."""

    @property
    def summary(self) -> dict[str, Any]:
        """What ``serve --json`` prints."""
        return {**self.report.summary(), **({"error": str(self.error)} if self.error else {})}


def run_session(session: Session, page: PageServer | None = None) -> SessionOutcome:
    """Run a session to its end, with a status line on stderr. The first Ctrl-C ends it cleanly.

    Parameters
    ----------
    session : Session
    page : PageServer, optional
        Shows the session to browsers while it runs.
    """
    error: DeepbidError | None = None
    with ExitStack() as stack:
        stack.enter_context(_stopped_by_signals(session.stop))
        stack.enter_context(live_line(lambda: status_line(session.report())))
        if page:
            stack.enter_context(page.showing(session.report))
        try:
            session.run()
        except DeepbidError as failure:
            error = failure
    return SessionOutcome(session.report(), error)


def status_line(report: SessionReport) -> str:
    """Return the state of a session in one line."""
    status = report.status
    total = status.latency["total"]
    return (
        f"{status.state.value:8} in {status.frames_in}  out {status.frames_out}  "
        f"lost {sum(report.lost_anywhere.values())}{_refused_text(report)}  waiting {status.waiting}  "
        f"latency p50 {number(total.quantile_ms(0.5), 0)} ms  p99 {number(total.quantile_ms(0.99), 0)} ms"
        f"{_motion_text(status.motion)}"
    )


def summary_rows(report: SessionReport) -> list[tuple[str, str]]:
    """Return the figures of a finished session as the rows of a table."""
    summary = report.summary()
    rows = [("frames in", str(summary["frames_in"])), ("frames out", str(summary["frames_out"]))]
    rows += [(f"lost: {cause}", str(count)) for cause, count in summary["lost"].items()]
    rows += [(f"refused: {cause}", str(count)) for cause, count in summary["refused"].items() if count]
    rows += [(f"latency, {name}", f"{number(value, 0)} ms") for name, value in summary["latency_ms"].items()]
    rows += [(f"motion, {status}", str(count)) for status, count in (summary["motion"] or {}).items()]
    if (px := summary["line_phase_px"]) is not None:
        rows += [("line phase", f"{number(px, 2)} px, moved by {number(-summary['aligned_px'], 2)}")]
    rows += [("bad messages", str(report.bad_messages))]
    rows += [("recording", path) for path in summary["recordings"]]
    return rows


def _refused_text(report: SessionReport) -> str:
    """Return the number of refused frames; empty without one."""
    count = sum(report.refused.values())
    return f"  refused {count}" if count else ""


def _motion_text(motion: MotionStats) -> str:
    """Return the last shift, and the number of frames of each status but ``tracked``; empty without motion."""
    if motion.last is None:
        return ""
    others = [f"  {status} {count}" for status, count in motion.counts.items() if count and status != "tracked"]
    return f"  shift {motion.last.dy:+.1f} {motion.last.dx:+.1f} px{''.join(others)}"


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Turn the first Ctrl-C or terminate signal into a clean end; the second has its usual effect."""

    def handle(_signum: int, _frame: FrameType | None) -> None:
        restore()
        stop()

    def restore() -> None:
        for signum, handler in previous.items():
            signal.signal(signum, handler)

    previous = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        restore()
