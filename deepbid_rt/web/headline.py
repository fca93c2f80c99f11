"""The state of a session in a few words, with its tone (colour). Only a session without any fault is good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.live.status import SessionState
from deepbid_rt.wire.alarm import Alarm
from deepbid_rt.wire.alarm_words import worst_alarm
from deepbid_rt.wire.source_status import SourceState

Tone = Literal["good", "warn", "bad"]

_SOURCES: dict[SourceState, tuple[str, Tone]] = {
    "lost": ("microscope lost", "bad"),
    "undescribed": ("frames without a description", "bad"),
    "stalled": ("stalled: no new frames", "bad"),
}
_ENDS: dict[SessionState, tuple[str, Tone]] = {
    SessionState.FAILED: ("failed", "bad"),
    SessionState.STOPPING: ("stopping", "warn"),
    SessionState.DONE: ("done", "warn"),
}


@dataclass(frozen=True, slots=True)
class Headline:
    """A few words and their tone."""

    text: str
    tone: Tone


def wrong_now(report: SessionReport) -> list[Alarm]:
    """Return the alarms of a session, and as one of them what its source says of frames that it refuses."""
    problem = report.source.problem
    if not problem or any(problem in alarm.text for alarm in report.alarms):
        return list(report.alarms)
    return [*report.alarms, Alarm("source", problem)]


def headline(report: SessionReport) -> Headline:
    """Return the most important thing about a session.

    It is good only while the session runs, its source is live, no frame is skipped or late, and there is no alarm.
    """
    state, source = report.status.state, report.source.state
    raised = [alarm.kind for alarm in wrong_now(report)]
    if state is SessionState.BEHIND and "behind" not in raised:
        raised.append("behind")
    if state in _ENDS:
        return Headline(*_ENDS[state])
    if source in _SOURCES:
        return Headline(*_SOURCES[source])
    if alarm := worst_alarm(raised):
        return Headline(*alarm)
    if state is SessionState.RUNNING and source == "live":
        return Headline("running", "good")
    return Headline("waiting" if state is SessionState.WAITING else f"{state.value}, source {source}", "warn")
