"""The counters as Prometheus reads them, read back by its own parser."""

from dataclasses import replace
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deepbid_rt.live.line_phase_monitor import LinePhaseReading
from deepbid_rt.live.status import SessionState
from deepbid_rt.web.metrics import PREFIX, Metrics
from deepbid_rt.wire.alarm import Alarm, AlarmKind
from deepbid_rt.wire.publisher_status import PublisherStatus
from deepbid_rt.wire.source_status import RefusalCause, SourceState
from tests.pages import example_report


def samples(metrics):
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (s.name.removeprefix(PREFIX), *(s.labels[key] for key in sorted(s.labels))): s.value
        for family in families
        for s in family.samples
    }


def test_counters_carry_their_causes():
    read = samples(Metrics(example_report))
    assert (read["frames_total", "in"], read["frames_total", "out"]) == (12, 11)
    assert {
        cause: read["frames_lost_total", cause] for cause in ("source", "transport", "ring", "engine", "recorder")
    } == {
        "source": 1,
        "transport": 2,
        "ring": 3,
        "engine": 5,
        "recorder": 0,
    }
    assert read["frames_refused_total", "undescribed"] == 2
    assert read["bad_messages_total", "crc"] == 4
    assert read["motion_frames_total", "held"] == 1
    assert (read["shift_pixels", "y"], read["shift_pixels", "x"]) == (1.5, -0.5)
    assert read["latency_seconds", "0.5", "total"] == pytest.approx(0.02, rel=0.03)
    assert ("latency_seconds", "0.5", "queue") not in read
    assert (read["state", "running"], read["state", "failed"]) == (1, 0)


def test_the_line_phase_is_exported_once_it_is_measured():
    assert ("line_phase_pixels",) not in samples(Metrics(example_report))
    read = samples(Metrics(lambda: example_report(line_phase=LinePhaseReading(-0.25, -0.2))))
    assert (read["line_phase_pixels",], read["aligned_pixels",]) == (-0.25, -0.2)


def test_states_alarms_skipped_refused_and_doubled_frames_are_exported():
    report = example_report(alarms=[Alarm("sink", "a"), Alarm("sink", "b"), Alarm("behind", "c")])
    status = replace(report.status, state=SessionState.BEHIND, skipped=7)
    source = replace(report.source, state="undescribed", duplicates=4)
    read = samples(Metrics(lambda: replace(report, status=status, source=source), lambda: {"token": 3}))
    assert {each.value: read["state", each.value] for each in SessionState if read["state", each.value]} == {
        "behind": 1
    }
    states = {state: read["source_state", state] for state in get_args(SourceState)}
    assert {state for state, value in states.items() if value} == {"undescribed"}
    assert {kind: read["alarms", kind] for kind in get_args(AlarmKind)} == {
        **dict.fromkeys(get_args(AlarmKind), 0),
        "sink": 2,
        "behind": 1,
    }
    assert read["frames_lost_total", "skipped"] == 7
    assert read["frames_duplicate_total",] == 4
    assert {cause: read["frames_refused_total", cause] for cause in get_args(RefusalCause)} == {
        **dict.fromkeys(get_args(RefusalCause), 0),
        "undescribed": 2,
    }
    assert read["page_refused_total", "token"] == 3


def test_a_latency_that_is_unknown_is_not_exported():
    read = samples(Metrics(lambda: example_report(alarms=[Alarm("clock", "the clocks differ")])))
    assert ("latency_seconds", "0.5", "total") not in read


def test_the_session_is_read_at_every_scrape_and_not_before():
    asked = []
    metrics = Metrics(lambda: asked.append(1) or example_report())
    assert not asked
    metrics.text()
    metrics.text()
    assert len(asked) == 2


def test_connections_and_what_strangers_can_reach_are_exported():
    assert ("peers",) not in samples(Metrics(example_report))
    publisher = PublisherStatus(3, {"too many": 5}, 1, "anyone can receive it")
    read = samples(Metrics(lambda: example_report(publisher=publisher)))
    assert (read["peers",], read["publisher_failures_total",], read["unprotected_streams",]) == (3, 1, 1)
    assert read["peers_refused_total", "too many"] == 5
