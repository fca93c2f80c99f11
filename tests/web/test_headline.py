"""The state in a few words: never good when something is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from deepbid_rt.live.status import SessionState
from deepbid_rt.web.headline import headline, wrong_now
from deepbid_rt.wire.alarm import Alarm, AlarmKind
from deepbid_rt.wire.source_status import SourceState
from tests.pages import example_report


def shown(state=SessionState.RUNNING, source="live", *kinds):
    report = example_report(alarms=[Alarm(kind, "something is wrong") for kind in kinds])
    report = replace(report, status=replace(report.status, state=state), source=replace(report.source, state=source))
    return headline(report)


def test_only_a_running_session_with_a_live_source_and_no_alarm_is_good():
    good = [
        (state, source, kind)
        for state in SessionState
        for source in get_args(SourceState)
        for kind in (None, *get_args(AlarmKind))
        if shown(state, source, *([kind] if kind else [])).tone == "good"
    ]
    assert good == [(SessionState.RUNNING, "live", None)]


@pytest.mark.parametrize(
    ("arguments", "text", "tone"),
    [
        ((), "running", "good"),
        ((SessionState.BEHIND,), "behind", "bad"),
        ((SessionState.BEHIND, "live", "behind"), "behind", "bad"),
        ((SessionState.WAITING, "waiting"), "waiting", "warn"),
        ((SessionState.WAITING, "undescribed"), "frames without a description", "bad"),
        ((SessionState.RUNNING, "lost", "source"), "microscope lost", "bad"),
        ((SessionState.RUNNING, "stalled"), "stalled: no new frames", "bad"),
        ((SessionState.RUNNING, "live", "clock"), "clocks differ", "warn"),
        ((SessionState.BEHIND, "live", "clock"), "behind, 1 more alarm", "bad"),
        ((SessionState.RUNNING, "live", "clock", "safe-mode"), "safe mode: not denoised, 1 more alarm", "bad"),
        ((SessionState.RUNNING, "live", "disk", "sink", "sink"), "output failed, 2 more alarms", "bad"),
        ((SessionState.STOPPING,), "stopping", "warn"),
        ((SessionState.FAILED, "lost", "sink"), "failed", "bad"),
    ],
)
def test_the_worst_comes_first(arguments, text, tone):
    assert (shown(*arguments).text, shown(*arguments).tone) == (text, tone)


def test_frames_that_the_source_refuses_are_an_alarm():
    report = example_report(alarms=[Alarm("disk", "little room.")])
    problem = "a second sender is refused"
    report = replace(report, source=replace(report.source, problem=problem))
    assert (headline(report).text, headline(report).tone) == ("source alarm, 1 more alarm", "bad")
    assert [alarm.text for alarm in wrong_now(report)] == ["little room.", problem]
    said = replace(report, alarms=[Alarm("source", f"{problem}; stop it.")])
    assert len(wrong_now(said)) == 1
