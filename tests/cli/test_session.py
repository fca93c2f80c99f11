"""A session on the command line: its outcome, signals, the page, the status line and the table."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest

from deepbid_rt.cli.page import page_sinks
from deepbid_rt.cli.session import run_session, status_line, summary_rows
from deepbid_rt.errors import StageError
from deepbid_rt.frame import Motion, ScanGeometry, StreamEnd
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.line_phase_monitor import LinePhaseReading
from deepbid_rt.live.motion_stats import MotionStats
from deepbid_rt.live.session import Session, SessionSettings
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.live.status import SessionLimits, SessionState, SessionStatus
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
    def showing(self, report):
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
def test_the_first_signal_ends_a_session_and_the_second_has_its_usual_effect(number):
    caught = []
    before = signal.signal(number, lambda *_: caught.append("outside"))
    try:
        steps = [
            INFO,
            *(replace(frame, arrived_ns=1) for frame in stamped_frames(INFO, 3)),
            lambda: os.kill(os.getpid(), number),
            lambda: caught.append("inside"),
            lambda: os.kill(os.getpid(), number),
        ]
        outcome = run_session(a_session(steps, limits=SessionLimits(idle_s=GUARD_S)))
        assert caught == ["inside", "outside"]
        assert (outcome.error, outcome.report.status.state) == (None, SessionState.DONE)
        assert outcome.report.status.frames_out == 3
        os.kill(os.getpid(), number)
        assert caught[2:] == ["outside"]
    finally:
        signal.signal(number, before)


def test_a_session_that_ends_by_itself_leaves_signal_handlers_unchanged():
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.getsignal(number) for number in numbers]
    assert run_session(a_session(SERIES)).error is None
    assert [signal.getsignal(number) for number in numbers] == before


# The status line and the table.


def a_report(*motion_statuses, sink_lost=None, **more):
    motion, total = MotionStats(), LatencyHistogram()
    for motion_status in motion_statuses:
        motion.add(Motion(1.26, -0.44, 9.0, motion_status))
    status = SessionStatus(SessionState.RUNNING, 9, 8, 1.0, 0, sink_lost or {}, 3, 0, {"total": total}, motion)
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


def test_the_table_shows_the_summary():
    rows = summary_rows(a_report("tracked", line_phase=LinePhaseReading(0.7, 0.6), recordings=["a.tif", "b.tif"]))
    assert rows[:3] == [("frames in", "9"), ("frames out", "8"), ("lost: source", "1")]
    assert ("motion, tracked", "1") in rows
    assert ("refused: undescribed", "3") in rows
    assert rows[-4:] == [
        ("line phase", "0.70 px, moved by -0.60"),
        ("bad messages", "3"),
        ("recording", "a.tif"),
        ("recording", "b.tif"),
    ]
    assert "line phase" not in dict(summary_rows(a_report()))
