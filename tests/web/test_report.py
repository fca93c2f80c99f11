"""The figures that the page shows."""

import json
from dataclasses import replace

import pytest

from deepbid_rt.live.line_phase_monitor import LinePhaseReading
from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.web.report import page_report
from deepbid_rt.wire.alarm import Alarm
from deepbid_rt.wire.publisher_status import PublisherStatus
from tests.pages import DENOISED, RAW, denoised, example_report, latest_frames_of, raw


def test_everything_the_page_shows_is_there():
    shown = page_report(example_report(recordings=["a.tif"]), latest_frames_of(1))
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert (shown["state"], shown["source"], shown["engine"], shown["runtime"]) == ("running", "live", "average", "cpu")
    assert shown["frames"] == {"in": 12, "out": 11, "waiting": 1}
    assert shown["lost"] == {"source": 1, "transport": 2, "ring": 3, "engine": 5, "skipped": 0, "recorder": 0}
    assert shown["refused"] == 2
    assert shown["bad_messages"] == 4
    assert shown["latency_ms"]["total"]["p50"] > 19
    assert shown["latency_ms"]["queue"] == {"p50": None, "p99": None}
    assert (shown["motion"]["tracked"], shown["motion"]["last_dy_px"]) == (1, 1.5)
    assert shown["stream"]["series"] == "raw-series"
    assert (shown["stream"]["shape"], shown["stream"]["delay_frames"]) == ([1, 4, 6], 0)
    assert shown["points"] == [[1e9, None, 1.5, -0.5, "tracked"]]
    assert shown["recordings"] == ["a.tif"]
    assert shown["line_phase_px"] is None
    shown = page_report(example_report(line_phase=LinePhaseReading(-0.25, -0.2)), latest_frames_of(1))
    assert (shown["line_phase_px"], shown["aligned_px"]) == (-0.25, -0.2)


def test_before_the_first_series_there_is_no_stream():
    shown = page_report(example_report(), LatestFrames())
    assert shown["stream"] is None
    assert (shown["points"], shown["serial"]) == ([], 0)


def test_a_reader_gets_only_the_points_it_has_not():
    clock = iter(range(10**18, 10**19, 10**9))
    frames = LatestFrames(clock_ns=lambda: next(clock))
    for n in range(4):
        frames.denoised.put(denoised(n, motion=None))
    shown = page_report(example_report(), frames, after=2)
    assert [point[0] for point in shown["points"]] == [1e9 + 2, 1e9 + 3]
    assert shown["points"][0][1:] == [None] * 4
    assert page_report(example_report(), frames, after=shown["serial"])["points"] == []
    assert page_report(example_report(), frames, after=shown["serial"])["serial"] == shown["serial"]


def test_alarms_are_shown_in_full_and_cannot_command_a_display():
    long = "the recorder " + "x" * 900
    text = "\x1b[2Jgone\r\n\u202e<b>live</b>"
    shown = page_report(example_report(alarms=[Alarm("sink", long), Alarm("source", text)]), latest_frames_of(1))
    assert [alarm["kind"] for alarm in shown["alarms"]] == ["sink", "source"]
    assert shown["alarms"][0]["text"] == long
    assert shown["alarms"][1]["text"] == "?[2Jgone???<b>live</b>"
    assert shown["headline"] == {"text": "output failed, 1 more alarm", "tone": "bad"}


def test_skipped_refused_and_doubled_frames_are_shown():
    report = example_report()
    source = replace(report.source, duplicates=4, refused={"late": 3, "undescribed": 2})
    shown = page_report(replace(report, status=replace(report.status, skipped=7), source=source), latest_frames_of(1))
    assert shown["lost"]["skipped"] == 7
    assert (shown["refused"], shown["refused_by_cause"]["late"], shown["duplicates"]) == (5, 3, 4)


def test_a_latency_is_unknown_while_the_clocks_differ():
    shown = page_report(example_report(alarms=[Alarm("clock", "apart")]), latest_frames_of(1))
    assert shown["latency_ms"]["total"] == {"p50": None, "p99": None}


@pytest.mark.parametrize(("rule", "late"), [(200.0, 200 + 1000 / 30 + 50), (None, 1000 + 1000 / 30 + 50)])
def test_the_age_of_the_picture_and_when_it_is_late_are_shown(rule, late):
    clock = {"s": 7.0}
    frames = LatestFrames(clock=lambda: clock["s"])
    assert page_report(example_report(), frames)["picture"] is None
    frames.raw.start(RAW)
    frames.denoised.start(DENOISED)
    frames.raw.put(raw(0))
    frames.denoised.put(denoised(0))
    clock["s"] += 0.5
    shown = page_report(example_report(max_latency_ms=rule, delay_frames=0), frames)
    assert shown["now_ms"] == 7500
    assert shown["picture"]["age_ms"] == 500
    assert shown["picture"]["late_ms"] == pytest.approx(late, abs=0.1)
    assert shown["picture"]["frozen_ms"] == pytest.approx(late + 1000, abs=0.1)
    assert shown["picture"]["not_denoised"] is False


def test_connections_and_what_strangers_can_do_are_shown():
    shown = page_report(example_report(), latest_frames_of(1))
    assert (shown["peers"], shown["unprotected"]) == (None, "")
    publisher = PublisherStatus(3, unprotected="anyone can receive it")
    shown = page_report(example_report(publisher=publisher), latest_frames_of(1))
    assert (shown["peers"], shown["unprotected"]) == (3, "anyone can receive it")
