"""A session on the command line: its outcome, signals, the page, the status line and the table."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
from rich.console import Console

from deepbid_rt.cli.page import page_sinks
from deepbid_rt.cli.session import _LOSSES, run_session, status_line, summary_rows, what_was_wrong
from deepbid_rt.errors import StageError
from deepbid_rt.frame import Motion, ScanGeometry, StreamEnd
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.line_phase_monitor import LinePhaseReading
from deepbid_rt.live.motion_stats import MotionStats
from deepbid_rt.live.session import Session, SessionSettings
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.live.status import SessionLimits, SessionState, SessionStatus
from deepbid_rt.wire.alarm import Alarm
from deepbid_rt.wire.beat_status import LOSS_CAUSES
from deepbid_rt.wire.source_status import SourceStatus
from tests.fakes import FIXED, ListSink, ListSource, SpyEngine, echo_card, stamped_frames, stream

GUARD_S = 30.0
"""Limit of every wait in these tests; a passing test does not reach it."""
INFO = stream((1, 8, 6), "<i2", ScanGeometry("collinear"), series="a")
SERIES = [INFO, *stamped_frames(INFO, 3), StreamEnd("done")]


class Page:
    """Stands in for `PageServer`; keeps the reports from before and after the session."""

    def __init__(self):
        self.frames = self
        self.raw, self.denoised = ListSink(), ListSink()
        self.reports = []

    @contextmanager
    def showing(self, report, failed=None):
        self.reports.append(report())
        yield
        self.reports.append(report())


def a_session(steps, page=None, limits=None, **settings):
    raw, denoised = page_sinks(page)
    return Session(
        ListSource(steps),
        SpyEngine(echo_card(normalization=FIXED)),
        SessionSettings(limits=limits or SessionLimits(series=1), **settings),
        raw=raw,
        denoised=denoised,
    )


def test_the_page_shows_raw_and_denoised_frames_and_the_files(tmp_path):
    page = Page()
    outcome = run_session(a_session(SERIES, page, record=tmp_path, record_raw=True), page)
    assert outcome.error is None
    assert [len(sink.frames) for sink in (page.raw, page.denoised)] == [3, 3]
    assert [sink.frames[0].pixels.shape for sink in (page.raw, page.denoised)] == [(1, 8, 6), (1, 4, 6)]
    before, after = page.reports
    assert (before.status.state, before.recordings, before.engine) == (SessionState.WAITING, [], "small")
    assert after.status.frames_out == 3
    assert [path.rpartition("_")[2] for path in after.recordings] == ["denoised.tif", "raw.tif"]


def test_an_error_is_part_of_the_outcome_and_of_the_summary():
    error = StageError("the cable was drawn", expected="a cable", todo="put it back")
    outcome = run_session(a_session([*SERIES[:3], error]))
    assert outcome.error is error
    assert outcome.summary == {**outcome.report.summary(), "error": str(error)}
    assert outcome.summary["frames_out"] == 2
    assert "error" not in run_session(a_session(SERIES)).summary


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to oneself ends the process on Windows")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_a_session_and_the_second_cuts_the_end_short(number, monkeypatch):
    monkeypatch.setattr("deepbid_rt.cli.interrupts.SAME_S", 0.0)
    aborted = []
    steps = [
        INFO,
        *(replace(frame, arrived_ns=1) for frame in stamped_frames(INFO, 3)),
        lambda: os.kill(os.getpid(), number),
        lambda: os.kill(os.getpid(), number),
    ]
    session = a_session(steps, limits=SessionLimits(idle_s=GUARD_S))
    abort = session.abort
    monkeypatch.setattr(session, "abort", lambda: (aborted.append(session.report().status.state), abort()))
    outcome = run_session(session)
    assert len(aborted) == 1
    assert outcome.interrupted
    # Frames may wait for the engine at this moment: they are lost then, and that is a failure.
    assert (outcome.error is None) == (outcome.report.status.state is SessionState.DONE)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to oneself ends the process on Windows")
def test_one_signal_loses_nothing():
    steps = [
        INFO,
        *(replace(frame, arrived_ns=1) for frame in stamped_frames(INFO, 3)),
        lambda: os.kill(os.getpid(), signal.SIGINT),
    ]
    outcome = run_session(a_session(steps, limits=SessionLimits(idle_s=GUARD_S)))
    assert (outcome.error, outcome.interrupted) == (None, True)
    assert (outcome.report.status.state, outcome.report.status.frames_out) == (SessionState.DONE, 3)


def test_a_status_line_that_fails_does_not_end_the_session(monkeypatch):
    def broken(_):
        raise ZeroDivisionError

    monkeypatch.setattr("deepbid_rt.cli.session.status_line", broken)
    monkeypatch.setattr("deepbid_rt.cli.output.stderr", Console(file=io.StringIO(), force_terminal=True))
    outcome = run_session(a_session(SERIES))
    assert (outcome.error, outcome.report.status.frames_out) == (None, 3)


def test_a_session_that_ends_by_itself_leaves_signal_handlers_unchanged():
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.getsignal(number) for number in numbers]
    outcome = run_session(a_session(SERIES))
    assert (outcome.error, outcome.interrupted) == (None, False)
    assert [signal.getsignal(number) for number in numbers] == before


# The status line and the table.


def a_report(*motion_statuses, sink_lost=None, state=SessionState.RUNNING, **more):
    motion, total = MotionStats(), LatencyHistogram()
    for motion_status in motion_statuses:
        motion.add(Motion(1.26, -0.44, 9.0, motion_status))
    status = SessionStatus(state, 9, 8, 1.0, 0, sink_lost or {}, 3, 0, {"total": total}, motion)
    source = SourceStatus(
        "live", 9, {"source": 1, "transport": 0, "ring": 0}, {"crc": 2, "key": 1}, {"undescribed": 3}, 0
    )
    return SessionReport(status, source, "average", "cpu", **more)


def test_the_status_line_counts_every_loss():
    report = a_report(sink_lost={"publisher": 2, "the denoised recorder": 3, "the page": 9})
    assert status_line(report) == "running  in 9  out 8  lost 6  refused 3  waiting 0  latency p50 - ms  p99 - ms"


def test_the_status_line_shows_the_last_shift_and_the_frames_that_were_not_tracked():
    assert status_line(a_report("restarted", "tracked")).endswith("p99 - ms  shift +1.3 -0.4 px  restarted 1")
    assert status_line(a_report("held", "held", "foreign")).endswith("px  held 2  foreign 1")


def test_the_status_line_says_what_is_wrong_and_how_many_frames_are_left():
    alarms = (Alarm("source", "nobody answers"), Alarm("disk", "4 minutes left"))
    line = status_line(a_report(state=SessionState.BEHIND, alarms=alarms))
    assert line.startswith("BEHIND   in 9  out 8")
    assert line.splitlines()[1:] == ["source: nobody answers", "disk: 4 minutes left"]
    assert status_line(a_report(state=SessionState.STOPPING)) == (
        "stopping, 1 frames left; Ctrl-C again ends without them"
    )


def test_what_was_wrong_is_said_in_sentences():
    alarm = Alarm("sink", "the raw recorder has failed")
    assert what_was_wrong(a_report(sink_lost={"publisher": 2, "the raw recorder": 5}, alarms=(alarm,))) == [
        "1 frames were lost before they were sent: look at the sender",
        "5 frames are missing from a recording: the disk was too slow, full or gone",
        "2 frames were not published",
        "3 frames arrived and could not be used: undescribed",
        "3 messages were refused (2 crc, 1 key): check who sends to this address",
        "sink: the raw recorder has failed",
    ]
    assert set(_LOSSES) == set(LOSS_CAUSES)


def test_a_session_without_a_single_frame_failed_unless_it_was_interrupted():
    outcome = run_session(a_session([], limits=SessionLimits(idle_s=0.01)))
    assert outcome.error is None
    failed = outcome.require_frames()
    assert str(failed.error).startswith("the session ended without a single frame; expected frames from its source;")
    assert "error" in failed.summary
    assert replace(outcome, interrupted=True).require_frames().error is None
    assert run_session(a_session(SERIES)).require_frames().error is None


def test_the_table_shows_the_summary():
    rows = summary_rows(a_report("tracked", line_phase=LinePhaseReading(0.7, 0.6), recordings=["a.tif", "b.tif"]))
    assert rows[:3] == [("frames in", "9"), ("frames out", "8"), ("lost: source", "1")]
    assert ("motion, tracked", "1") in rows
    assert ("refused: undescribed", "3") in rows
    assert rows[-5:-3] == [("line phase", "0.70 px, moved by -0.60"), ("bad messages", "3")]
    assert rows[-3][0] == "balance"
    assert rows[-2:] == [
        ("recording", "a.tif"),
        ("recording", "b.tif"),
    ]
    assert "line phase" not in dict(summary_rows(a_report()))
