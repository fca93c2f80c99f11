"""The counters as Prometheus reads them, read back by its own parser."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deepbid_rt.live.line_phase_monitor import LinePhaseReading
from deepbid_rt.web.metrics import PREFIX, Metrics
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


def test_the_session_is_read_at_every_scrape_and_not_before():
    asked = []
    metrics = Metrics(lambda: asked.append(1) or example_report())
    assert not asked
    metrics.text()
    metrics.text()
    assert len(asked) == 2
