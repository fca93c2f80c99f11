"""A live session on the command line: Ctrl-C, the status line, the page and the table at the end.

`serve` and `demo` share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import typer

from deepbid_rt.cli.interrupts import INTERRUPTS
from deepbid_rt.cli.output import live_line, number, print_json, say
from deepbid_rt.errors import DeepbidError, StageError
from deepbid_rt.live.motion_stats import MotionStats
from deepbid_rt.live.session import Session
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.live.status import SessionState

if TYPE_CHECKING:
    from deepbid_rt.web import PageServer

_STYLES = {SessionState.BEHIND: "bold red", SessionState.FAILED: "bold red", SessionState.STOPPING: "yellow"}
_LOSSES = {
    "source": "were lost before they were sent: look at the sender",
    "transport": "were lost on the network: use a cable, and send to this computer alone",
    "ring": "were not read in time: this computer was held up; end other programs",
    "engine": "were not denoised: the engine was too slow or failed",
    "skipped": "were skipped to show the present (--max-latency): use a quicker engine or smaller frames",
    "recorder": "are missing from a recording: the disk was too slow, full or gone",
    "publisher": "were not published",
}


@dataclass(frozen=True)
class SessionOutcome:
    """The last report of a session, and how it ended."""

    report: SessionReport
    error: DeepbidError | None
    """The error that ended it early; None when the session ended as it should."""
    interrupted: bool = False
    """Whether Ctrl-C or a signal ended it."""

    @property
    def summary(self) -> dict[str, Any]:
        """What ``serve --json`` prints."""
        return {**self.report.summary(), **({"error": str(self.error)} if self.error else {})}

    def require_frames(self) -> SessionOutcome:
        """Return the outcome, with an error when the session ended by itself and had received nothing at all."""
        report = self.report
        if self.error or self.interrupted or report.status.frames_in or sum(report.refused.values()):
            return self
        reason = report.source.problem
        error = StageError(
            f"the session ended without a single frame{f' ({reason})' if reason else ''}",
            expected=f"frames from {report.raw_endpoint}" if report.raw_endpoint else "frames from its source",
            todo="start the sender first, or give it more time with --idle-timeout",
        )
        return replace(self, error=error)


def run_session(session: Session, page: PageServer | None = None) -> SessionOutcome:
    """Run a session to its end, with a status line on stderr.

    The first Ctrl-C ends it cleanly, the second without denoising what waits; see `Interrupts`.

    Parameters
    ----------
    session : Session
    page : PageServer, optional
        Shows the session to browsers while it runs.
    """
    error: DeepbidError | None = None
    interrupted = False

    def stop() -> None:
        nonlocal interrupted
        interrupted = True
        session.stop()

    def line() -> tuple[str, str]:
        report = session.report()
        wrong = report.alarms or report.source.problem
        return status_line(report), "bold red" if wrong else _STYLES.get(report.status.state, "")

    with ExitStack() as stack:
        stack.enter_context(INTERRUPTS.calling(stop, session.abort))
        stack.enter_context(live_line(line))
        if page:
            stack.enter_context(
                page.showing(session.report, lambda error: session.alarms.set("the page", "sink", str(error)))
            )
        try:
            session.run()
        except DeepbidError as failure:
            error = failure
    return SessionOutcome(session.report(), error, interrupted)


@contextmanager
def interruptible_preparation(as_json: bool) -> Iterator[None]:
    """End with exit code 0 when Ctrl-C or a signal comes before the session has begun: nothing is lost then."""
    try:
        yield
    except KeyboardInterrupt:
        say("stopped before the session began; nothing was received")
        if as_json:
            print_json({"frames_in": 0, "frames_out": 0, "lost": {}, "refused": {}, "recordings": []})
        raise typer.Exit(0) from None


def status_line(report: SessionReport) -> str:
    """Return the state of a session in one line."""
    status = report.status
    if status.state is SessionState.STOPPING:
        left = status.frames_in - status.frames_out - status.engine_lost - status.skipped
        return f"stopping, {max(0, left)} frames left; Ctrl-C again ends without them"
    total = status.latency["total"]
    state = f"{status.state.value.upper() if status.state is SessionState.BEHIND else status.state.value:8}"
    alarms = [f"{alarm.kind}: {alarm.text}" for alarm in report.alarms]
    if report.source.problem and not any(report.source.problem in alarm for alarm in alarms):
        alarms.append(f"source: {report.source.problem}")
    line = (
        f"{state} in {status.frames_in}  out {status.frames_out}  "
        f"lost {sum(report.lost_anywhere.values())}{_refused_text(report)}  waiting {status.waiting}  "
        f"latency p50 {number(total.quantile_ms(0.5), 0)} ms  p99 {number(total.quantile_ms(0.99), 0)} ms"
        f"{_motion_text(status.motion)}"
    )
    return "\n".join([line, *alarms])


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
    rows += [("bad messages", str(report.bad_messages)), ("balance", report.balance)]
    rows += [("recording", path) for path in summary["recordings"]]
    return rows


def what_was_wrong(report: SessionReport) -> list[str]:
    """Return what a user should know of a finished session, as sentences; empty when nothing was wrong."""
    found = [
        f"{count} frames {_LOSSES.get(cause, f'lost: {cause}')}"
        for cause, count in report.lost_anywhere.items()
        if count
    ]
    found += [
        f"{count} frames arrived and could not be used: {cause}" for cause, count in report.refused.items() if count
    ]
    if report.bad_messages:
        kinds = ", ".join(f"{count} {kind}" for kind, count in report.source.bad.items())
        found.append(f"{report.bad_messages} messages were refused ({kinds}): check who sends to this address")
    return found + [f"{alarm.kind}: {alarm.text}" for alarm in report.alarms]


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
