from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from deepbid_rt.viewer.hud import (
    MAX_ALARM_LINES,
    RECENT_S,
    Facts,
    LossWatch,
    alarm_lines,
    figure_lines,
    frame_text,
    loss_lines,
    recording_line,
    state_line,
)
from deepbid_rt.wire.alarm import Alarm, AlarmKind
from deepbid_rt.wire.beat_status import LOSS_CAUSES, BeatStatus

LOST = dict.fromkeys(LOSS_CAUSES, 0)
LATENCY = {"p50": 20.0, "p95": 30.0}
REPORT = BeatStatus("running", 100, 99, 0, LOST, LATENCY, "default", None, 0, True, 6e9, 1e6, None)


@pytest.mark.parametrize(
    ("state", "text", "tone"),
    [
        ("live", "LIVE", "good"),
        ("paused", "PAUSED  −2.5 s", "warn"),
        ("stalled", "STALLED", "alarm"),
        ("undescribed", "FRAMES WITHOUT A DESCRIPTION", "alarm"),
        ("lost", "LOST", "alarm"),
        ("ended", "ENDED", "faint"),
        ("waiting", "WAITING", "faint"),
    ],
)
def test_each_state_has_its_text_and_tone(state: str, text: str, tone: str) -> None:
    line = state_line(Facts(state, back_s=2.5))
    assert line.value.startswith(text)
    assert line.tone == tone


GOOD = Facts("live", REPORT, picture_ms=40.0, late_ms=250.0)
WRONG = {
    "behind": {"report": replace(REPORT, state="behind")},
    "failed": {"report": replace(REPORT, state="failed")},
    "stopping": {"report": replace(REPORT, state="stopping")},
    "not denoised": {"not_denoised": True},
    "late": {"picture_ms": 300.0},
    "frozen": {"picture_ms": 5000.0},
    "losing": {"lost_now": frozenset({"skipped"})},
    **{f"alarm {kind}": {"report": replace(REPORT, alarms=[Alarm(kind, "wrong")])} for kind in get_args(AlarmKind)},
}


@pytest.mark.parametrize("name", WRONG)
def test_nothing_is_green_when_anything_is_wrong(name: str) -> None:
    without_disk = {"recording": True, "disk_free_bytes": None}
    good = replace(GOOD, report=replace(REPORT, **without_disk))
    assert {line.tone for line in (state_line(good), recording_line(good))} == {"good"}
    facts = replace(good, **WRONG[name])
    facts = replace(facts, report=replace(facts.report, **without_disk))
    shown = [state_line(facts), recording_line(facts), *figure_lines(facts), *loss_lines(facts), *alarm_lines(facts)]
    assert "good" not in {line.tone for line in shown}
    assert state_line(facts).tone in ("warn", "alarm")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("behind", "BEHIND"),
        ("not denoised", "SAFE MODE: NOT DENOISED"),
        ("late", "LATE: the picture is 300 ms old"),
        ("frozen", "NOT LIVE: the picture is 5.0 s old"),
        ("losing", "FRAMES ARE LOST"),
        ("failed", "THE SESSION HAS FAILED"),
        ("stopping", "LIVE, the session is stopping"),
        ("alarm clock", "CLOCKS DIFFER"),
    ],
)
def test_what_is_wrong_is_said(name: str, text: str) -> None:
    assert state_line(replace(GOOD, **WRONG[name])).value == text


def test_frames_lost_by_the_viewer_alone_do_not_change_the_state() -> None:
    assert state_line(replace(GOOD, lost_now=frozenset({"viewer"}))).value == "LIVE"


def test_alarms_are_shown_in_full_the_worst_first_and_not_without_end() -> None:
    alarms = [Alarm("clock", "c" * 300), Alarm("sink", "the raw recorder: the disk is full; make room.")]
    lines = alarm_lines(replace(GOOD, report=replace(REPORT, alarms=alarms)))
    assert [(line.label, line.value, line.tone) for line in lines] == [
        ("sink", "the raw recorder: the disk is full; make room.", "alarm"),
        ("clock", "c" * 300, "warn"),
    ]
    many = alarm_lines(replace(GOOD, report=replace(REPORT, alarms=[Alarm("disk", str(n)) for n in range(16)])))
    assert len(many) == MAX_ALARM_LINES + 1
    assert many[-1].value == f"{16 - MAX_ALARM_LINES} more alarms"


@pytest.mark.parametrize(
    ("facts", "value", "tone"),
    [
        ({}, "40 ms old", "plain"),
        ({"picture_exact": False}, "at least 40 ms old", "plain"),
        ({"picture_ms": 251.0}, "251 ms old", "warn"),
        ({"picture_ms": 1251.0}, "1.3 s old", "alarm"),
        ({"picture_ms": 3.6e6}, "60 min old", "alarm"),
        ({"picture_ms": None}, "–", "faint"),
    ],
)
def test_the_age_of_the_picture_is_shown(facts: dict, value: str, tone: str) -> None:
    line = next(line for line in figure_lines(replace(GOOD, **facts)) if line.label == "picture")
    assert (line.value, line.tone) == (value, tone)


def test_refused_frames_and_duplicates_are_shown() -> None:
    line = next(line for line in figure_lines(replace(GOOD, refused=3, duplicates=2)) if line.label == "refused")
    assert (line.value, line.tone) == ("3, 2 duplicates", "warn")


def test_every_cause_of_loss_is_shown_and_a_recent_one_is_an_alarm() -> None:
    lost = {**dict.fromkeys(LOSS_CAUSES, 0), "viewer": 0, "engine": 7, "ring": 2}
    lines = {line.label: line for line in loss_lines(Facts("live", lost=lost, lost_now=frozenset({"engine"})))}
    assert set(lines) == {*LOSS_CAUSES, "viewer"}
    assert (lines["engine"].value, lines["engine"].tone) == ("7", "alarm")
    assert (lines["ring"].value, lines["ring"].tone) == ("2", "warn")
    assert lines["source"].tone == "faint"


def test_an_unknown_count_is_not_shown_as_0() -> None:
    assert {line.value for line in loss_lines(Facts("waiting"))} == {"–"}


def test_frames_lost_only_by_the_viewer_are_no_alarm() -> None:
    facts = Facts("live", lost={"viewer": 3}, lost_now=frozenset({"viewer"}))
    assert {line.label: line.tone for line in loss_lines(facts)}["viewer"] == "warn"


def test_a_loss_counts_as_recent_for_some_seconds() -> None:
    watch = LossWatch()
    assert watch.update({"engine": 0}, 0.0) == frozenset()
    assert watch.update({"engine": 1}, 1.0) == {"engine"}
    assert watch.update({"engine": 1}, 1.0 + RECENT_S - 0.1) == {"engine"}
    assert watch.update({"engine": 1}, 1.0 + RECENT_S) == frozenset()
    assert watch.update({"engine": 0}, 50.0) == frozenset()  # a new session
    assert watch.update({"engine": 1}, 51.0) == {"engine"}


@pytest.mark.parametrize(
    ("report", "state", "value", "tone"),
    [
        (REPORT, "live", "ON  100 min of disk left", "plain"),
        (BeatStatus(recording=True, disk_free_bytes=6e7, record_bytes_per_s=1e5), "live", "ON  10 min", "warn"),
        (BeatStatus(recording=True, disk_free_bytes=5e7, record_bytes_per_s=1e5), "live", "ON  8 min", "alarm"),
        (BeatStatus(recording=True, disk_free_bytes=6e12, record_bytes_per_s=1e6), "live", "ON  1667 h", "plain"),
        (BeatStatus(recording=True), "live", "ON", "good"),
        (BeatStatus(recording=False), "live", "OFF", "warn"),
        (BeatStatus(), "live", "not known", "faint"),
        (REPORT, "lost", "was on", "alarm"),
    ],
)
def test_recording_and_disk_space_are_shown(report: BeatStatus, state: str, value: str, tone: str) -> None:
    line = recording_line(Facts(state, report))
    assert line.value.startswith(value)
    assert line.tone == tone


def figures(**facts: object) -> dict[str, tuple[str, str]]:
    return {line.label: (line.value, line.tone) for line in figure_lines(Facts("live", **facts))}


def test_all_figures_are_shown() -> None:
    got = figures(report=REPORT, input_hz=30.04, display_hz=29.96, age_ms=(33.4, 51.2), raw_state="live")
    assert got["input"][0] == "30.0 frames/s"
    assert got["display"][0] == "30.0 frames/s"
    assert got["latency"][0] == "p50 33  p95 51 ms"
    assert got["engine"][0] == "default, delay 0 frames"
    assert got["line phase"] == ("not measured", "faint")
    assert got["raw stream"][0] == "live"


def test_missing_and_implausible_figures() -> None:
    assert figures(age_ms=(-40.0, -20.0))["latency"] == ("unknown: clocks differ", "warn")
    assert figures(age_ms=(1.8e12, 1.8e12))["latency"][0] == "unknown: clocks differ"
    assert figures(age_ms=(20.0, 30.0), clocks_agree=False)["latency"][0] == "unknown: clocks differ"
    assert figures(age_ms=(20.0, 30.0), report=replace(REPORT, latency_ms={}))["latency"][0] == "unknown"
    apart = replace(REPORT, alarms=[Alarm("clock", "three hours")])
    assert figures(age_ms=(20.0, 30.0), report=apart)["latency"][0] == "unknown: clocks differ"
    assert figures()["latency"][0] == "–"
    assert figures()["engine"] == ("not known", "faint")
    assert figures()["raw stream"] == ("not connected", "warn")
    assert figures(age_ms=(900.0, 1200.0))["latency"][1] == "warn"
    assert figures(report=BeatStatus(line_phase_px=-0.25))["line phase"] == ("-0.25 px", "plain")
    assert figures(report=BeatStatus(line_phase_px=-0.75))["line phase"] == ("-0.75 px", "warn")
    moved = figures(report=BeatStatus(line_phase_px=-0.75, aligned_px=-0.7))["line phase"]
    assert moved == ("-0.75 px, moved by +0.70", "plain")
    assert figures(report=BeatStatus(line_phase_px=0.75, aligned_px=-0.7))["line phase"][1] == "warn"


def test_the_frame_text_has_number_and_size() -> None:
    assert frame_text(Facts("waiting")) == "no frame yet"
    assert frame_text(Facts("live", frame=7, shape=(1, 512, 256))) == "frame 7  (512x256)"
    text = frame_text(Facts("live", frame=7, shape=(2, 4, 6), plane=1, planes=3, not_finite=5))
    assert text == "frame 7  (4x6, 2 channels, plane 2 of 3, 5 pixels are not finite)"
